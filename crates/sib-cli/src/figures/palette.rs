//! Which colours the paper's figures give to networks.

use crate::draw::colour::{COLOURS, Colour, PALETTE};
use crate::results::Called;

/// The colour of a network in every figure.
pub(super) fn colour(network: &Called) -> Colour {
    PALETTE[network.place % COLOURS]
}
