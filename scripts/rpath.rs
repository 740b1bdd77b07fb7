//! Build script of every crate: tests, examples and the binary find libtorch where it was built
//! against, with no `LD_LIBRARY_PATH`. (A build script's link arguments reach only its own package,
//! hence the six uses of this one file.)

use std::path::Path;

pub(crate) fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    let lib = Path::new(&libtorch).join("lib");
    if !lib.is_dir() {
        println!(
            "cargo:warning=no libtorch at {}: run scripts/setup.sh, or set LIBTORCH",
            Path::new(&libtorch).display()
        );
        return;
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
}
