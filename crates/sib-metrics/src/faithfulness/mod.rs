//! Insertion and deletion: does the class probability follow the pixels that a heatmap ranks high?

mod curve;
mod mean_curve;
mod substrate;

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Error, Mode, Result};
use tch::{Kind, Tensor};

use crate::heatmap::{self, Heatmap};
use crate::outcome::{Exclusion, Outcome};
use crate::rank::descending_order;
pub use curve::Curve;
pub use mean_curve::MeanCurve;
pub use substrate::{Blur, Substrate};

/// The protocol of RISE (Petsiuk, Das & Saenko 2018, arXiv:1806.07421).
///
/// Pixels change in the order of decreasing heatmap, all channels together, ties by pixel index;
/// the score is the softmax probability of the class predicted on the clean image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// How many pixels change from one point of a curve to the next.
    pub step_px: usize,
    /// What insertion starts from.
    pub insertion: Substrate,
    /// What deletion ends with.
    pub deletion: Substrate,
    /// How many perturbed images go through the network at a time.
    pub batch: usize,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            step_px: 224,
            insertion: Substrate::Blur(Blur::Gaussian),
            deletion: Substrate::Zeros,
            batch: 64,
        }
    }
}

impl Protocol {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [("step_px", self.step_px), ("batch", self.batch)] {
            if value == 0 {
                return Err(Error::invalid(key, value, "at least 1"));
            }
        }
        Ok(())
    }
}

/// One heatmap's insertion and deletion curves.
#[derive(Debug, Clone, PartialEq)]
pub struct Faithfulness {
    /// The class whose probability the curves follow: the prediction on the clean image.
    pub class: i64,
    /// From the insertion substrate to the clean image; higher is better.
    pub insertion: Curve,
    /// From the clean image to the deletion substrate; lower is better.
    pub deletion: Curve,
}

/// Scores heatmaps by insertion and deletion: [`Perturber`] on a batch of one heatmap per image.
///
/// `images`: `[B,3,H,W]`, normalised; `heatmaps`: `[B,H,W]`. One outcome per image: a heatmap that
/// is flat or not finite has none.
///
/// # Errors
/// As [`Perturber`]'s functions.
pub fn faithfulness(
    model: &dyn Backbone,
    images: &Tensor,
    heatmaps: &Tensor,
    protocol: &Protocol,
) -> Result<Vec<Outcome<Faithfulness>>> {
    let [batch, _, height, width] = images.size()[..] else {
        return Err(Error::shape("images", images, "[B,3,H,W]"));
    };
    if heatmaps.size() != [batch, height, width] {
        return Err(Error::shape("heatmaps", heatmaps, format!("[{batch},{height},{width}]")));
    }
    let mut perturber = Perturber::new(model, protocol.clone())?;
    (0..batch)
        .map(|i| perturber.score(&perturber.subject(&images.get(i))?, &heatmaps.get(i)))
        .collect()
}

/// An image about to be perturbed, with all that its heatmaps share.
#[derive(Debug)]
pub struct Subject {
    image: Tensor,
    insertion_base: Tensor,
    deletion_base: Tensor,
    /// Index 0: clean, 1: insertion substrate, 2: deletion substrate.
    scores: [f64; 3],
    class: i64,
    temperature: f64,
}

impl Subject {
    /// The score of the clean image, which its insertion curves end with.
    pub fn clean(&self) -> f64 {
        self.scores[0]
    }
}

/// Runs a network on perturbed versions of one image at a time, so that the result for an image
/// depends on no other image; keeps the buffer that the versions are written to.
#[derive(Debug)]
pub struct Perturber<'m> {
    model: &'m dyn Backbone,
    protocol: Protocol,
    versions: Option<Tensor>,
}

/// A path from one picture to another along the ranking of the pixels: after `k` steps the
/// `k·step_px` highest pixels are those of `to`.
struct Path<'a> {
    from: &'a Tensor,
    to: &'a Tensor,
}

