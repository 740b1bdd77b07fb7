//! What cannot be done from safe Rust: libtorch beyond tch, and libjpeg. This is the only module with
//! unsafe code.
#![allow(unsafe_code)]

mod border;
mod group;
mod jpeg;
mod optimizer;
mod recomputed;
mod stream;

pub(crate) use group::{Meeting, Members};
pub(crate) use jpeg::Jpeg;
pub(crate) use optimizer::{AdamW, Sgd, adamw, lerp, norm, scaled, sgd};
pub(crate) use recomputed::recomputed;
pub(crate) use stream::Stream;

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
use tch::Tensor;

use crate::conv_geometry::ConvGeometry;
use border::{CTensor, pointer, returned};

unsafe extern "C" {
    fn sib_batch_norm(
        out: *mut *mut CTensor,
        x: *const CTensor,
        shortcut: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        running_mean: *const CTensor,
        running_var: *const CTensor,
        momentum: f64,
        eps: f64,
        relu: bool,
        group: *const c_void,
    ) -> *mut c_char;
    fn sib_layer_norm(
        out: *mut *mut CTensor,
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        eps: f64,
    ) -> *mut c_char;
    fn sib_gelu(out: *mut *mut CTensor, x: *const CTensor) -> *mut c_char;
    fn sib_batch_norm_eval(
        out: *mut *mut CTensor,
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        running_mean: *const CTensor,
        running_var: *const CTensor,
        eps: f64,
        relu: bool,
    ) -> *mut c_char;
    fn sib_conv2d(
        out: *mut *mut CTensor,
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        stride: i64,
        padding: i64,
        groups: i64,
    ) -> *mut c_char;
    fn sib_conv2d_relu(
        out: *mut *mut CTensor,
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        shortcut: *const CTensor,
        stride: i64,
        padding: i64,
        groups: i64,
    ) -> *mut c_char;
    fn sib_sent(out: *mut *mut CTensor, x: *const CTensor, index: i64) -> *mut c_char;
    fn sib_keep_freed_memory();
    fn sib_round_operands(round: bool);
    fn sib_choose_algorithms(deterministic: bool);
    fn sib_peak_cuda_bytes(index: i64) -> i64;
}

/// `x` of the CPU on GPU `index`, by a copy that the host does not wait for.
///
/// # Errors
/// libtorch's words.
pub(crate) fn sent(x: &Tensor, index: usize) -> Result<Tensor, String> {
    // SAFETY: the pointer is of a live tensor, which the function only reads. No exception leaves it.
    returned(|out| unsafe { sib_sent(out, x.as_ptr().cast(), index as i64) })
}

/// Tells the allocator to keep what is freed.
pub(crate) fn keep_freed_memory() {
    // SAFETY: sets options of the allocator, which may change at any time.
    unsafe { sib_keep_freed_memory() }
}

/// Which of several algorithms libtorch takes on CUDA.
pub(crate) fn choose_algorithms(deterministic: bool) {
    // SAFETY: sets options of libtorch, and of the environment before a GPU is first used.
    unsafe { sib_choose_algorithms(deterministic) }
}

/// Whether convolutions and matrix products on CUDA round operands of f32 to 10 bits (TF32).
pub(crate) fn round_operands(round: bool) {
    // SAFETY: sets an option of libtorch, which may change at any time.
    unsafe { sib_round_operands(round) }
}

/// The most bytes that tensors on GPU `index` have held at a time, where libtorch counts them. Its
/// CUDA part must be loaded.
pub(crate) fn peak_cuda_bytes(index: usize) -> Option<u64> {
    // SAFETY: reads counters of the allocator that `load_cuda` has registered.
    u64::try_from(unsafe { sib_peak_cuda_bytes(index as i64) }).ok()
}

/// What follows a normalisation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then<'t> {
    /// Nothing.
    Nothing,
    /// The ReLU, of the sum with this shortcut where there is one.
    Relu(Option<&'t Tensor>),
}

/// Batch normalisation of `x` `[B,C,H,W]` in train mode and what follows; updates the running
/// statistics `[C]`. On the CPU by this project's passes, where `x` may be a part of a batch of `group`; elsewhere by
/// libtorch's kernels.
///
/// # Errors
/// libtorch's words.
pub(crate) fn batch_norm(
    x: &Tensor,
    [weight, bias, running_mean, running_var]: [&Tensor; 4],
    momentum: f64,
    eps: f64,
    then: Then<'_>,
    group: Option<&Members>,
) -> Result<Tensor, String> {
    let (shortcut, relu) = match then {
        Then::Nothing => (None, false),
        Then::Relu(shortcut) => (shortcut, true),
    };
    // SAFETY: the pointers are of live tensors, which the function reads or, the running statistics, writes as
    // libtorch itself does, and of a live group, which the graph then shares; or null where it allows that. No
    // exception leaves it.
    returned(|out| unsafe {
        sib_batch_norm(
            out,
            x.as_ptr().cast(),
            pointer(shortcut),
            weight.as_ptr().cast(),
            bias.as_ptr().cast(),
            running_mean.as_ptr().cast(),
            running_var.as_ptr().cast(),
            momentum,
            eps,
            relu,
            group.map_or(std::ptr::null(), Members::pointer),
        )
    })
}

