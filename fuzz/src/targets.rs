//! The readers.

use std::path::Path;

use sib_cli::fuzzing as cli;
use sib_core::checkpoint::read_checkpoint;
use sib_core::data::transform::load_image;
use sib_core::data::{Transform, fuzzing as data};
use sib_models::{Arch, read_state_dict};

use crate::file::{with_file, with_files};

/// A reader, and the folder of `seeds` that is its.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads a file of these bytes. What it returns is not looked at: it may be right or an error.
    pub read: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "weights", read: weights },
    Target { name: "checkpoint", read: checkpoint },
    Target { name: "image", read: image },
    Target { name: "mask", read: data::mask },
    Target { name: "voc", read: data::voc },
    Target { name: "mat", read: data::mat },
    Target { name: "cifar", read: data::cifar },
    Target { name: "lists", read: data::lists },
    Target { name: "classes", read: classes },
    Target { name: "npy", read: npy },
    Target { name: "config", read: config },
    Target { name: "run", read: run },
    Target { name: "evaluation", read: evaluation },
    Target { name: "explanation", read: explanation },
];

/// PyTorch's zip container, its older one of pickles, and safetensors.
fn weights(bytes: &[u8]) {
    with_file(bytes, |path| drop(read_state_dict(path, Arch::ResNet18)));
}

fn checkpoint(bytes: &[u8]) {
    with_file(bytes, |path| drop(read_checkpoint(path)));
}

/// The decoder, and the preprocessing of what it gives.
fn image(bytes: &[u8]) {
    let transform = Transform::evaluation(36, 32, [0.5; 3], [0.5; 3]).expect("valid settings");
    with_file(bytes, |path| {
        if let Ok(image) = load_image(path, &transform) {
            assert_eq!(image.input.size(), [3, 32, 32]);
        }
    });
}

fn classes(bytes: &[u8]) {
    with_file(bytes, |path| drop(sib_core::classes::read(path)));
}

fn npy(bytes: &[u8]) {
    with_file(bytes, cli::npy);
}

fn config(bytes: &[u8]) {
    with_file(bytes, cli::config);
}

fn run(bytes: &[u8]) {
    with_parts(["environment.toml", "metrics.csv", "status.toml"], bytes, cli::run);
}

fn evaluation(bytes: &[u8]) {
    with_parts(["evaluation.toml", "summary.csv", "per_image.csv"], bytes, cli::evaluation);
}

fn explanation(bytes: &[u8]) {
    with_parts(["explanation.toml", "manifest.csv"], bytes, cli::explanation);
}

/// Calls `read` with a folder of files `names`, to which the parts of `bytes` between lines `----` go.
fn with_parts<const N: usize>(names: [&str; N], bytes: &[u8], read: fn(&Path)) {
    const BETWEEN: &[u8] = b"\n----\n";
    let mut rest = bytes;
    let files = names.map(|name| {
        let end = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let (part, after) = match end {
            Some(end) => (&rest[..end + 1], &rest[end + BETWEEN.len()..]),
            None => (rest, &[][..]),
        };
        rest = after;
        (name, part)
    });
    with_files(&files, read);
}