impl<'m> Perturber<'m> {
    /// A perturber of images for `model`, which is run in evaluation mode.
    ///
    /// # Errors
    /// As [`Protocol::validate`].
    pub fn new(model: &'m dyn Backbone, protocol: Protocol) -> Result<Self> {
        protocol.validate()?;
        Ok(Self { model, protocol, versions: None })
    }

    /// Predicts the class of a clean image and scores its substrates: one forward pass of three.
    ///
    /// `image`: `[3,H,W]`, normalised, on the network's device.
    ///
    /// # Errors
    /// The shape is not `[3,H,W]`, the network has one class, whose probability is always 1, or a
    /// logit is not finite.
    pub fn subject(&self, image: &Tensor) -> Result<Subject> {
        self.subject_at(image, 1.0)
    }

    /// The same where the score is the probability at a `temperature` T above 0, of `softmax(z/T)`.
    ///
    /// # Errors
    /// As [`Self::subject`]; for a temperature that is not above 0.
    pub fn subject_at(&self, image: &Tensor, temperature: f64) -> Result<Subject> {
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::invalid("temperature", temperature, "a number above 0"));
        }
        if !matches!(image.size()[..], [3, height, width] if height > 0 && width > 0) {
            return Err(Error::shape("image", image, "[3,H,W]"));
        }
        tch::no_grad(|| {
            let image = image.f_unsqueeze(0)?;
            let insertion_base = self.protocol.insertion.of(&image)?;
            let deletion_base = self.protocol.deletion.of(&image)?;
            let ends = Tensor::f_cat(&[&image, &insertion_base, &deletion_base], 0)?;
            let logits = self.model.forward(&ends, Mode::Eval);
            if logits.size()[1] < 2 {
                let expected = "at least 2: the probability of one class is 1 whatever the pixels";
                return Err(Error::invalid("classes", logits.size()[1], expected));
            }
            let posterior = posterior(&logits, temperature)?;
            let clean: Vec<f64> = posterior.get(0).try_into()?;
            // The first of equal ones, on every device.
            let class = (0..clean.len()).rev().max_by(|&i, &j| clean[i].total_cmp(&clean[j]));
            let class = class.unwrap_or(0) as i64;
            let scores: Vec<f64> = posterior.f_select(1, class)?.try_into()?;
            let scores = [scores[0], scores[1], scores[2]];
            expect_finite(&scores)?;
            Ok(Subject { image, insertion_base, deletion_base, scores, class, temperature })
        })
    }

    /// Follows the class probability along the ranking that `heatmap` gives.
    ///
    /// `heatmap`: `[H,W]`, any scale, higher is more relevant, read as f32. A curve has
    /// `ceil(H·W / step_px) + 1` points. A heatmap that is flat (it ranks nothing) or not finite has
    /// none.
    ///
    /// # Errors
    /// The shape is not that of the image, or a logit is not finite.
    pub fn score(&mut self, subject: &Subject, heatmap: &Tensor) -> Result<Outcome<Faithfulness>> {
        let size = &subject.image.size()[2..];
        if heatmap.size() != size {
            return Err(Error::shape("heatmap", heatmap, format!("{size:?}")));
        }
        let values = heatmap::to_f32(heatmap)?;
        match Heatmap::new(&values) {
            Err(exclusion) => return Ok(Err(exclusion)),
            Ok(heatmap) if heatmap.is_flat() => return Ok(Err(Exclusion::FlatHeatmap)),
            Ok(_) => {}
        }
        let ranks = ranks(&values, size)?.f_to_device(subject.image.device())?;
        let steps = values.len().div_ceil(self.protocol.step_px);
        let paths = [
            Path { from: &subject.insertion_base, to: &subject.image },
            Path { from: &subject.image, to: &subject.deletion_base },
        ];
        let scores = tch::no_grad(|| self.inner_scores(&paths, &ranks, steps, subject))?;
        let (inserted, deleted) = scores.split_at(steps - 1);
        let [clean, insertion_base, deletion_base] = subject.scores;
        let curve = |first, inner: &[f64], last| Curve::new([&[first], inner, &[last]].concat());
        Ok(Ok(Faithfulness {
            class: subject.class,
            insertion: curve(insertion_base, inserted, clean),
            deletion: curve(clean, deleted, deletion_base),
        }))
    }

    /// The scores after `1..steps` steps along each path, path by path; the chunks that go through
    /// the network run on from one path to the next.
    fn inner_scores(
        &mut self,
        paths: &[Path<'_>],
        ranks: &Tensor,
        steps: usize,
        &Subject { class, temperature, .. }: &Subject,
    ) -> Result<Vec<f64>> {
        if steps < 2 {
            return Ok(vec![]);
        }
        let device = ranks.device();
        let thresholds: Vec<i32> =
            (1..steps).map(|step| (step * self.protocol.step_px) as i32).collect();
        let inner = thresholds.len() as i64;
        let thresholds = Tensor::from_slice(&thresholds).view([-1, 1, 1, 1]).to_device(device);
        let total = inner * paths.len() as i64;
        let scores = Tensor::f_zeros([total], (Kind::Double, device))?;

        let versions = self.buffer(paths[0].from, total)?;
        let batch = versions.size()[0];
        let mut done = 0;
        while done < total {
            let count = batch.min(total - done);
            let mut filled = 0;
            while filled < count {
                let (path, first) = ((done + filled) / inner, (done + filled) % inner);
                let run = (count - filled).min(inner - first);
                let Path { from, to } = &paths[path as usize];
                let changed = ranks.f_lt_tensor(&thresholds.f_narrow(0, first, run)?)?;
                let part = versions.f_narrow(0, filled, run)?;
                let _ = to.f_where_self_out(&part, &changed, from)?;
                filled += run;
            }
            let logits = self.model.forward(&versions.f_narrow(0, 0, count)?, Mode::Eval);
            let posterior = posterior(&logits, temperature)?;
            scores.f_narrow(0, done, count)?.f_copy_(&posterior.f_select(1, class)?)?;
            done += count;
        }
        let scores: Vec<f64> = scores.try_into()?;
        expect_finite(&scores)?;
        Ok(scores)
    }

    /// A tensor of up to `protocol.batch` images like `image`, kept from call to call.
    fn buffer(&mut self, image: &Tensor, most: i64) -> Result<Tensor> {
        let mut size = image.size();
        size[0] = (self.protocol.batch as i64).min(most);
        let fits = |kept: &Tensor| {
            kept.size() == size && kept.kind() == image.kind() && kept.device() == image.device()
        };
        let kept = match self.versions.take().filter(fits) {
            Some(kept) => kept,
            None => Tensor::f_empty(&size, (image.kind(), image.device()))?,
        };
        Ok(self.versions.insert(kept).shallow_clone())
    }
}

/// Each pixel's place, from 0, in the order of decreasing value: `[1,1,H,W]`, i32.
fn ranks(values: &[f32], size: &[i64]) -> Result<Tensor> {
    let mut ranks = vec![0i32; values.len()];
    for (&pixel, rank) in descending_order(values).iter().zip(0..) {
        ranks[pixel as usize] = rank;
    }
    Ok(Tensor::from_slice(&ranks).f_view([1, 1, size[0], size[1]])?)
}

/// Softmax over classes in at least f32.
fn posterior(logits: &Tensor, temperature: f64) -> Result<Tensor> {
    let kind = if logits.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    if temperature == 1.0 {
        return Ok(logits.f_softmax(-1, kind)?);
    }
    Ok((logits.f_to_kind(kind)? / temperature).f_softmax(-1, kind)?)
}

fn expect_finite(scores: &[f64]) -> Result<()> {
    if scores.iter().all(|score| score.is_finite()) {
        return Ok(());
    }
    Err(Error::NonFinite { what: "the class probability of a perturbed image".to_owned() })
}

#[cfg(test)]
mod tests;
