//! Decoded images kept in memory between epochs.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use image::RgbImage;

use super::plan::Plan;
use crate::Result;

/// An image after all that is the same in every epoch.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) image: RgbImage,
    /// What has been done to it.
    pub(super) plan: Plan,
}

/// Images by record index, until the memory is used up; nothing is thrown out again, since every
/// epoch asks for each image once.
pub(super) struct Cache {
    entries: Vec<OnceLock<Arc<Fixed>>>,
    bytes: AtomicUsize,
    most_bytes: usize,
}

impl Cache {
    pub(super) fn new(records: usize, most_mib: usize) -> Self {
        let entries = if most_mib == 0 { 0 } else { records };
        Self {
            entries: (0..entries).map(|_| OnceLock::new()).collect(),
            bytes: AtomicUsize::new(0),
            most_bytes: most_mib << 20,
        }
    }

    /// The image at `index`, from memory or by `load`.
    pub(super) fn get_or_load(
        &self,
        index: usize,
        load: impl FnOnce() -> Result<Fixed>,
    ) -> Result<Arc<Fixed>> {
        let entry = self.entries.get(index);
        if let Some(kept) = entry.and_then(OnceLock::get) {
            return Ok(Arc::clone(kept));
        }
        let loaded = Arc::new(load()?);
        if let Some(entry) = entry {
            let bytes = loaded.image.len();
            let fits = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.most_bytes;
            // Another thread may have been faster; its image is the same.
            if !fits || entry.set(Arc::clone(&loaded)).is_err() {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        Ok(loaded)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("bytes", &self.bytes)
            .field("most_bytes", &self.most_bytes)
            .finish_non_exhaustive()
    }
}
