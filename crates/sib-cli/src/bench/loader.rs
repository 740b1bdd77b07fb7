//! One epoch of decoded, transformed, batched images.

use anyhow::Result;
use sib_core::data::Loader;

use super::Workload;

/// Epochs of a loader.
#[derive(Debug)]
pub struct Epochs {
    loader: Loader,
    next: u64,
}

impl Epochs {
    /// Epochs from the first on.
    pub fn new(loader: Loader) -> Self {
        Self { loader, next: 0 }
    }
}

impl Workload for Epochs {
    fn variants(&self) -> Vec<String> {
        vec!["epoch".to_owned()]
    }

    /// Returns the number of images.
    fn run(&mut self, _: &str) -> Result<f64> {
        let mut images = 0;
        for batch in self.loader.epoch(self.next, 0) {
            images += batch?.len();
        }
        self.next += 1;
        Ok(images as f64)
    }
}
