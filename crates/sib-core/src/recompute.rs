//! Activation checkpointing (Chen et al. 2016, arXiv:1604.06174), here through the second derivative: of a
//! block of a network only the input is kept, and what derivatives need of the block is computed again.
//!
//! Blocks ask [`is_on`]; whoever runs a network says so by [`within`]. A network that knows nothing of it
//! keeps its activations.

use std::cell::Cell;
use std::thread::LocalKey;

use tch::Tensor;

use crate::{group, native};

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static AGAIN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, whose blocks keep their input alone where `on`.
///
/// It holds for passes through a network on this thread. A probe sees what happens between such blocks
/// only.
pub fn within<T>(on: bool, f: impl FnOnce() -> T) -> T {
    let _restored = Restored::set(&ON, on);
    f()
}

/// Whether a block that is run now is to keep its input alone, by [`recomputed`].
pub fn is_on() -> bool {
    ON.get()
}

/// Whether a block runs again, for its derivatives or within [`again`]: what happens once a step, as running
/// statistics move, has happened before.
pub fn is_again() -> bool {
    AGAIN.get()
}

/// Runs `f`, whose passes through a network on this thread are further ones of a step: see [`is_again`].
pub fn again<T>(f: impl FnOnce() -> T) -> T {
    let _restored = Restored::set(&AGAIN, true);
    f()
}

/// `f(x)`, of which only `x` is kept for derivatives: `f` runs anew for each of them, with the same random
/// numbers, and [`is_again`] then. Third derivatives are an error.
///
/// `f` depends on its argument and on leaves of the graph, which must not change before the last
/// derivative is taken. That comes from another thread where libtorch computes it on one. What lies
/// within `f` keeps its activations while it runs.
///
/// A plain step runs `f` twice. A step with the derivative of an input gradient runs it four times
/// and the input gradient twice.
///
/// # Panics
/// As `f` does on its first run; the panics of later ones are errors of the backward pass.
pub fn recomputed(x: &Tensor, f: impl Fn(&Tensor) -> Tensor + Send + 'static) -> Tensor {
    let (batch, is_further) = (group::current(), is_again());
    let run = move |x: &Tensor, again: bool| {
        let again = again || is_further;
        let _restored = (Restored::set(&ON, false), Restored::set(&AGAIN, again));
        group::within(batch.clone(), || f(x))
    };
    native::recomputed(x, run).unwrap_or_else(|message| panic!("{message}"))
}

/// Sets a flag of this thread back when it is dropped.
struct Restored {
    flag: &'static LocalKey<Cell<bool>>,
    before: bool,
}

impl Restored {
    fn set(flag: &'static LocalKey<Cell<bool>>, value: bool) -> Self {
        Self { flag, before: flag.replace(value) }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        self.flag.set(self.before);
    }
}
