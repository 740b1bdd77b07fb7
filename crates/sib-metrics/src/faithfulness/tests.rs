use proptest::prelude::*;
use sib_core::Probe;
use sib_core::testing::{formula_tensor, test_device};
use tch::Device;

use super::*;

/// Logits `[mean of the channels 0, of the channels 1, of the channels 2] · gain`.
#[derive(Debug)]
struct ChannelMeans {
    gain: f64,
}

impl Backbone for ChannelMeans {
    fn forward_probed(&self, images: &Tensor, mode: Mode, _: &mut dyn Probe) -> Tensor {
        assert_eq!(mode, Mode::Eval);
        images.mean_dim([2i64, 3].as_slice(), false, None) * self.gain
    }
}

fn protocol(step_px: usize, batch: usize) -> Protocol {
    Protocol { step_px, batch, insertion: Substrate::Mean, deletion: Substrate::Zeros }
}

#[test]
fn deletion_of_a_red_square_by_hand() {
    // Four red pixels of sixteen, ranked first: p(red) falls from e^a/(e^a+2) to 1/3 in four steps.
    let device = test_device();
    let images = Tensor::zeros([1, 3, 4, 4], (Kind::Double, device));
    let _ = images.narrow(1, 0, 1).narrow(2, 1, 2).narrow(3, 1, 2).fill_(4.0);
    let heatmaps = images.sum_dim_intlist([1i64].as_slice(), false, None);
    let model = ChannelMeans { gain: 2.0 };
    let protocol = Protocol { insertion: Substrate::Zeros, ..protocol(1, 5) };
    let result = faithfulness(&model, &images, &heatmaps, &protocol).unwrap().remove(0).unwrap();
    assert_eq!(result.class, 0);
    let red =
        |pixels: i32| (f64::from(pixels) / 2.0).exp() / ((f64::from(pixels) / 2.0).exp() + 2.0);
    for step in 0..17 {
        let left = (4 - step).max(0);
        assert!((result.deletion.points()[step as usize] - red(left)).abs() < 1e-12);
        assert!((result.insertion.points()[step as usize] - red(4 - left)).abs() < 1e-12);
    }
    let auc = (red(4) / 2.0 + red(3) + red(2) + red(1) + 12.5 * red(0)) / 16.0;
    assert!((result.deletion.auc() - auc).abs() < 1e-12);
}

#[test]
fn maps_that_rank_nothing_say_so_and_wrong_settings_are_refused() {
    let model = ChannelMeans { gain: 1.0 };
    let images = formula_tensor("images", &[2, 3, 4, 4]);
    let heatmaps = Tensor::full([2, 4, 4], 0.5, (Kind::Float, Device::Cpu));
    let _ = heatmaps.get(1).get(0).fill_(f64::NAN);
    let outcomes = faithfulness(&model, &images, &heatmaps, &protocol(3, 4)).unwrap();
    assert_eq!(outcomes, [Err(Exclusion::FlatHeatmap), Err(Exclusion::NonFiniteHeatmap)]);

    let refuse = |step, batch| faithfulness(&model, &images, &heatmaps, &protocol(step, batch));
    assert!(matches!(refuse(0, 1), Err(Error::Invalid { .. })));
    assert!(matches!(refuse(1, 0), Err(Error::Invalid { .. })));
    let transposed = faithfulness(&model, &images, &heatmaps.view([2, 2, 8]), &protocol(1, 1));
    assert!(matches!(transposed, Err(Error::Shape { .. })));
    let diverged = faithfulness(&model, &(&images * f64::NAN), &heatmaps, &protocol(1, 1));
    assert!(matches!(diverged, Err(Error::NonFinite { .. })));
}

#[test]
fn one_step_leaves_the_ends_alone() {
    let model = ChannelMeans { gain: 3.0 };
    let images = formula_tensor("images", &[1, 3, 4, 4]);
    let heatmaps = formula_tensor("heatmaps", &[1, 4, 4]);
    let result = faithfulness(&model, &images, &heatmaps, &protocol(16, 8)).unwrap().remove(0);
    let deletion = result.unwrap().deletion;
    assert_eq!(deletion.points().len(), 2);
    assert!((deletion.points()[1] - 1.0 / 3.0).abs() < 1e-15);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn insertion_by_the_reversed_ranking_is_deletion_backwards(
        name in "[a-z]{6}",
        step_px in prop::sample::select(vec![1usize, 2, 3, 5, 6, 10, 15, 30]),
        substrate in prop::sample::select(vec!["zeros", "mean", "blur(rise)", "noise(3)"]),
    ) {
        let model = ChannelMeans { gain: 20.0 };
        let images = formula_tensor(&name, &[1, 3, 5, 6]).to_device(test_device());
        // Distinct values: a reversed ranking has no ties to break the other way.
        let heatmaps = formula_tensor(&format!("{name}.heatmap"), &[1, 5, 6]);
        let substrate: Substrate = substrate.parse().unwrap();
        let protocol = Protocol { step_px, batch: 7, insertion: substrate, deletion: substrate };
        let score = |heatmaps: &Tensor| {
            faithfulness(&model, &images, heatmaps, &protocol).unwrap().remove(0).unwrap()
        };
        let (forwards, backwards) = (score(&heatmaps), score(&-&heatmaps));
        // f64 means over 30 pixels, in batches of another size.
        let mirrored = forwards.deletion.points().iter().rev();
        for (a, b) in backwards.insertion.points().iter().zip(mirrored) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        prop_assert!((backwards.insertion.auc() - forwards.deletion.auc()).abs() < 1e-12);
    }

    #[test]
    fn the_batch_size_changes_nothing(batch in 1usize..40, step_px in 1usize..33) {
        let model = ChannelMeans { gain: 20.0 };
        let images = formula_tensor("images", &[2, 3, 5, 6]);
        let heatmaps = (formula_tensor("heatmaps", &[2, 5, 6]) * 3.0).round();
        let run = |batch| {
            faithfulness(&model, &images, &heatmaps, &protocol(step_px, batch)).unwrap()
        };
        for (a, b) in run(batch).into_iter().zip(run(1)) {
            let (a, b) = (a.unwrap(), b.unwrap());
            prop_assert_eq!(a.deletion.points().len(), 30usize.div_ceil(step_px) + 1);
            let pairs = |c: &Curve, d: &Curve| {
                c.points().iter().zip(d.points()).all(|(x, y)| (x - y).abs() < 1e-12)
            };
            prop_assert!(pairs(&a.insertion, &b.insertion) && pairs(&a.deletion, &b.deletion));
        }
    }
}
