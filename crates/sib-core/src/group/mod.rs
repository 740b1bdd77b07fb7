//! Several processes, one network: each has a part of every batch, and what is computed over a batch is computed over
//! all of it (decision N9). On libtorch's c10d: Gloo between CPUs, NCCL between GPUs.
//!
//! The members of a group call the same functions in the same order. Where one has gone, the others get an error
//! soon; where one hangs, after the group's timeout. The store that they meet at listens on all interfaces and asks
//! nobody who they are: for networks that are trusted.

mod launch;
mod part;
mod synchronised;

pub use launch::Launch;
pub use part::Part;
pub(crate) use synchronised::{Batch, current, within};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::native::{Meeting, Members};
use crate::tensor::channels_lie_last;
use crate::{Error, Result};

/// A process's place among those that it works with. Its clones are the same member.
#[derive(Debug, Clone, Default)]
pub struct Group(Option<Arc<Joined>>);

#[derive(Debug)]
struct Joined {
    members: Members,
    part: Part,
    device: Device,
}

/// Tensors are added up in so many values at a time: each operation costs milliseconds where processors are busy,
/// more than the copies.
const BUCKET: usize = 25 << 18;

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
        let dense: Vec<Tensor> = tensors.iter().map(|tensor| densely(tensor)).collect();
        for bucket in buckets(&dense, BUCKET) {
            let [one] = &bucket[..] else {
                let flat =
                    Tensor::cat(&bucket.iter().map(|it| it.view([-1])).collect::<Vec<_>>(), 0);
                joined.done(joined.members.sum(&[&flat]))?;
                let lengths: Vec<i64> = bucket.iter().map(|it| it.numel() as i64).collect();
                for (mut part, sum) in bucket.into_iter().zip(flat.split_with_sizes(lengths, 0)) {
                    part.copy_(&sum.view_as(&part));
                }
                continue;
            };
            joined.done(joined.members.sum(&[one]))?;
        }
        for (tensor, dense) in tensors.iter().zip(&dense) {
            if tensor.data_ptr() != dense.data_ptr() {
                tensor.shallow_clone().copy_(dense);
            }
        }
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
        let dense: Vec<Tensor> = tensors.iter().map(|tensor| densely(tensor)).collect();
        let roots = vec![0; dense.len()];
        joined.done(joined.members.broadcast(&dense.iter().collect::<Vec<_>>(), &roots))?;
        for (tensor, dense) in tensors.iter().zip(&dense) {
            if tensor.data_ptr() != dense.data_ptr() {
                tensor.shallow_clone().copy_(dense);
            }
        }
        Ok(())
    }

    /// What is so for any member. Waits for the others.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn any<const N: usize>(&self, own: [bool; N]) -> Result<[bool; N]> {
        let Some(joined) = &self.0 else { return Ok(own) };
        let counts = Tensor::from_slice(&own.map(i64::from)).to_device(joined.device);
        self.sum(&[&counts])?;
        Ok(std::array::from_fn(|i| counts.int64_value(&[i as i64]) > 0))
    }

    /// Waits for the others.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn barrier(&self) -> Result<()> {
        self.any([false]).map(|_| ())
    }

    /// Each member's bytes, in the order of the members.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn exchanged(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let Some(joined) = &self.0 else { return Ok(vec![own.to_vec()]) };
        let lengths =
            self.gathered(&Tensor::from_slice(&[own.len() as i64]).to_device(joined.device))?;
        let lengths = Vec::<i64>::try_from(lengths).map_err(Error::Torch)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut padded = own.to_vec();
        padded.resize(longest as usize, 0);
        let padded = Tensor::from_slice(&padded).to_device(joined.device);
        let all = Vec::<u8>::try_from(self.gathered(&padded)?).map_err(Error::Torch)?;
        let of = lengths.iter().zip(all.chunks(longest.max(1) as usize));
        let mut bytes: Vec<Vec<u8>> =
            of.map(|(&length, bytes)| bytes[..length as usize].to_vec()).collect();
        bytes.resize(lengths.len(), Vec::new());
        Ok(bytes)
    }

    /// Fails everywhere where members do not have the same `facts`, name and value each.
    ///
    /// # Errors
    /// [`Error::Group`] naming the first member, fact and values that differ.
    pub fn agree(&self, facts: &[(String, String)]) -> Result<()> {
        let own: String =
            facts.iter().map(|(name, value)| format!("{name}\t{value:?}\n")).collect();
        let all = self.exchanged(own.as_bytes())?;
        let of = |bytes: &[u8]| -> BTreeMap<String, String> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let pairs = text.lines().filter_map(|line| line.split_once('\t'));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let first = of(&all[0]);
        for (rank, bytes) in all.iter().enumerate().skip(1) {
            let others = of(bytes);
            let names = first.keys().chain(others.keys());
            let differing = names.into_iter().find(|name| first.get(*name) != others.get(*name));
            if let Some(name) = differing {
                let [one, other] =
                    [&first, &others].map(|facts| facts.get(name).map_or("unset", String::as_str));
                return Err(group_error(format!(
                    "the processes do not agree: {name} is {one} for rank 0, {other} for rank {rank}"
                )));
            }
        }
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
    line.rsplit_once("] ").map_or(line, |(_, words)| words)
}

/// The tensor, or what has its values without gaps: the same memory where that is possible.
fn densely(tensor: &Tensor) -> Tensor {
    let tensor = tensor.detach();
    if tensor.is_contiguous() {
        return tensor;
    }
    if channels_lie_last(&tensor) { tensor.permute([0, 2, 3, 1]) } else { tensor.contiguous() }
}

/// Tensors that follow each other, of one kind and up to `limit` values a bucket, or one.
fn buckets(tensors: &[Tensor], limit: usize) -> Vec<Vec<Tensor>> {
    let mut buckets: Vec<Vec<Tensor>> = Vec::new();
    let mut filled = 0;
    for tensor in tensors {
        let fits = filled + tensor.numel() <= limit;
        match buckets.last_mut() {
            Some(bucket) if fits && bucket[0].kind() == tensor.kind() => {
                bucket.push(tensor.shallow_clone());
                filled += tensor.numel();
            }
            _ => {
                buckets.push(vec![tensor.shallow_clone()]);
                filled = tensor.numel();
            }
        }
    }
    buckets
}
