//! Processes that work as one, on the other side of the border.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use tch::Tensor;

use super::border::{CTensor, checked, returned};

/// An `sib::Group`.
type CGroup = c_void;

unsafe extern "C" {
    fn sib_group_join(
        out: *mut *mut CGroup,
        host: *const c_char,
        port: u16,
        serves: bool,
        prefix: *const c_char,
        rank: i64,
        size: i64,
        timeout_ms: i64,
        address: *const c_char,
        on_gpus: bool,
    ) -> *mut c_char;
    fn sib_group_leave(group: *const CGroup);
    fn sib_group_free(group: *mut CGroup);
    fn sib_group_is_broken(group: *const CGroup) -> bool;
    fn sib_group_add(
        sum: *mut i64,
        group: *const CGroup,
        key: *const c_char,
        amount: i64,
    ) -> *mut c_char;
    fn sib_group_sum(
        group: *const CGroup,
        tensors: *const *const CTensor,
        count: i64,
    ) -> *mut c_char;
    fn sib_group_broadcast(
        group: *const CGroup,
        tensors: *const *const CTensor,
        roots: *const i64,
        count: i64,
    ) -> *mut c_char;
    fn sib_group_sum_of(
        out: *mut *mut CTensor,
        group: *const CGroup,
        x: *const CTensor,
    ) -> *mut c_char;
}

/// A member's handle of its group.
#[derive(Debug)]
pub(crate) struct Members(*mut CGroup);

// SAFETY: c10d's backends and stores lock what their threads share; operations are still to be started in the same
// order by all members, which is up to the callers.
unsafe impl Send for Members {}
unsafe impl Sync for Members {}

/// Where members meet, and which this one is.
pub(crate) struct Meeting<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Whether this member keeps the store, rather than its launcher or another.
    pub(crate) serves: bool,
    /// Tells apart groups that use the same store one after another.
    pub(crate) prefix: &'a str,
    pub(crate) rank: usize,
    pub(crate) size: usize,
    /// Longest wait for the others.
    pub(crate) timeout_ms: i64,
    /// Where the others reach this one; `None` for that of the interface that `GLOO_SOCKET_IFNAME` names.
    pub(crate) address: Option<&'a str>,
    /// NCCL instead of Gloo; libtorch's CUDA part must be loaded.
    pub(crate) on_gpus: bool,
}

impl Members {
    /// Waits for the others.
    ///
    /// # Errors
    /// c10d's words.
    pub(crate) fn join(meeting: &Meeting<'_>) -> Result<Self, String> {
        let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
        let (host, prefix) = (text(meeting.host)?, text(meeting.prefix)?);
        let address = meeting.address.map(text).transpose()?;
        let mut group = ptr::null_mut();
        // SAFETY: C strings that outlive the call, which reads them, and a place for the result. No exception
        // leaves the function.
        checked(unsafe {
            sib_group_join(
                &mut group,
                host.as_ptr(),
                meeting.port,
                meeting.serves,
                prefix.as_ptr(),
                meeting.rank as i64,
                meeting.size as i64,
                meeting.timeout_ms,
                address.as_ref().map_or(ptr::null(), |address| address.as_ptr()),
                meeting.on_gpus,
            )
        })?;
        Ok(Self(group))
    }

    /// For functions of the other side, which share it.
    pub(super) fn pointer(&self) -> *const c_void {
        self.0
    }

    /// Closes the connections to the other members, but not to the store.
    pub(crate) fn leave(&self) {
        // SAFETY: a live group, whose operations fail from here on.
        unsafe { sib_group_leave(self.0) }
    }

    /// Whether an operation of the group has failed.
    pub(crate) fn is_broken(&self) -> bool {
        // SAFETY: a live group, of which an atomic is read.
        unsafe { sib_group_is_broken(self.0) }
    }

    /// Adds to a number in the store, 0 at first, and returns the sum.
    ///
    /// # Errors
    /// c10d's words.
    pub(crate) fn add(&self, key: &str, amount: i64) -> Result<i64, String> {
        let key = CString::new(key).map_err(|error| error.to_string())?;
        let mut sum = 0;
        // SAFETY: a live group, a C string, a place for the number. No exception leaves the function.
        checked(unsafe { sib_group_add(&mut sum, self.0, key.as_ptr(), amount) })?;
        Ok(sum)
    }

    /// Adds up each of `tensors` over the members, in place.
    ///
    /// # Errors
    /// c10d's words.
    pub(crate) fn sum(&self, tensors: &[&Tensor]) -> Result<(), String> {
        let pointers = pointers(tensors);
        // SAFETY: a live group and live tensors, which it writes as libtorch's own operations do. No exception
        // leaves the function.
        checked(unsafe { sib_group_sum(self.0, pointers.as_ptr(), pointers.len() as i64) })
    }

    /// Makes each of `tensors` that of member `roots[i]`, in place.
    ///
    /// # Errors
    /// c10d's words.
    pub(crate) fn broadcast(&self, tensors: &[&Tensor], roots: &[i64]) -> Result<(), String> {
        assert_eq!(tensors.len(), roots.len(), "a root each");
        let pointers = pointers(tensors);
        // SAFETY: as for `sum`; as many roots as tensors.
        checked(unsafe {
            sib_group_broadcast(self.0, pointers.as_ptr(), roots.as_ptr(), roots.len() as i64)
        })
    }

    /// The sum of `x` over the members, as a function that can be differentiated any number of times.
    ///
    /// # Errors
    /// c10d's words.
    pub(crate) fn sum_of(&self, x: &Tensor) -> Result<Tensor, String> {
        // SAFETY: a live group and a live tensor, which is only read. No exception leaves the function.
        returned(|out| unsafe { sib_group_sum_of(out, self.0, x.as_ptr().cast()) })
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        // SAFETY: the reference that `join` made; functions of the graph hold their own.
        unsafe { sib_group_free(self.0) }
    }
}

fn pointers(tensors: &[&Tensor]) -> Vec<*const CTensor> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast()).collect()
}
