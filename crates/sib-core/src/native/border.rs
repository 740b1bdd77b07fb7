//! What crosses the border to C++: tensors by pointer, exceptions as messages.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use tch::Tensor;

unsafe extern "C" {
    fn sib_free_message(message: *mut c_char);
}

/// An `at::Tensor` on the other side of the border.
pub(super) type CTensor = c_void;

/// Null where there is no tensor.
pub(super) fn pointer(tensor: Option<&Tensor>) -> *const CTensor {
    tensor.map_or(ptr::null(), |tensor| tensor.as_ptr().cast())
}

/// The tensor that `call` leaves in its argument, or the message that it returns.
pub(super) fn returned(
    call: impl FnOnce(*mut *mut CTensor) -> *mut c_char,
) -> Result<Tensor, String> {
    let mut out = ptr::null_mut();
    checked(call(&mut out))?;
    // SAFETY: without a message, `out` is a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// The message of an exception, if there is one.
pub(super) fn checked(message: *mut c_char) -> Result<(), String> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is a C string of the other side, which frees it.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { sib_free_message(message) };
    Err(text)
}
