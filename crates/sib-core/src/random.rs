//! Independent random streams by name and position, so that nothing depends on who draws first.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream is for; part of its key, so that no two uses share numbers.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Use {
    /// The order of an epoch: position 0 of (seed, epoch).
    Order = 1,
    /// The transform of one image: (seed, epoch, place in the epoch).
    Transform = 2,
    /// A generated image: (seed, split, index).
    Scene = 3,
    /// The images held out: (seed, class).
    HoldOut = 4,
    /// The draws of class-balanced sampling: position 0 of (seed, epoch).
    Balance = 5,
    /// What is mixed into a batch: (seed, epoch, batch).
    Mix = 6,
    /// libtorch's own generator: (seed, update, batch of the update).
    Dropout = 7,
    /// Random pairings of the images of a batch with each other's R: (seed, batch).
    Pairing = 8,
}

/// The stream of (`what`, `seed`, `epoch`, `index`): the four words are the ChaCha key itself, so
/// different words never give overlapping streams.
pub(crate) fn stream(what: Use, seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([what as u64, seed, epoch, index]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
