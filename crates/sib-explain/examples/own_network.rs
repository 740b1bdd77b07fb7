//! A network of one's own, trained with S-IB on images in memory, explained, and its maps scored.

use image::{GrayImage, Luma, Rgb, RgbImage};
use sib_core::data::{
    Batch, Dataset, GroundTruth, Loader, LoaderOptions, MaskSource, Record, Split, Transform,
};
use sib_core::objective::SibConfig;
use sib_core::train::{Fit, FitConfig, OptimizerConfig, UpdateConfig};
use sib_core::{Backbone, Mode, Probe, Result};
use sib_explain::{Method, MethodOptions, Target};
use sib_metrics::localization::{Cut, localize};
use sib_metrics::{Summary, Threshold};
use tch::{Device, Kind, Tensor, nn};

// quote: backbone
/// Three convolutions and a linear layer on the mean of the last map.
#[derive(Debug)]
struct SmallNet {
    convolutions: [nn::Conv2D; 3],
    head: nn::Linear,
}

impl SmallNet {
    fn new(path: &nn::Path, classes: i64) -> Self {
        let convolutions = [("a", 3, 16, 1), ("b", 16, 32, 2), ("c", 32, 32, 1)].map(
            |(name, from, to, stride)| {
                let config = nn::ConvConfig { stride, padding: 1, ..nn::ConvConfig::default() };
                nn::conv2d(path / name, from, to, 3, config)
            },
        );
        let head = nn::linear(path / "head", 32, classes, nn::LinearConfig::default());
        Self { convolutions, head }
    }
}

impl Backbone for SmallNet {
    fn forward_probed(&self, images: &Tensor, _: Mode, probe: &mut dyn Probe) -> Tensor {
        let mut x = images.shallow_clone();
        for convolution in &self.convolutions {
            x = probe.relu(&x.apply(convolution)); // guided backpropagation replaces it
        }
        let x = probe.tap("features", x); // class-activation maps read it: [B,32,h,w]
        x.mean_dim([2, 3].as_slice(), false, None::<Kind>).apply(&self.head)
    }

    fn cam_layer(&self) -> Option<&str> {
        Some("features")
    }
}
// end

// quote: images
/// Bright discs and squares on dark, grainy ground, with their masks.
fn shapes(split: Split, count: usize) -> Result<Dataset> {
    let record = |index: usize| {
        let number = index as u32 + if split == Split::Train { 0 } else { 1000 };
        let (left, top) = (8 + number * 5 % 16, 8 + number * 11 % 16);
        let label = index % 2;
        let inside = |x: u32, y: u32| match (x.abs_diff(left), y.abs_diff(top)) {
            (dx, dy) if label == 0 => dx * dx + dy * dy <= 36,
            (dx, dy) => dx.max(dy) <= 5,
        };
        let image = RgbImage::from_fn(32, 32, |x, y| {
            let noise = (x * 37 + y * 101 + number * 53).wrapping_mul(2_654_435_761);
            let grain = (noise >> 26) as u8;
            Rgb([if inside(x, y) { 190 + grain } else { grain }; 3])
        });
        let mask = GrayImage::from_fn(32, 32, |x, y| Luma([u8::from(inside(x, y))]));
        let id = format!("{split}/{index}");
        Record::in_memory(&id, label, image).with_mask(MaskSource::in_memory(id, mask))
    };
    let classes = ["disc", "square"].map(str::to_owned).to_vec();
    Dataset::new("shapes", split, classes, (0..count).map(record).collect())
}

/// Batches of 16, each with its masks.
fn loader(dataset: Dataset, shuffle: bool) -> Result<Loader> {
    let transform = Transform::evaluation(32, 32, [0.5; 3], [0.25; 3])?;
    let ground_truth = Some(GroundTruth::Mask);
    let options =
        LoaderOptions { batch_size: 16, shuffle, ground_truth, ..LoaderOptions::default() };
    Loader::new(dataset, transform, options)
}
// end

// quote: train
/// Trains `net`, whose variables are in `variables`, with both terms of S-IB.
fn train(net: &dyn Backbone, variables: &nn::VarStore, images: &Loader) -> Result<()> {
    let variables = variables.variables().into_iter().collect();
    let optimizer = OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() };
    let update = UpdateConfig { optimizer, ..UpdateConfig::default() };
    let config = FitConfig { epochs: 8, update, ..FitConfig::default() };
    // Nothing is evaluated on the way, and nobody looks on.
    Fit::new(net, variables, images, config, Some(SibConfig::default()))?.run(&mut (), &mut ())?;
    Ok(())
}
// end

// quote: explain
/// Heatmaps `[B,H,W]` of normalised `images` `[B,3,H,W]`: why each is of its class in `labels` `[B]` rather
/// than of the other.
fn explain(net: &dyn Backbone, images: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let explainer = Method::GradCam.build(&MethodOptions::default())?;
    explainer.explain(net, images, &Target::difference(labels, &(1 - labels)))
}
// end

// quote: score
/// Average precision and pixel accuracy of heatmaps `[B,H,W]` against masks `[B,H,W]`, over all images that
/// have a mask.
fn score(heatmaps: &Tensor, masks: &Tensor) -> Result<[Summary; 2]> {
    let outcomes = localize(heatmaps, masks, Cut::Threshold(Threshold::Fixed(0.5)), 0.0)?;
    let scored = || outcomes.iter().flatten();
    let precision = scored().map(|image| image.average_precision).collect();
    let accuracy = scored().filter_map(|image| image.confusion.pixel_accuracy()).collect();
    Ok([precision, accuracy])
}
// end

pub(crate) fn main() -> Result<()> {
    tch::manual_seed(43);
    let variables = nn::VarStore::new(Device::Cpu);
    let net = SmallNet::new(&variables.root(), 2);
    train(&net, &variables, &loader(shapes(Split::Train, 128)?, true)?)?;

    let (mut right, mut precision, mut accuracy) = (0, Summary::new(), Summary::new());
    for batch in loader(shapes(Split::Test, 64)?, false)?.epoch(0, 0) {
        let Batch { images, labels, ground_truth, .. } = batch?;
        let predicted = tch::no_grad(|| net.forward(&images, Mode::Eval).argmax(1, false));
        right += predicted.eq_tensor(&labels).sum(Kind::Int64).int64_value(&[]);
        let masks = ground_truth.expect("the loader was asked for it");
        let scores = score(&explain(&net, &images, &labels)?, &masks)?;
        precision.merge(&scores[0]);
        accuracy.merge(&scores[1]);
    }
    let pct = |summary: &Summary| 100.0 * summary.mean().unwrap_or_default();
    println!(
        "{right} of 64 right; maps: average precision {:.1} %, pixel accuracy {:.1} %",
        pct(&precision),
        pct(&accuracy)
    );
    assert!(right >= 60 && precision.n() == 64);
    Ok(())
}
