//! The metrics against scikit-learn, SciPy, scikit-image, OpenCV and plain renderings of the
//! protocols, by the golden files of `scripts/golden/metrics.py`.

use std::collections::HashMap;

use sib_core::data::BBox;
use sib_core::testing::{fill_by_formula, golden_path, test_device};
use sib_core::{Backbone, Mode, Probe};
use sib_metrics::faithfulness::{Blur, Protocol, Substrate, faithfulness};
use sib_metrics::localization::max_box_acc::{Contours, MaxBoxAcc, box_hits};
use sib_metrics::localization::{Confusion, Cut, localize};
use sib_metrics::{PairedTest, Threshold, rank};
use tch::{Kind, Tensor, nn, nn::Module};

fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = golden_path(name);
    Tensor::read_safetensors(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into_iter()
        .collect()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten(0, -1).try_into().unwrap()
}

#[track_caller]
fn assert_close(ours: impl IntoIterator<Item = f64>, theirs: &Tensor, tolerance: f64) {
    let (ours, theirs): (Vec<f64>, _) = (ours.into_iter().collect(), values(theirs));
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() <= tolerance, "{a} against {b}, difference {:e}", (a - b).abs());
    }
}

#[test]
fn average_precision_equals_scikit_learn_s_and_spearman_scipy_s() {
    let file = golden("metrics_localization.safetensors");
    let heatmaps = file["heatmaps"].to_device(test_device());
    let cut = Cut::Threshold(Threshold::default());
    let results = localize(&heatmaps, &file["truth"], cut, 0.0).unwrap();
    // Sums of up to 672 f64 terms below 1, in one order or another.
    let average_precision = results.iter().map(|result| result.unwrap().average_precision);
    assert_close(average_precision, &file["average_precision"], 1e-12);

    let correlations = rank::spearman(&heatmaps, &heatmaps.roll([1], [0])).unwrap();
    assert_close(correlations.into_iter().map(Result::unwrap), &file["spearman"], 1e-12);
}

#[test]
fn thresholds_and_iou_equal_scikit_learn_s_and_scikit_image_s() {
    let file = golden("metrics_localization.safetensors");
    for (name, rule) in
        [("fixed", Threshold::Fixed(0.5)), ("mean", Threshold::Mean), ("otsu", Threshold::Otsu)]
    {
        let cut = Cut::Threshold(rule);
        let results = localize(&file["heatmaps"], &file["truth"], cut, 0.0).unwrap();
        let counts: Vec<Confusion> = results.iter().map(|r| r.unwrap().confusion).collect();
        // Ratios of the same integers.
        let accuracy = counts.iter().map(|c| c.pixel_accuracy().unwrap());
        assert_close(accuracy, &file[&format!("{name}.pixel_accuracy")], 1e-15);
        let ious = |c: &Confusion| [c.background_iou().unwrap(), c.foreground_iou().unwrap()];
        assert_close(counts.iter().flat_map(ious), &file[&format!("{name}.iou")], 1e-15);
        let pooled: Confusion = counts.into_iter().sum();
        assert_close(ious(&pooled), &file[&format!("{name}.pooled_iou")], 1e-15);
    }
}

#[test]
fn max_box_acc_equals_the_definition_of_wsolevaluation() {
    let file = golden("metrics_max_box_acc.safetensors");
    let (heatmaps, hits) = (file["heatmaps"].to_device(test_device()), &file["hits"]);
    let padded: Vec<Vec<f32>> = (&file["boxes"].view([-1, 4])).try_into().unwrap();
    let boxes: Vec<Vec<BBox>> = padded
        .chunks(3)
        .map(|boxes| {
            let real = boxes.iter().filter(|b| b[0] >= 0.0);
            real.map(|b| BBox::new(b[0], b[1], b[2], b[3])).collect()
        })
        .collect();
    for (rule, contours) in (0..).zip([Contours::Largest, Contours::All]) {
        let outcomes = box_hits(&heatmaps, &boxes, contours).unwrap();
        let mut accuracy = MaxBoxAcc::default();
        for (image, outcome) in (0..).zip(outcomes) {
            let found = outcome.unwrap();
            accuracy.push(&found);
            for (pct, set) in (0..).zip(found.0) {
                let packed: Vec<u8> = hits.get(rule).get(image).get(pct).try_into().unwrap();
                for i in 0..1000 {
                    let expected = packed[i / 8] >> (7 - i % 8) & 1 == 1;
                    // The reference's threshold i/1000, cut to a grey level as it does.
                    let level = (i as f64 * 0.001 * 255.0) as usize;
                    assert_eq!(set.contains(level), expected, "{contours:?} {image} {pct} {i}");
                }
            }
        }
        assert_close(accuracy.accuracy().unwrap(), &file["accuracy"].get(rule), 1e-15);
    }
}