/// Layer normalisation of `x` `[...,D]` with `weight`, `bias` `[D]`.
///
/// # Errors
/// libtorch's words.
pub(crate) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor, String> {
    // SAFETY: the pointers are of live tensors, which the function only reads. No exception leaves it.
    returned(|out| unsafe {
        sib_layer_norm(out, x.as_ptr().cast(), weight.as_ptr().cast(), bias.as_ptr().cast(), eps)
    })
}

/// `xΦ(x)`.
///
/// # Errors
/// libtorch's words.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor, String> {
    // SAFETY: the pointer is of a live tensor, which the function only reads. No exception leaves it.
    returned(|out| unsafe { sib_gelu(out, x.as_ptr().cast()) })
}

/// Batch normalisation of `x` `[B,C,H,W]` in eval mode, then the ReLU where it is wanted.
///
/// # Errors
/// libtorch's words.
pub(crate) fn batch_norm_eval(
    x: &Tensor,
    [weight, bias, running_mean, running_var]: [&Tensor; 4],
    eps: f64,
    relu: bool,
) -> Result<Tensor, String> {
    // SAFETY: the pointers are of live tensors, which the function only reads. No exception leaves
    // it.
    returned(|out| unsafe {
        sib_batch_norm_eval(
            out,
            x.as_ptr().cast(),
            weight.as_ptr().cast(),
            bias.as_ptr().cast(),
            running_mean.as_ptr().cast(),
            running_var.as_ptr().cast(),
            eps,
            relu,
        )
    })
}

/// Convolution of `x` `[B,C,H,W]` with `weight` `[D,C/groups,h,w]` and `bias` `[D]`.
///
/// # Errors
/// libtorch's words.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    ConvGeometry { stride, padding, groups }: ConvGeometry,
) -> Result<Tensor, String> {
    let bias = pointer(bias);
    // SAFETY: the pointers are of live tensors, which the function only reads, or null where it
    // allows that. No exception leaves it.
    returned(|out| unsafe {
        let (x, weight) = (x.as_ptr().cast(), weight.as_ptr().cast());
        sib_conv2d(out, x, weight, bias, stride, padding, groups)
    })
}

/// `relu(conv(x) + bias + shortcut)`, of `x` `[B,C,H,W]` with `weight` `[D,C/groups,h,w]` and `bias` `[D]`.
///
/// # Errors
/// libtorch's words.
pub(crate) fn conv2d_relu(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    shortcut: Option<&Tensor>,
    ConvGeometry { stride, padding, groups }: ConvGeometry,
) -> Result<Tensor, String> {
    let shortcut = pointer(shortcut);
    // SAFETY: the pointers are of live tensors, which the function only reads, or null where it
    // allows that. No exception leaves it.
    returned(|out| unsafe {
        let (x, weight, bias) = (x.as_ptr().cast(), weight.as_ptr().cast(), bias.as_ptr().cast());
        sib_conv2d_relu(out, x, weight, bias, shortcut, stride, padding, groups)
    })
}

/// Of `dlopen`: only what is loaded already.
const RTLD_NOLOAD: i32 = 4;

/// Where the program was linked to look for libtorch; the dynamic linker finds the same folder.
pub(crate) fn libtorch_folder() -> Option<PathBuf> {
    // The library that is really loaded, not the one that the build saw.
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| {
        let path = line.split_once('/')?.1;
        path.ends_with("libtorch_cpu.so").then(|| PathBuf::from(format!("/{path}")))
    })?;
    Some(path.parent()?.to_owned())
}

/// Loads libtorch's CUDA part, once, and has it compute f32 in f32; needed before the first CUDA
/// call.
///
/// The linker drops `libtorch_cuda` from the binary, since nothing names a symbol of it: one binary
/// then runs with and without CUDA, and the library registers its kernels when it is loaded here.
///
/// # Errors
/// The dynamic linker's reason, in one line.
pub(crate) fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        // Where it was preloaded, perhaps by another of that name, it is the one.
        // SAFETY: nothing is loaded and no initialiser runs.
        let preloaded = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_LAZY | RTLD_NOLOAD) };
        if let Ok(library) = preloaded {
            round_operands(false);
            return Ok(library);
        }
        let folder = libtorch_folder().ok_or("libtorch_cpu.so is not among the loaded files")?;
        let path = folder.join("libtorch_cuda.so");
        if !path.exists() {
            return Err(format!("{} does not exist: a CPU-only libtorch", path.display()));
        }
        // SAFETY: libtorch_cuda belongs to the libtorch that is already running, and its
        // initialisers do nothing but register kernels. The handle is never closed.
        let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) };
        let library = library.map_err(|error| {
            // The linker's own words, which name the library that is missing.
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        })?;
        round_operands(false);
        Ok(library)
    });
    loaded.as_ref().map(|_| ()).map_err(Clone::clone)
}
