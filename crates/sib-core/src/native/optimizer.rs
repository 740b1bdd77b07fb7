//! What is done to all parameters at once.

use std::ffi::c_char;
use std::ptr;

use tch::Tensor;

use super::border::{CTensor, checked, pointer, returned};

unsafe extern "C" {
    fn sib_adamw(
        parameters: *const *const CTensor,
        gradients: *const *const CTensor,
        first: *const *const CTensor,
        second: *const *const CTensor,
        n: i64,
        held: *const CTensor,
        step: i64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> *mut c_char;
    fn sib_sgd(
        parameters: *const *const CTensor,
        gradients: *const *const CTensor,
        first: *const *const CTensor,
        n: i64,
        held: *const CTensor,
        step: i64,
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
    ) -> *mut c_char;
    fn sib_norm(out: *mut *mut CTensor, tensors: *const *const CTensor, n: i64) -> *mut c_char;
    fn sib_scaled(
        out: *mut *mut CTensor,
        tensors: *const *const CTensor,
        n: i64,
        factor: *const CTensor,
    ) -> *mut c_char;
    fn sib_lerp(
        tensors: *const *const CTensor,
        ends: *const *const CTensor,
        n: i64,
        weight: f64,
    ) -> *mut c_char;
}

fn pointers(list: &[&Tensor]) -> Vec<*const CTensor> {
    list.iter().map(|tensor| tensor.as_ptr().cast()).collect()
}

/// The constants of an update of AdamW.
pub(crate) struct AdamW {
    /// Counted from 1.
    pub(crate) step: u64,
    pub(crate) learning_rate: f64,
    pub(crate) betas: [f64; 2],
    pub(crate) weight_decay: f64,
    pub(crate) epsilon: f64,
}

/// An update of `parameters` and their moments `first` and `second` in place, a gradient each; nothing is
/// changed where `held`, f32 on their device, is 1.
///
/// # Errors
/// libtorch's words.
pub(crate) fn adamw(
    [parameters, gradients, first, second]: [&[&Tensor]; 4],
    held: Option<&Tensor>,
    AdamW { step, learning_rate, betas: [beta1, beta2], weight_decay, epsilon }: AdamW,
) -> Result<(), String> {
    let n = parameters.len();
    assert!([gradients, first, second].iter().all(|list| list.len() == n), "one each a parameter");
    let lists = [parameters, gradients, first, second].map(pointers);
    let [parameters, gradients, first, second] = lists.each_ref().map(|list| list.as_ptr());
    // SAFETY: each list holds n pointers to live tensors. Parameters and moments are written as
    // tch's in-place operations do through a shared reference. No exception leaves it.
    checked(unsafe {
        sib_adamw(
            parameters,
            gradients,
            first,
            second,
            n as i64,
            pointer(held),
            step as i64,
            learning_rate,
            beta1,
            beta2,
            weight_decay,
            epsilon,
        )
    })
}

/// The constants of an update of stochastic gradient descent.
pub(crate) struct Sgd {
    /// Counted from 1.
    pub(crate) step: u64,
    pub(crate) learning_rate: f64,
    pub(crate) momentum: f64,
    pub(crate) weight_decay: f64,
}

/// An update of `parameters` and their momentum in place, as [`adamw`].
///
/// # Errors
/// libtorch's words.
pub(crate) fn sgd(
    [parameters, gradients, momentum_of]: [&[&Tensor]; 3],
    held: Option<&Tensor>,
    Sgd { step, learning_rate, momentum, weight_decay }: Sgd,
) -> Result<(), String> {
    let n = parameters.len();
    assert!([gradients, momentum_of].iter().all(|list| list.len() == n), "one each a parameter");
    let lists = [parameters, gradients, momentum_of].map(pointers);
    let [parameters, gradients, momentum_of] = lists.each_ref().map(|list| list.as_ptr());
    // SAFETY: as in `adamw`.
    checked(unsafe {
        sib_sgd(
            parameters,
            gradients,
            momentum_of,
            n as i64,
            pointer(held),
            step as i64,
            learning_rate,
            momentum,
            weight_decay,
        )
    })
}

/// The Euclidean norm of all `tensors` (one at least) together: an f64 scalar on their device.
///
/// # Errors
/// libtorch's words.
pub(crate) fn norm(tensors: &[&Tensor]) -> Result<Tensor, String> {
    let pointers = pointers(tensors);
    // SAFETY: the list holds as many pointers to live tensors, which are only read. No exception leaves it.
    returned(|out| unsafe { sib_norm(out, pointers.as_ptr(), pointers.len() as i64) })
}

/// `tensors` times the f64 scalar `factor`, as new ones.
///
/// # Errors
/// libtorch's words.
pub(crate) fn scaled(tensors: &[&Tensor], factor: &Tensor) -> Result<Vec<Tensor>, String> {
    let pointers = pointers(tensors);
    let mut out: Vec<*mut CTensor> = vec![ptr::null_mut(); tensors.len()];
    // SAFETY: both lists have room for as many pointers, of which the first's are of live tensors that are only
    // read. No exception leaves it.
    checked(unsafe {
        let (out, n) = (out.as_mut_ptr(), pointers.len() as i64);
        sib_scaled(out, pointers.as_ptr(), n, factor.as_ptr().cast())
    })?;
    // SAFETY: without a message each is a new tensor that nobody else owns.
    Ok(out.into_iter().map(|tensor| unsafe { Tensor::from_ptr(tensor.cast()) }).collect())
}

/// Moves `tensors` towards `ends` by `weight` of the way, in place.
///
/// # Errors
/// libtorch's words.
pub(crate) fn lerp(tensors: &[&Tensor], ends: &[&Tensor], weight: f64) -> Result<(), String> {
    assert_eq!(tensors.len(), ends.len(), "one each");
    let (tensors, ends) = (pointers(tensors), pointers(ends));
    // SAFETY: both lists hold as many pointers to live tensors; the first's are written as tch's in-place
    // operations do through a shared reference. No exception leaves it.
    checked(unsafe { sib_lerp(tensors.as_ptr(), ends.as_ptr(), tensors.len() as i64, weight) })
}
