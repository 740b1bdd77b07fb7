//! Which colours the paper's figures give to trainings.

use crate::draw::colour::{Colour, PALETTE};
use crate::network::Training;

/// The colour of a training in every figure.
pub(super) fn colour(training: Training) -> Colour {
    PALETTE[training.place()]
}
