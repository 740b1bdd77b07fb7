//! Guided backpropagation, without hooks or custom autograd functions.
//!
//! A [`Probe`] cuts the graph at every ReLU: its output becomes a new leaf. What lies between two
//! cuts is differentiated by libtorch as it is; across a cut the gradient is passed by hand, under
//! the guided rule. In reverse order of the forward pass, each leaf gets the sum of what all later
//! cuts that read it hand back (so skip connections and concatenations need nothing special), in
//! one backward run whose engine visits only the nodes between that leaf and the next cuts: every
//! layer is passed once.

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Mode, Probe, Result};
use tch::{Kind, Tensor};

use crate::explainer::{ChannelReduction, InputAttribution};
use crate::spec::Spec;
use crate::target::{Target, gradient};

pub(crate) const SPEC: Spec =
    Spec { name: "guided-backprop", title: "Guided Backprop", batch_size: 8 };

/// Settings of `guided-backprop`: see [`GuidedBackprop`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidedBackpropOptions {
    /// Guide the network's last ReLU too.
    pub guide_last_relu: bool,
}

impl Default for GuidedBackpropOptions {
    fn default() -> Self {
        Self { guide_last_relu: true }
    }
}

/// Gradient of the target in which every ReLU passes `g·1[x>0]·1[g>0]` (Springenberg et al.
/// 2014, arXiv:1412.6806). Heatmap: largest magnitude over the channels.
///
/// A network without ReLU gets its plain gradient.
#[derive(Debug, Clone)]
pub struct GuidedBackprop {
    /// Images in one forward pass.
    pub batch_size: i64,
    /// Whether the last ReLU is guided as well. Implementations that find ReLUs as modules miss one
    /// that is called as a function, as torchvision's DenseNet does with its last: `false`
    /// reproduces them.
    pub guide_last_relu: bool,
}

impl GuidedBackprop {
    /// With these options, of at most `batch_size` images in one forward pass.
    pub fn new(options: &GuidedBackpropOptions, batch_size: i64) -> Self {
        Self { batch_size, guide_last_relu: options.guide_last_relu }
    }
}

impl InputAttribution for GuidedBackprop {
    fn batch_size(&self) -> i64 {
        self.batch_size
    }

    fn reduction(&self) -> ChannelReduction {
        ChannelReduction::MaxAbs
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        tch::with_grad(|| {
            let input = images.detach().set_requires_grad(true);
            let mut cuts = Cuts(Vec::new());
            let logits = model.forward_probed(&input, Mode::Eval, &mut cuts);
            // Scalars whose gradients are what the target and the cuts passed so far send back.
            let mut senders = vec![target.scores(&logits)?.sum(None::<Kind>)];
            for (depth, Cut { before, after }) in cuts.0.iter().rev().enumerate() {
                let Some(received) = gradient(&senders, after, true)? else { continue };
                if !before.requires_grad() {
                    continue;
                }
                let guided = depth > 0 || self.guide_last_relu;
                let positive = if guided { received.relu() } else { received };
                let passed = positive * before.detach().gt(0.0);
                senders.push((before * passed).sum(None::<Kind>));
            }
            Ok(gradient(&senders, &input, false)?.unwrap_or_else(|| input.zeros_like()))
        })
    }
}

/// One ReLU: its input, the end of the graph before it, and its output, a leaf of the graph after.
struct Cut {
    before: Tensor,
    after: Tensor,
}

/// All ReLUs, in the order of the forward pass.
struct Cuts(Vec<Cut>);

impl Probe for Cuts {
    fn relu(&mut self, x: &Tensor) -> Tensor {
        let after = x.detach().relu().set_requires_grad(true);
        self.0.push(Cut { before: x.shallow_clone(), after: after.shallow_clone() });
        after
    }
}