#[test]
fn max_box_acc_on_annotated_birds_equals_the_definition_of_wsolevaluation() {
    let file = golden("metrics_max_box_acc_cub.safetensors");
    let coarse = file["coarse"].to_device(test_device()).to_kind(Kind::Float);
    // Weights are multiples of 1/8 and values whole: exact, whatever the order of the sums.
    let heatmaps =
        coarse.unsqueeze(1).upsample_bilinear2d([64, 64], false, None, None).squeeze_dim(1);
    let (sizes, annotated) = (rows(&file["sizes"], 2), rows(&file["boxes"], 4));
    let boxes: Vec<Vec<BBox>> = sizes
        .iter()
        .zip(&annotated)
        .map(|(size, b)| {
            let bbox = BBox::new(b[0], b[1], b[2], b[3]);
            vec![bbox.scaled(64.0 / size[0], 64.0 / size[1])]
        })
        .collect();
    for (rule, contours) in (0..).zip([Contours::Largest, Contours::All]) {
        let mut accuracy = MaxBoxAcc::default();
        let outcomes = box_hits(&heatmaps, &boxes, contours).unwrap();
        for (image, outcome) in (0..).zip(outcomes) {
            let found = outcome.unwrap();
            accuracy.push(&found);
            for (pct, set) in (0..).zip(found.0) {
                let packed = file["hits"].get(rule).get(image).get(pct);
                let packed: Vec<u8> = packed.try_into().unwrap();
                for level in 0..255 {
                    let expected = packed[level / 8] >> (7 - level % 8) & 1 == 1;
                    assert_eq!(set.contains(level), expected, "{contours:?} {image} {pct} {level}");
                }
            }
        }
        let ours = accuracy.accuracy().unwrap();
        println!("{contours:?}: {ours:?}");
        assert_close(ours, &file["accuracy"].get(rule), 1e-15);
    }
}

fn rows(table: &Tensor, columns: usize) -> Vec<Vec<f32>> {
    let values: Vec<f32> = table.to_kind(Kind::Float).flatten(0, -1).try_into().unwrap();
    values.chunks(columns).map(<[f32]>::to_vec).collect()
}

#[test]
fn paired_tests_equal_scipy_s() {
    let file = golden("metrics_paired.safetensors");
    for n in [3, 4, 30, 1200] {
        let test = PairedTest::of(values(&file[&format!("{n}.differences")])).unwrap();
        assert_eq!(test.n, n);
        let p_value = file[&format!("{n}.p_value")].double_value(&[]);
        // Relative, as p-values are read: ln Γ(600) is a sum of 600 logarithms.
        assert!((test.p_value / p_value - 1.0).abs() < 1e-10, "{n}: {} {p_value}", test.p_value);
    }
}

/// The net of the golden file, with the keys of PyTorch's `Sequential`.
#[derive(Debug)]
struct SmallNet {
    first: nn::Conv2D,
    second: nn::Conv2D,
    head: nn::Linear,
}

impl SmallNet {
    fn new(vs: &nn::VarStore) -> Self {
        let root = vs.root();
        let config = |stride| nn::ConvConfig { padding: 1, stride, ..Default::default() };
        let net = Self {
            first: nn::conv2d(&root / "0", 3, 8, 3, config(1)),
            second: nn::conv2d(&root / "2", 8, 16, 3, config(2)),
            head: nn::linear(&root / "6", 16, 10, Default::default()),
        };
        fill_by_formula(vs);
        let _ = tch::no_grad(|| net.head.ws.shallow_clone().g_mul_scalar_(30.0));
        net
    }
}

impl Backbone for SmallNet {
    fn forward_probed(&self, images: &Tensor, _: Mode, probe: &mut dyn Probe) -> Tensor {
        let x = probe.relu(&self.first.forward(images));
        let x = probe.relu(&self.second.forward(&x));
        self.head.forward(&x.mean_dim([2i64, 3].as_slice(), false, None))
    }
}

#[test]
fn insertion_and_deletion_equal_a_plain_rendering_of_rise() {
    let file = golden("metrics_faithfulness.safetensors");
    let vs = nn::VarStore::new(test_device());
    let net = SmallNet::new(&vs);
    let images = file["images"].to_device(test_device());
    for (step_px, batch) in [(7, 32), (48, 5)] {
        for (name, kernel) in [("gaussian", Blur::Gaussian), ("rise", Blur::Rise)] {
            let insertion = Substrate::Blur(kernel);
            let protocol = Protocol { step_px, insertion, deletion: Substrate::Zeros, batch };
            let results: Vec<_> = faithfulness(&net, &images, &file["heatmaps"], &protocol)
                .unwrap()
                .into_iter()
                .map(Result::unwrap)
                .collect();
            assert_close(results.iter().map(|r| r.class as f64), &file["class"], 0.0);
            // f32 logits of order 10 on both sides, convolutions in batches of another size.
            let key = format!("insertion.{name}.{step_px}");
            let points = results.iter().flat_map(|r| r.insertion.points().to_vec());
            assert_close(points, &file[&format!("{key}.points")], 1e-5);
            let areas = results.iter().map(|r| r.insertion.auc());
            assert_close(areas, &file[&format!("{key}.auc")], 2e-6);

            let key = format!("deletion.{step_px}");
            let points = results.iter().flat_map(|r| r.deletion.points().to_vec());
            assert_close(points, &file[&format!("{key}.points")], 1e-5);
            let areas = results.iter().map(|r| r.deletion.auc());
            assert_close(areas, &file[&format!("{key}.auc")], 2e-6);
        }
    }
}
