//! What tch cannot do from safe Rust. This is the only module with unsafe code.
#![allow(unsafe_code)]

use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

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

/// Loads libtorch's CUDA part, once; needed before the first CUDA call.
///
/// The linker drops `libtorch_cuda` from the binary, since nothing names a symbol of it: one binary
/// then runs with and without CUDA, and the library registers its kernels when it is loaded here.
///
/// # Errors
/// The dynamic linker's reason, in one line.
pub(crate) fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let folder = libtorch_folder().ok_or("libtorch_cpu.so is not among the loaded files")?;
        let path = folder.join("libtorch_cuda.so");
        if !path.exists() {
            return Err(format!("{} does not exist: a CPU-only libtorch", path.display()));
        }
        // SAFETY: libtorch_cuda belongs to the libtorch that is already running, and its
        // initialisers do nothing but register kernels. The handle is never closed.
        unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }.map_err(|error| {
            // The linker's own words, which name the library that is missing.
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        })
    });
    loaded.as_ref().map(|_| ()).map_err(Clone::clone)
}
