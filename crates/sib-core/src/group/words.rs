//! What members tell each other.

use std::collections::BTreeMap;

use tch::Tensor;

use super::{Group, group_error};
use crate::{Error, Result};

impl Group {
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
}
