//! All seeds, and what fuzzing has found, through their readers: as they are, and damaged a thousand times.

use std::fs;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sib_fuzz::TARGETS;

/// Damaged forms of each file. A campaign makes more than 10⁷.
const DAMAGED: u64 = 1000;

/// The files of `folder/target`, by name.
fn files(folder: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// `bytes` with some of them changed, left out, or there twice.
fn damaged(bytes: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        let end = rng.random_range(at..=bytes.len().min(at + 64));
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            _ => {
                let part = bytes[at..end].to_vec();
                let to = rng.random_range(0..bytes.len());
                drop(bytes.splice(to..to, part));
            }
        }
    }
    bytes
}

#[test]
fn no_reader_panics_over_a_damaged_file() {
    for target in TARGETS {
        let seeds = files("seeds", target.name);
        assert!(!seeds.is_empty(), "{}: no seeds", target.name);
        for (name, bytes) in seeds.into_iter().chain(files("found", target.name)) {
            (target.read)(&bytes);
            for seed in 0..DAMAGED {
                let bytes = damaged(&bytes, &mut ChaCha8Rng::seed_from_u64(seed));
                let read = std::panic::catch_unwind(|| (target.read)(&bytes));
                assert!(read.is_ok(), "{}: {name}, damaged by seed {seed}", target.name);
            }
        }
    }
}
