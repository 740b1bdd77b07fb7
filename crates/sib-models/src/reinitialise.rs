//! Networks with their last layers initialised anew, for the sanity check of Adebayo et al. (2018,
//! arXiv:1810.03292): heatmaps that explain a network must change with it.

use std::collections::BTreeMap;
use std::path::Path;

use sib_core::Result;
use tch::Tensor;

use crate::{Model, ModelOptions};

/// The end of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The final linear layer.
    Head,
    /// The last stage ([`Arch::last_stage`](crate::Arch::last_stage)) and the final linear layer.
    LastStage,
}

impl Model {
    /// A copy but for `part`, which is drawn as in a new network from libtorch's global generator, started
    /// at `seed`. A head that would be zero at first is drawn as PyTorch's linear layer is: without weights
    /// it would explain nothing, and every map be flat.
    ///
    /// # Errors
    /// What libtorch refuses, and a weight that is not finite.
    pub fn reinitialised(&self, part: Part, seed: u64) -> Result<Self> {
        tch::manual_seed(seed as i64);
        let options = ModelOptions::default();
        let new = Self::new(self.arch(), self.num_classes(), self.device(), &options)?;
        let is_new = |name: &str| self.is_in(part, name);
        for (_, weight) in new.state_dict().into_iter().filter(|(name, _)| is_new(name)) {
            if weight.dim() == 2 && weight.count_nonzero(None).int64_value(&[]) == 0 {
                let bound = 1.0 / (weight.size()[1] as f64).sqrt();
                let _ = tch::no_grad(|| weight.shallow_clone().uniform_(-bound, bound));
            }
        }
        let mut kept: BTreeMap<String, Tensor> = self.state_dict();
        kept.retain(|name, _| !is_new(name));
        new.load_state_dict(&kept, Path::new("the network"))?;
        Ok(new)
    }

    fn is_in(&self, part: Part, name: &str) -> bool {
        let stage: &[&str] = match part {
            Part::Head => &[],
            Part::LastStage => self.arch().last_stage(),
        };
        stage
            .iter()
            .chain([&self.arch().head()])
            .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
    }
}
