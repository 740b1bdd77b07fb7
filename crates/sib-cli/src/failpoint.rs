//! Points of the program at which a test lets it die, as a kill or a power cut would. Only builds with
//! debug assertions have them.

/// Ends the process here, with nothing written or cleaned up any more, where the environment variable
/// `SIB_FAILPOINT` is `point:k` and this is the k-th time that the point is passed.
#[cfg(debug_assertions)]
pub fn passed(point: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(1);

    let Ok(wanted) = std::env::var("SIB_FAILPOINT") else { return };
    let (name, count) = wanted.split_once(':').expect("a point and a number");
    let count: u64 = count.parse().expect("a number");
    if name == point && TIMES.fetch_add(1, Ordering::Relaxed) == count {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn passed(_: &str) {}
