//! What happens within a network where a batch is part of a larger one.

use std::cell::RefCell;

use super::Group;

/// The batch that passes through a network: this member's part of that of a group.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) group: Group,
    /// Whether normalisations take the moments of the whole one.
    pub(crate) norms: bool,
}

thread_local! {
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// Runs `f`, whose passes through a network on this thread have `batch`.
pub(crate) fn within<T>(batch: Option<Batch>, f: impl FnOnce() -> T) -> T {
    struct Restored(Option<Batch>);
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
pub(crate) fn current() -> Option<Batch> {
    BATCH.with_borrow(Clone::clone)
}
