//! Devices by name, and what libtorch there is.

use std::path::PathBuf;

use tch::{Cuda, Device, Tensor};

use crate::native::Stream;
use crate::{Error, Result, native};

/// The device called `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Invalid`] for another name, [`Error::Device`] where CUDA cannot be had, with the reason.
pub fn parse(name: &str) -> Result<Device> {
    let index = match name.split_once(':') {
        _ if name == "cpu" => return Ok(Device::Cpu),
        _ if name == "cuda" => Some(0),
        Some(("cuda", index)) => index.parse().ok(),
        _ => None,
    };
    let Some(index) = index else {
        return Err(Error::invalid("device", format!("\"{name}\""), "cpu, cuda or cuda:N"));
    };
    let unavailable = |reason| Error::Device { requested: name.to_owned(), reason };
    let found = cuda_devices().map_err(unavailable)?;
    if index >= found {
        return Err(unavailable(format!("{found} CUDA device(s) found, counted from 0")));
    }
    Ok(Device::Cuda(index))
}

/// Number of CUDA devices, at least 1.
///
/// # Errors
/// Why there is none.
pub fn cuda_devices() -> std::result::Result<usize, String> {
    native::load_cuda()?;
    match Cuda::device_count() {
        count if count > 0 && Cuda::is_available() => Ok(count as usize),
        _ => Err("libtorch's CUDA part is loaded, but finds no usable GPU or driver".to_owned()),
    }
}

/// Which of several algorithms libtorch takes on a GPU from now on: those that give the same bits each time, as far as
/// it has them, or the fastest for the sizes at hand, which cuDNN finds by trying. Nothing changes on the CPU, whose
/// algorithms give the same bits anyway.
pub fn choose_algorithms(device: Device, deterministic: bool) {
    if device.is_cuda() {
        native::choose_algorithms(deterministic);
    }
}

/// Whether `device` computes in bfloat16: a processor without such instructions emulates it, several times slower than f32.
pub fn has_bfloat16(device: Device) -> bool {
    #[cfg(target_arch = "x86_64")]
    let processor = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    let processor = std::arch::is_aarch64_feature_detected!("bf16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let processor = false;
    processor || device != Device::Cpu
}

/// Waits until `device` has done all that it was told to.
pub fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// A queue of a GPU's work beside the ordinary one, for a thread that prepares what others use.
#[derive(Debug)]
pub(crate) struct Queue {
    index: usize,
    stream: Stream,
}

impl Queue {
    /// One of `device`, where that is a GPU.
    ///
    /// # Errors
    /// [`Error::Device`], as of the other functions, with libtorch's words.
    pub(crate) fn of(device: Device) -> Result<Option<Self>> {
        let Device::Cuda(index) = device else { return Ok(None) };
        let stream = Stream::new(index).map_err(|reason| cuda_error(index, reason))?;
        Ok(Some(Self { index, stream }))
    }

    /// From now on what this thread asks of the device goes here.
    pub(crate) fn enter(&self) -> Result<()> {
        self.stream.enter().map_err(|reason| cuda_error(self.index, reason))
    }

    /// Waits until everything here is done: the ordinary queue may use `results` then.
    pub(crate) fn hand_over<'t>(
        &self,
        results: impl IntoIterator<Item = &'t Tensor>,
    ) -> Result<()> {
        let results: Vec<_> = results.into_iter().collect();
        self.stream.hand_over(&results).map_err(|reason| cuda_error(self.index, reason))
    }
}

fn cuda_error(index: usize, reason: String) -> Error {
    Error::Device { requested: format!("cuda:{index}"), reason }
}

/// The most bytes that tensors on `device` have held at a time; known of GPUs.
pub fn peak_bytes(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(index) => native::peak_cuda_bytes(index),
        _ => None,
    }
}

/// The folder of the libtorch that is running.
pub fn libtorch_folder() -> Option<PathBuf> {
    native::libtorch_folder()
}

/// Tells the C library to keep freed memory for the next tensor, for programs that make tensors of
/// the same sizes over and over: by default glibc hands large blocks back to the kernel, which then
/// clears each of their pages anew. Costs some memory, saves an S-IB step of ResNet-18 a seventh of
/// its time.
pub fn keep_freed_memory() {
    native::keep_freed_memory();
}
