//! ScoreCAM.

use serde::{Deserialize, Serialize};
use sib_core::{Error, Mode, Result};
use tch::{Kind, Tensor};

use crate::cam::{CamContext, ChannelWeights};
use crate::spec::Spec;
use crate::target::{Target, entries};

pub(crate) const SPEC: Spec = Spec { name: "score-cam", title: "ScoreCAM", batch_size: 32 };

/// Settings of `score-cam`: see [`ScoreCam`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreCamOptions {
    /// `probability` or `softmax-logit`.
    pub weights: ScoreWeights,
    /// Upsample the masks with corners aligned.
    pub align_corners: bool,
}

/// What a channel weighs, given the network's answer to the image that the channel masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreWeights {
    /// The softmax probability of the target class, as in the authors' own code; of a difference of
    /// classes the difference of their probabilities. A scalar of one's own has none.
    #[default]
    Probability,
    /// The softmax over the channels of the target, whatever scalar of the logits that is, as in
    /// pytorch-grad-cam.
    SoftmaxLogit,
}

/// Weights without gradients: each channel, upsampled and scaled to `[0,1]`, masks the image, and
/// the score of the masked image is the weight (Wang et al. 2020, arXiv:1910.01279).
///
/// A channel that is constant over the image cannot be scaled. It masks nothing out of everything:
/// under [`ScoreWeights::Probability`] it is skipped (weight 0), under
/// [`ScoreWeights::SoftmaxLogit`] it gets the logit of the zero image; neither costs a forward pass
/// of its own. Memory is bounded by [`Self::batch_size`], whatever the number of channels.
#[derive(Debug, Clone)]
pub struct ScoreCam {
    /// The weight of a masked image.
    pub weights: ScoreWeights,
    /// Upsamples the masks with `align_corners = true`, as pytorch-grad-cam does.
    pub align_corners: bool,
    /// Masked images in one forward pass.
    pub batch_size: i64,
}

impl ChannelWeights for ScoreCam {
    fn weights(&self, ctx: &CamContext) -> Result<Tensor> {
        if self.weights == ScoreWeights::Probability && ctx.classes < 2 {
            let expected = "at least 2: the probability of one class is 1 whatever is masked; \
                            score-cam.weights = \"softmax-logit\" weighs by its logit";
            return Err(Error::invalid("classes", ctx.classes, expected));
        }
        tch::no_grad(|| {
            let (b, c, h, w) = ctx.activation.size4()?;
            let channels = ctx.activation.reshape([b * c, h, w]);
            let flat = channels.flatten(1, 2);
            let varying = flat.amax(1, false).gt_tensor(&flat.amin(1, false));
            let varying = varying.nonzero().squeeze_dim(1);

            let mut scores =
                self.score_of_constant_channels(ctx)?.repeat_interleave_self_int(c, 0, None);
            for rows in varying.split(self.batch_size, 0) {
                if rows.size()[0] > 0 {
                    let chunk = self.scores(ctx, &channels, &rows, c)?;
                    let _ = scores.index_copy_(0, &rows, &chunk);
                }
            }
            let scores = scores.reshape([b, c, 1, 1]);
            Ok(match self.weights {
                ScoreWeights::Probability => scores,
                ScoreWeights::SoftmaxLogit => scores.softmax(1, None::<Kind>),
            })
        })
    }
}

impl ScoreCam {
    /// With these options, of at most `batch_size` masked images in one forward pass.
    pub fn new(options: &ScoreCamOptions, batch_size: i64) -> Self {
        let ScoreCamOptions { weights, align_corners } = *options;
        Self { weights, align_corners, batch_size }
    }

    /// Scores `[n]` of the images that `rows` `[n]` of `channels` `[B·C,h,w]` mask.
    fn scores(
        &self,
        ctx: &CamContext,
        channels: &Tensor,
        rows: &Tensor,
        channels_per_image: i64,
    ) -> Result<Tensor> {
        let image_of_row = rows.floor_divide_scalar(channels_per_image);
        let size = [ctx.images.size()[2], ctx.images.size()[3]];
        let masks = channels.index_select(0, rows).unsqueeze(1).upsample_bilinear2d(
            size,
            self.align_corners,
            None,
            None,
        );
        let lowest = masks.amin([2, 3].as_slice(), true);
        let range = masks.amax([2, 3].as_slice(), true) - &lowest;
        let masks = (masks - lowest) / range.masked_fill(&range.eq(0.0), 1.0);
        let masked = ctx.images.index_select(0, &image_of_row) * masks;
        let logits = ctx.model.forward(&masked, Mode::Eval);
        let target = ctx.target.select(&image_of_row);
        match self.weights {
            ScoreWeights::Probability => confidence(&target, &logits.softmax(1, None::<Kind>)),
            ScoreWeights::SoftmaxLogit => target.scores(&logits),
        }
    }

    /// Scores `[B]` of a channel whose mask is 0 everywhere.
    fn score_of_constant_channels(&self, ctx: &CamContext) -> Result<Tensor> {
        let zero_image = ctx.images.narrow(0, 0, 1).zeros_like();
        match self.weights {
            ScoreWeights::Probability => {
                Ok(Tensor::zeros([ctx.images.size()[0]], (ctx.images.kind(), ctx.images.device())))
            }
            ScoreWeights::SoftmaxLogit => {
                let logits = ctx.model.forward(&zero_image, Mode::Eval);
                ctx.target.scores(&logits.expand([ctx.images.size()[0], -1], false))
            }
        }
    }
}

/// What the target is in probabilities `[B]`, of `posterior` `[B,K]`.
fn confidence(target: &Target, posterior: &Tensor) -> Result<Tensor> {
    match target {
        Target::Class(classes) | Target::LogProbability(classes) => entries(posterior, classes),
        Target::Difference { class, other } => {
            Ok(entries(posterior, class)? - entries(posterior, other)?)
        }
        Target::Scalar(_) => {
            let expected = "classes, whose probabilities weigh the channels; \
                            score-cam.weights = \"softmax-logit\" weighs by any scalar";
            Err(Error::invalid("target", "a scalar of the logits", expected))
        }
    }
}
