//! One of several equal parts.

use std::ops::Range;

use crate::{Error, Result};

/// One of several equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    index: usize,
    of: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Part `index`, counted from 0, `of` so many.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn new(index: usize, of: usize) -> Result<Self> {
        if index < of {
            return Ok(Self { index, of });
        }
        Err(Error::invalid("part", index, format!("a number below {of}")))
    }

    /// Which one, counted from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many there are.
    pub fn of(self) -> usize {
        self.of
    }

    /// Whether it has thing `number` where things are dealt out one by one.
    pub fn has(self, number: usize) -> bool {
        number % self.of == self.index
    }

    /// Where it is among `count` things that follow each other.
    ///
    /// # Errors
    /// [`Error::Invalid`] of the `key` that says how many there are, where the parts would not be equal.
    pub fn range(self, key: &str, count: usize) -> Result<Range<usize>> {
        if !count.is_multiple_of(self.of) || count == 0 {
            let expected = format!("a multiple of the {} processes", self.of);
            return Err(Error::invalid(key, count, expected));
        }
        let length = count / self.of;
        Ok(self.index * length..(self.index + 1) * length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_cover_the_whole() {
        let part = |index| Part::new(index, 3).unwrap();
        let ranges = [0, 1, 2].map(|index| part(index).range("batch_size", 12).unwrap());
        assert_eq!(ranges, [0..4, 4..8, 8..12]);
        let dealt: Vec<usize> = (0..7).filter(|&number| part(1).has(number)).collect();
        assert_eq!(dealt, [1, 4]);
        let message = part(0).range("batch_size", 8).unwrap_err().to_string();
        assert_eq!(message, "batch_size: got 8, expected a multiple of the 3 processes");
        assert!(Part::new(3, 3).is_err());
    }
}
