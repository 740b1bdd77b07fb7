//! What every decoder refuses.

use std::path::Path;

use crate::Error;

/// What a decoded image may take: a file of a few bytes may claim to be larger than memory.
pub(super) const MOST_BYTES: u64 = 512 << 20;

/// The error of an image for a reason that is not the `image` crate's.
pub(super) fn unreadable(path: &Path) -> impl FnOnce(String) -> Error {
    move |problem| Error::malformed(path, format!("unreadable image: {problem}"))
}

/// Refuses a size whose RGB pixels would take too much.
pub(super) fn expect_size(width: u32, height: u32) -> Result<(), String> {
    if 3 * u64::from(width) * u64::from(height) <= MOST_BYTES {
        return Ok(());
    }
    Err(format!("{width}x{height} pixels, expected at most {} MiB", MOST_BYTES >> 20))
}
