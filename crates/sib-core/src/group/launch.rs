//! Which of several processes this is, by the words of whoever started them.

use std::net::{ToSocketAddrs, UdpSocket};

use crate::{Error, Result};

/// A process among those that were started together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Which one it is, counted from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Which one of its machine.
    pub local_rank: usize,
    /// How many there are on its machine; `None` where nobody says.
    pub local_size: Option<usize>,
    /// Where they meet: the machine of the first.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether this process keeps the store that they meet at.
    pub(super) serves: bool,
    /// How often they have been started again.
    pub(super) attempt: String,
}

/// PyTorch's port, where none is given.
const PORT: u16 = 29500;

/// Names of a launcher's variables: size, rank, local rank, local size.
struct Names([&'static str; 4]);

const TORCHRUN: Names = Names(["WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"]);
const OPEN_MPI: Names = Names([
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
]);
const MPICH: Names = Names(["PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"]);
const SLURM: Names =
    Names(["SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"]);

impl Launch {
    /// What the environment says: torchrun's variables, else Open MPI's, MPICH's or Slurm's, in this order. They meet
    /// at `MASTER_ADDR`:`MASTER_PORT`; `mpirun` on one machine needs neither. Slurm's are believed only where
    /// `MASTER_ADDR` is set: an interactive allocation has them too. `None` where there is one process.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the variable that is missing or no number in its range.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let master = variable("MASTER_ADDR").filter(|host| !host.is_empty());
        let is_set = |names: &&Names| variable(names.0[0]).is_some();
        let mpi = [TORCHRUN, OPEN_MPI, MPICH];
        let by_slurm = master.is_some().then_some(SLURM);
        let Some(names) = mpi.into_iter().chain(by_slurm).find(|names| is_set(&names)) else {
            return Ok(None);
        };
        let number = |name: &str| -> Result<Option<usize>> {
            let Some(text) = variable(name) else { return Ok(None) };
            let number = text.parse().map_err(|_| Error::invalid(name, &text, "a number"));
            number.map(Some)
        };
        let [size, rank, local_rank, local_size] = names.0;
        let missing =
            |name: &str| Error::invalid(name, "nothing", format!("a value, since {size} is set"));
        let count = number(size)?.ok_or_else(|| missing(size))?;
        let own = number(rank)?.ok_or_else(|| missing(rank))?;
        if own >= count {
            return Err(Error::invalid(rank, own, format!("a number below {size}, {count}")));
        }
        if count == 1 {
            return Ok(None);
        }
        let here = number(local_size)?;
        let host = match master {
            Some(host) => host,
            // All on one machine.
            None if size != TORCHRUN.0[0] && here == Some(count) => "127.0.0.1".to_owned(),
            None => return Err(missing("MASTER_ADDR")),
        };
        let port = match variable("MASTER_PORT") {
            None => PORT,
            Some(text) => text
                .parse()
                .map_err(|_| Error::invalid("MASTER_PORT", &text, "a number from 1 to 65535"))?,
        };
        let agent_serves =
            variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        Ok(Some(Self {
            rank: own,
            size: count,
            local_rank: number(local_rank)?.unwrap_or(0),
            local_size: here,
            host,
            port,
            serves: own == 0 && !agent_serves,
            attempt: variable("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|| "0".to_owned()),
        }))
    }

    /// The address by which this machine reaches the first one: the others reach it there. (A name of its own that
    /// resolves to 127.0.0.1, as on Debian, would not do.)
    pub(super) fn own_address(&self) -> Option<String> {
        let first = (self.host.as_str(), self.port).to_socket_addrs().ok()?.next()?;
        let any = if first.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(first).ok()?; // chooses a route, sends nothing
        Some(socket.local_addr().ok()?.ip().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Launch>> {
        Launch::from_variables(&|name| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn members(variables: &[(&str, &str)]) -> (usize, usize, usize, Option<usize>, String, u16) {
        let it = of(variables).unwrap().unwrap();
        (it.rank, it.size, it.local_rank, it.local_size, it.host, it.port)
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        let master = [("MASTER_ADDR", "node1"), ("MASTER_PORT", "4000")];
        let node1 = |rank, size, local, here| (rank, size, local, here, "node1".to_owned(), 4000);
        let with = |more: &[(&'static str, &'static str)]| members(&[&master[..], more].concat());
        let torchrun =
            [("WORLD_SIZE", "8"), ("RANK", "5"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "4")];
        assert_eq!(with(&torchrun), node1(5, 8, 1, Some(4)));
        let slurm = [("SLURM_NTASKS", "3"), ("SLURM_PROCID", "2"), ("SLURM_LOCALID", "0")];
        assert_eq!(with(&slurm), node1(2, 3, 0, None));
        let mpich = [("PMI_SIZE", "2"), ("PMI_RANK", "1")];
        assert_eq!(with(&mpich), node1(1, 2, 0, None));
        // torchrun inside a Slurm job.
        assert_eq!(with(&[&torchrun[..], &slurm].concat()), node1(5, 8, 1, Some(4)));
    }

    #[test]
    fn mpirun_on_one_machine_needs_no_address() {
        let here = [
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        assert_eq!(members(&here), (1, 2, 1, Some(2), "127.0.0.1".to_owned(), PORT));
        let message = of(&here[..3]).unwrap_err().to_string();
        assert!(message.starts_with("MASTER_ADDR: got nothing, expected a value"), "{message}");
    }

    #[test]
    fn one_process_is_no_group() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("WORLD_SIZE", "1"), ("RANK", "0")]).unwrap(), None);
        // An interactive allocation.
        assert_eq!(of(&[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")]).unwrap(), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let base = [("MASTER_ADDR", "a"), ("WORLD_SIZE", "2")];
        for (more, expected) in [
            (&[][..], "RANK: got nothing, expected a value, since WORLD_SIZE is set"),
            (&[("RANK", "2")], "RANK: got 2, expected a number below WORLD_SIZE, 2"),
            (&[("RANK", "x")], "RANK: got x, expected a number"),
            (&[("RANK", "0"), ("MASTER_PORT", "70000")], "MASTER_PORT: got 70000, expected a num"),
        ] {
            let message = of(&[&base[..], more].concat()).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn only_the_first_serves_and_not_beside_an_agent() {
        let serves = |variables: &[(&str, &str)]| {
            let base = [("MASTER_ADDR", "a"), ("WORLD_SIZE", "2")];
            of(&[&base[..], variables].concat()).unwrap().unwrap().serves
        };
        assert!(serves(&[("RANK", "0")]));
        assert!(!serves(&[("RANK", "1")]));
        assert!(!serves(&[("RANK", "0"), ("TORCHELASTIC_USE_AGENT_STORE", "True")]));
    }
}
