//! A Rust function in libtorch's graph, to be run again for its derivatives.

use std::any::Any;
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;

use super::border::{CTensor, returned};

/// Runs the closure on `x`; `again` unless it is the first run.
type Call = extern "C" fn(
    closure: *const c_void,
    x: *const CTensor,
    again: bool,
    y: *mut *mut CTensor,
) -> *mut c_char;

unsafe extern "C" {
    fn sib_recomputed(
        out: *mut *mut CTensor,
        x: *const CTensor,
        call: Call,
        drop: extern "C" fn(*mut c_void),
        closure: *mut c_void,
    ) -> *mut c_char;
    fn sib_copied_message(text: *const c_char) -> *mut c_char;
}

/// `f(x, false)`; derivatives come from `f(x, true)`, on whatever thread computes them.
///
/// # Errors
/// libtorch's words, or those of a panic of `f`.
pub(crate) fn recomputed<F>(x: &Tensor, f: F) -> Result<Tensor, String>
where
    F: Fn(&Tensor, bool) -> Tensor + Send + 'static,
{
    let closure = Box::into_raw(Box::new(f)).cast();
    // SAFETY: the function takes the closure over, calls it from one thread at a time through
    // `call`, and drops it once through `dropped`, both made for its type.
    returned(|out| unsafe {
        sib_recomputed(out, x.as_ptr().cast(), call::<F>, dropped::<F>, closure)
    })
}

extern "C" fn call<F: Fn(&Tensor, bool) -> Tensor>(
    closure: *const c_void,
    x: *const CTensor,
    again: bool,
    y: *mut *mut CTensor,
) -> *mut c_char {
    let run = || {
        // SAFETY: the closure that `recomputed` gave away, not dropped yet, and a live tensor.
        let (f, x) =
            unsafe { (&*closure.cast::<F>(), Tensor::clone_from_ptr(x.cast_mut().cast())) };
        f(&x, again)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(mut result) => {
            // SAFETY: a place for the result, which belongs to the other side from here on.
            unsafe { *y = result.as_mut_ptr().cast() };
            std::mem::forget(result);
            std::ptr::null_mut()
        }
        Err(panic) => {
            let text = CString::new(words(panic.as_ref()).replace('\0', " ")).expect("no zeros");
            // SAFETY: a C string, which is copied.
            unsafe { sib_copied_message(text.as_ptr()) }
        }
    }
}

extern "C" fn dropped<F>(closure: *mut c_void) {
    // SAFETY: made by `Box::into_raw` of the same type, and dropped once.
    drop(unsafe { Box::from_raw(closure.cast::<F>()) });
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}
