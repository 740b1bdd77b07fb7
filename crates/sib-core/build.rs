//! Compiles the C++ part against the libtorch that torch-sys links, and the C part against libjpeg.

use std::path::{Path, PathBuf};

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
        .files(units())
        // What ProcessGroupGloo.hpp wants of gloo.
        .include("native")
        .define("USE_C10D_GLOO", None)
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

/// Files of the C++ part that are compiled together: libtorch's headers take longer than the code, and two
/// units keep two cores busy.
const UNITS: [&[&str]; 2] = [
    &["affine", "batch_norm", "gelu", "optimizer", "process", "transfer"],
    &["batch_norm_device", "batch_norm_eval", "convolution", "group", "layer_norm", "recomputed"],
];

/// Writes a file a unit that includes its files.
fn units() -> Vec<PathBuf> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let here = std::env::current_dir().expect("a build script has a working folder");
    let write = |(number, files): (usize, &[&str])| {
        let include = |name: &&str| {
            format!("#include \"{}\"\n", here.join(format!("native/{name}.cpp")).display())
        };
        let unit = out.join(format!("unit_{number}.cpp"));
        std::fs::write(&unit, files.iter().map(include).collect::<String>())
            .expect("OUT_DIR can be written");
        unit
    };
    UNITS.into_iter().enumerate().map(write).collect()
}

/// The glue to the libjpeg that mozjpeg-sys has built.
fn jpeg() {
    let include = std::env::var_os("DEP_JPEG_INCLUDE").unwrap_or_default();
    cc::Build::new()
        .file("native/jpeg.c")
        .includes(std::env::split_paths(&include))
        .compile("sib_jpeg");
}
