//! The network with its last layers initialised anew, for the sanity check.

use anyhow::Result;
use sib_core::Backbone;
use sib_models::{Model, Part, Precision};

/// The two steps of the cascade, in their inference form.
#[derive(Debug)]
pub struct Randomised {
    /// The final linear layer is new.
    pub head: Box<dyn Backbone>,
    /// The final linear layer and the last stage are new.
    pub last_stage: Box<dyn Backbone>,
}

impl Randomised {
    /// Copies `model` but for the layers that are drawn from `seed`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn of(model: &Model, seed: u64) -> Result<Self> {
        let drawn = |part| -> Result<_> {
            Ok(model.reinitialised(part, seed)?.inference_form(Precision::F32))
        };
        Ok(Self { head: drawn(Part::Head)?, last_stage: drawn(Part::LastStage)? })
    }
}
