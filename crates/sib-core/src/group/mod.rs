//! Several processes, one network: each has a part of every batch, and what is computed over a batch is computed over
//! all of it (decision N9). On libtorch's c10d: Gloo between CPUs, NCCL between GPUs.
//!
//! The members of a group call the same functions in the same order. Where one has gone, the others get an error
//! soon; where one hangs, after the group's timeout. The store that they meet at listens on all interfaces and asks
//! nobody who they are: for networks that are trusted.

mod dense;
mod launch;
mod part;
mod spread;
mod words;

pub use launch::Launch;
pub use part::Part;
pub(crate) use spread::{Spread, current, within};

use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::native::{Meeting, Members};
use crate::{Error, Result};
use dense::Dense;

/// A process's place among those that it works with. Its clones are the same member.
#[derive(Debug, Clone, Default)]
pub struct Group(Option<Arc<Joined>>);

#[derive(Debug)]
struct Joined {
    members: Members,
    part: Part,
    device: Device,
}

/// What members count in their store.
const SPOKEN: &str = "spoken";
const LEFT: &str = "left";
/// For how long a member that leaves waits for what the others say.
const PATIENCE: Duration = Duration::from_secs(3);
/// For how long it lets the first one speak.
const COURTESY: Duration = Duration::from_millis(300);

impl Group {
    /// One process by itself.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Meets the others; whatever they do together is done with tensors on `device`. None waits longer than
    /// `timeout` for another, now or later.
    ///
    /// # Errors
    /// [`Error::Group`] where they do not come together.
    pub fn join(launch: &Launch, device: Device, timeout: Duration) -> Result<Self> {
        let is_named = std::env::var_os("GLOO_SOCKET_IFNAME").is_some();
        let address = if is_named { None } else { launch.own_address() };
        let meeting = Meeting {
            host: &launch.host,
            port: launch.port,
            serves: launch.serves,
            prefix: &format!("sib/{}", launch.attempt),
            rank: launch.rank,
            size: launch.size,
            timeout_ms: timeout.as_millis() as i64,
            address: address.as_deref(),
            on_gpus: device.is_cuda(),
        };
        let part = Part::new(launch.rank, launch.size)?;
        let members = Members::join(&meeting).map_err(|reason| {
            let place = format!("{}:{}", launch.host, launch.port);
            group_error(format!("cannot meet at {place}: {}", first_line(&reason)))
        })?;
        Ok(Self(Some(Arc::new(Joined { members, part, device }))))
    }

    /// This member's part of what all of them have.
    pub fn part(&self) -> Part {
        self.0.as_ref().map_or(Part::WHOLE, |joined| joined.part)
    }

    /// Number of members.
    pub fn size(&self) -> usize {
        self.part().of()
    }

    /// Whether it is the member that writes what all of them have made.
    pub fn is_first(&self) -> bool {
        self.part().index() == 0
    }

    /// Whether there is no other member.
    pub fn is_alone(&self) -> bool {
        self.0.is_none()
    }

    /// Adds up each of `tensors` over the members, in place, to the same bits everywhere. Their shapes are the same
    /// with all of them.
    ///
    /// # Errors
    /// [`Error::Group`] where another member does not take part.
    pub fn sum(&self, tensors: &[&Tensor]) -> Result<()> {
        let Some(joined) = &self.0 else { return Ok(()) };
        let dense = Dense::new(tensors);
        dense.in_buckets(|flat| joined.done(joined.members.sum(&[flat])))?;
        dense.write_back();
        Ok(())
    }

