//! Queues of a GPU's work.

use std::ffi::c_char;

use tch::Tensor;

use super::border::{CTensor, checked};

unsafe extern "C" {
    fn sib_new_stream(number: *mut i64, index: i64) -> *mut c_char;
    fn sib_use_stream(index: i64, number: i64) -> *mut c_char;
    fn sib_wait_for_stream(index: i64, number: i64) -> *mut c_char;
    fn sib_lend_to_default_stream(x: *const CTensor) -> *mut c_char;
}

/// A queue of a GPU's work beside the ordinary one. libtorch keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    index: i64,
    number: i64,
}

impl Stream {
    /// One of GPU `index`.
    ///
    /// # Errors
    /// libtorch's words.
    pub(crate) fn new(index: usize) -> Result<Self, String> {
        let (index, mut number) = (index as i64, 0);
        // SAFETY: the function writes the number. No exception leaves it.
        checked(unsafe { sib_new_stream(&mut number, index) })?;
        Ok(Self { index, number })
    }

    /// From now on what this thread asks of the GPU goes here.
    ///
    /// # Errors
    /// libtorch's words.
    pub(crate) fn enter(self) -> Result<(), String> {
        // SAFETY: the queue is libtorch's own. No exception leaves the function.
        checked(unsafe { sib_use_stream(self.index, self.number) })
    }

    /// Waits until everything here is done; after that the ordinary queue may use `results`, whose memory is not given
    /// away before it has.
    ///
    /// # Errors
    /// libtorch's words.
    pub(crate) fn hand_over(self, results: &[&Tensor]) -> Result<(), String> {
        for result in results {
            // SAFETY: the pointer is of a live tensor. No exception leaves the function.
            checked(unsafe { sib_lend_to_default_stream(result.as_ptr().cast()) })?;
        }
        // SAFETY: the queue is libtorch's own. No exception leaves the function.
        checked(unsafe { sib_wait_for_stream(self.index, self.number) })
    }
}
