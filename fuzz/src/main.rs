//! The target that `SIB_FUZZ_TARGET` names, under libFuzzer: `scripts/fuzz.sh`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sib_fuzz::{TARGETS, Target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("SIB_FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("error: SIB_FUZZ_TARGET={name}, expected one of {}", names.join(", "));
        std::process::exit(2)
    })
});

fuzz_target!(|bytes: &[u8]| (CHOSEN.read)(bytes));