    /// The scalars' means over the members, f64, in one operation.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn means(&self, scalars: &[Tensor]) -> Result<Vec<Tensor>> {
        let wide = scalars.iter().map(|scalar| scalar.detach().to_kind(Kind::Double));
        if self.is_alone() || scalars.is_empty() {
            return Ok(wide.collect());
        }
        let all = Tensor::stack(&wide.collect::<Vec<_>>(), 0);
        self.sum(&[&all])?;
        Ok((all / self.size() as f64).unbind(0))
    }

    /// The mean over the members of the scalar `x`, whose gradient is that of the member's own `x`: the gradients' mean
    /// is that of the mean.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn mean(&self, x: &Tensor) -> Result<Tensor> {
        if self.is_alone() {
            return Ok(x.shallow_clone());
        }
        let mean = self.means(&[x.shallow_clone()])?.remove(0).to_kind(x.kind());
        Ok(x - x.detach() + mean)
    }

    /// The scalar `x`, which every member has computed of the rows of all, with the part of its gradient through
    /// its own rows ([`Self::gathered`]) as many times as there are members: the gradients' mean is the whole one.
    pub fn of_all_rows(&self, x: Tensor) -> Tensor {
        if self.is_alone() {
            return x;
        }
        let value = x.detach();
        (x - &value) * self.size() as f64 + value
    }

    /// The sum of `x` over the members, as a function that can be differentiated any number of times; its derivatives
    /// are sums over the members too.
    ///
    /// # Panics
    /// Where another member does not take part.
    pub(crate) fn sum_of(&self, x: &Tensor) -> Tensor {
        match &self.0 {
            None => x.shallow_clone(),
            Some(joined) => joined.members.sum_of(x).unwrap_or_else(|reason| panic!("{reason}")),
        }
    }

    /// The rows `[B/N,...]` of all N members: `[B,...]`, in the order of the members. Its own keep their derivatives,
    /// the others are constants.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn gathered(&self, own: &Tensor) -> Result<Tensor> {
        let Some(joined) = &self.0 else { return Ok(own.shallow_clone()) };
        let (index, of) = (joined.part.index(), joined.part.of());
        let plain = own.detach();
        let like = (plain.kind(), plain.device());
        let mut parts: Vec<Tensor> =
            (0..of)
                .map(|it| {
                    if it == index { plain.contiguous() } else { Tensor::empty(plain.size(), like) }
                })
                .collect();
        let roots: Vec<i64> = (0..of as i64).collect();
        joined.done(joined.members.broadcast(&parts.iter().collect::<Vec<_>>(), &roots))?;
        parts[index] = own.shallow_clone();
        Ok(Tensor::cat(&parts, 0))
    }

    /// Makes `tensors` those of the first member, in place.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn broadcast(&self, tensors: &[&Tensor]) -> Result<()> {
        let Some(joined) = &self.0 else { return Ok(()) };
        let dense = Dense::new(tensors);
        let roots = vec![0; tensors.len()];
        joined.done(joined.members.broadcast(&dense.tensors(), &roots))?;
        dense.write_back();
        Ok(())
    }

    /// Whether an operation of the group has failed here, because another member does not take part.
    pub fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|joined| joined.members.is_broken())
    }

    /// Leaves the others for good, after a failure, and says whether it is on this member to tell of it: on the first
    /// that has something to tell. Where the store does not answer, because the member that keeps it has gone or hangs,
    /// on rank 1.
    pub fn leave(&self) -> bool {
        let Some(joined) = &self.0 else { return true };
        let is_first = joined.part.index() == 0;
        if !is_first && !self.is_broken() {
            // What fails with all of them is for the first to tell.
            std::thread::sleep(COURTESY);
        }
        let spoken = joined.count(SPOKEN, 1);
        // The others notice, and look who has spoken.
        joined.members.leave();
        let Some(spoken) = spoken else { return joined.part.index() == 1 };
        if joined.count(LEFT, 1).is_some() && is_first {
            // The store goes with this process.
            let (started, all) = (Instant::now(), joined.part.of() as i64);
            while started.elapsed() < PATIENCE
                && joined.count(LEFT, 0).is_some_and(|left| left < all)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        spoken == 1
    }

    /// The members on the other side of the border.
    pub(crate) fn members(&self) -> Option<&Members> {
        self.0.as_ref().map(|joined| &joined.members)
    }
}

impl Joined {
    /// Adds to a number in the store; `None` where that does not answer soon.
    fn count(self: &Arc<Self>, key: &'static str, amount: i64) -> Option<i64> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let joined = Arc::clone(self);
        // c10d would wait for ever for one that hangs.
        std::thread::spawn(move || sender.send(joined.members.add(key, amount)));
        receiver.recv_timeout(PATIENCE).ok()?.ok()
    }

    fn done(&self, result: std::result::Result<(), String>) -> Result<()> {
        result.map_err(|reason| {
            let Self { part, .. } = self;
            group_error(format!(
                "rank {} of {} has lost another: {}",
                part.index(),
                part.of(),
                first_line(&reason)
            ))
        })
    }
}

fn group_error(problem: String) -> Error {
    Error::Group { problem }
}

/// Of c10d's message, without the place in its source.
fn first_line(reason: &str) -> &str {
    let line = reason.lines().next().unwrap_or_default();
    let line = line.split(". This is typically").next().unwrap_or(line);
    line.rsplit_once("] ").map_or(line, |(_, words)| words)
}
