//! Compiles the C++ part against the libtorch that torch-sys links, and the C part against libjpeg.

use std::path::Path;

#[path = "../../scripts/rpath.rs"]
mod rpath;

fn main() {
    rpath::main();
    println!("cargo:rerun-if-changed=native");
    jpeg();
    // Without libtorch torch-sys fails with instructions; there is nothing to add.
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    let libtorch = Path::new(&libtorch);
    let openmp = cfg!(target_os = "linux");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++20")
        .files(
            [
                "affine",
                "process",
                "batch_norm",
                "batch_norm_eval",
                "convolution",
                "optimizer",
                "recomputed",
            ]
            .map(|name| format!("native/{name}.cpp")),
        )
        .include(libtorch.join("include"))
        .include(libtorch.join("include/torch/csrc/api/include"))
        // Kernels: slow code would be slow in tests too.
        .opt_level(3)
        .debug(false)
        .define("NDEBUG", None)
        .warnings(false)
        // A select is no branch: nobody reads the processor's floating-point exceptions.
        .flag_if_supported("-fno-trapping-math");
    if openmp {
        build.flag("-fopenmp");
    }
    build.compile("sib_native");
    println!("cargo:rustc-link-search=native={}", libtorch.join("lib").display());
    for library in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    if openmp {
        // libtorch's own: two thread pools would get in each other's way.
        let own = libtorch.join("lib/libgomp.so.1").exists();
        let name = if own { "+verbatim=libgomp.so.1" } else { "=gomp" };
        println!("cargo:rustc-link-lib=dylib{}{name}", if own { ":" } else { "" });
    }
}

/// The glue to the libjpeg that mozjpeg-sys has built.
fn jpeg() {
    let include = std::env::var_os("DEP_JPEG_INCLUDE").unwrap_or_default();
    cc::Build::new()
        .file("native/jpeg.c")
        .includes(std::env::split_paths(&include))
        .compile("sib_jpeg");
}
