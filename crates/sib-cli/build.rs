//! Where libtorch is, as for every crate, and the commit that is built.

use std::process::Command;

#[path = "../../scripts/rpath.rs"]
mod rpath;

fn main() {
    rpath::main();
    // Behind the folder of this build, where a Python package finds libtorch: python/build_wheel.py takes the former
    // away.
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../torch/lib");
    println!("cargo:rustc-env=SIB_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
}

/// The commit, with a `+` where files have changed since; `None` where that is not known.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let folder = git(&["rev-parse", "--absolute-git-dir"])?;
    // What moves with every commit and checkout.
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo:rerun-if-changed={folder}/{file}");
    }
    git(&["describe", "--always", "--dirty=+", "--exclude=*"])
}
