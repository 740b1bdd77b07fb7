//! What the command line asks of a network beyond a backbone.

use sib_core::Backbone;

use crate::Precision;

/// A network that can be copied to a form for eval mode alone.
pub trait Network: Backbone {
    /// The copy, which does not follow training: normalisation that follows a convolution is folded into
    /// it, and all before the head computes in `precision`.
    fn folded(&self, precision: Precision) -> Box<dyn Backbone>;
}
