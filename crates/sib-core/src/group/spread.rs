//! What happens within a network where a batch is part of a larger one.

use std::cell::RefCell;

use super::Group;

/// A batch that is spread over a group: what passes through a network is this member's part of it.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    pub(crate) group: Group,
    /// Whether normalisations take the moments of the whole one.
    pub(crate) norms: bool,
}

thread_local! {
    static BATCH: RefCell<Option<Spread>> = const { RefCell::new(None) };
}

/// Runs `f`, whose passes through a network on this thread have `batch`.
pub(crate) fn within<T>(batch: Option<Spread>, f: impl FnOnce() -> T) -> T {
    struct Restored(Option<Spread>);
    impl Drop for Restored {
        fn drop(&mut self) {
            BATCH.set(self.0.take());
        }
    }
    let batch = batch.filter(|batch| !batch.group.is_alone());
    let _restored = Restored(BATCH.replace(batch));
    f()
}

/// Of the pass that is under way on this thread; `None` where a batch is whole.
pub(crate) fn current() -> Option<Spread> {
    BATCH.with_borrow(Clone::clone)
}
