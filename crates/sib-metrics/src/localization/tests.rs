use proptest::prelude::*;
use sib_core::data::BBox;
use sib_core::testing::{formula_tensor, test_device};
use tch::{Device, Kind};

use super::max_box_acc::{BoxHits, Contours, IOU_PCT, LevelSet, MaxBoxAcc, box_hits};
use super::*;

const HALF: Cut<'static> = Cut::Threshold(Threshold::Fixed(0.5));

fn one(heatmap: &[f32], truth: &[bool], width: i64, cut: Cut<'_>) -> Outcome<Localization> {
    let shape = [1, -1, width];
    let (heatmap, truth) = (Tensor::from_slice(heatmap), Tensor::from_slice(truth));
    localize(&heatmap.view(shape), &truth.view(shape), cut, 0.0).unwrap()[0]
}

#[test]
fn by_hand() {
    let heatmap = [0.0, 1.0, 4.0, 3.0, -2.0, 2.0];
    let truth = [false, true, false, true, false, false];
    let result = one(&heatmap, &truth, 3, HALF).unwrap();
    // Normalised above 0.5: 4, 3 and 2.
    let confusion =
        Confusion { true_positive: 1, false_positive: 2, false_negative: 1, true_negative: 2 };
    assert_eq!(result.confusion, confusion);
    assert_eq!(confusion.pixel_accuracy(), Some(0.5));
    assert_eq!((confusion.foreground_iou(), confusion.background_iou()), (Some(0.25), Some(0.4)));
    assert_eq!(confusion.mean_iou(), Some(0.325));
    assert_eq!((result.foreground_frac, confusion.foreground_frac()), (2.0 / 6.0, Some(2.0 / 6.0)));
    // Ranked 4, 3*, 2, 1*: precisions 1/2 and 2/4.
    assert_eq!(result.average_precision, 0.5);
    assert_eq!((result.pointing_hit, result.energy_inside_frac), (Some(false), Some(0.4)));
}

#[test]
fn tied_pixels_enter_average_precision_together() {
    // Ranked {3, 3*}, {1, 1*, 1}: 1/2·1/2 + 1/2·2/5, whatever the order within a tie.
    for truth in [[false, true, false, true, false], [true, false, false, false, true]] {
        let result = one(&[3.0, 3.0, 1.0, 1.0, 1.0], &truth, 5, HALF).unwrap();
        assert!((result.average_precision - 0.45).abs() < 1e-15);
    }
}

#[test]
fn the_pointing_game_s_tolerance_is_a_radius() {
    let (mut heatmap, mut truth) = ([0.0; 49], [false; 49]);
    heatmap[8] = 1.0; // row 1, column 1
    truth[5 * 7 + 4] = true; // row 5, column 4: 5 px away
    let (heatmap, truth) = (Tensor::from_slice(&heatmap), Tensor::from_slice(&truth));
    for (tolerance_px, hit) in [(0.0, false), (4.9, false), (5.0, true)] {
        let shape = [1, 7, 7];
        let result = localize(&heatmap.view(shape), &truth.view(shape), HALF, tolerance_px);
        assert_eq!(result.unwrap()[0].unwrap().pointing_hit, Some(hit), "{tolerance_px}");
    }
}

#[test]
fn predicted_masks_take_the_place_of_the_threshold() {
    let device = test_device();
    let heatmaps = formula_tensor("heatmaps", &[3, 6, 5]).to_device(device);
    let truth = formula_tensor("truth", &[3, 6, 5]).to_device(device).gt(0.0);
    let masks = formula_tensor("masks", &[3, 6, 5]).to_device(device).gt(0.2);
    let results = localize(&heatmaps, &truth, Cut::Masks(&masks), 0.0).unwrap();
    for (i, result) in results.iter().enumerate() {
        let (mask, truth) = (masks.get(i as i64), truth.get(i as i64));
        let both = mask.logical_and(&truth).sum(Kind::Int64).int64_value(&[]);
        let either = mask.logical_or(&truth).sum(Kind::Int64).int64_value(&[]);
        let iou = result.unwrap().confusion.foreground_iou();
        assert_eq!(iou, Some(both as f64 / either as f64));
    }
}

#[test]
fn images_without_a_value_say_why() {
    let truth = [true, false, false, true];
    let nan = one(&[0.0, f32::NAN, 1.0, 2.0], &truth, 2, HALF);
    assert_eq!(nan, Err(Exclusion::NonFiniteHeatmap));
    let infinite = one(&[0.0, f32::INFINITY, 1.0, 2.0], &truth, 2, HALF);
    assert_eq!(infinite, Err(Exclusion::NonFiniteHeatmap));
    let empty = one(&[0.0, 3.0, 1.0, 2.0], &[false; 4], 2, HALF);
    assert_eq!(empty, Err(Exclusion::EmptyGroundTruth));
}

#[test]
fn a_flat_map_predicts_background_everywhere() {
    let truth = [true, false, false, true, true];
    for value in [0.0, 0.3] {
        for rule in [Threshold::Fixed(0.5), Threshold::Mean, Threshold::Otsu, Threshold::Top(0.4)] {
            let result = one(&[value; 5], &truth, 5, Cut::Threshold(rule)).unwrap();
            assert!(result.flat);
            assert_eq!(result.average_precision, result.foreground_frac);
            assert_eq!(result.pointing_hit, None);
            assert_eq!(result.energy_inside_frac, (value > 0.0).then_some(0.6));
            let confusion = result.confusion;
            assert_eq!(confusion.mean_iou(), confusion.pixel_accuracy().map(|acc| acc / 2.0));
        }
    }
}

#[test]
fn an_object_that_fills_the_image_leaves_only_its_own_iou() {
    let result = one(&[1.0, 2.0, 3.0], &[true; 3], 3, Cut::Threshold(Threshold::Fixed(0.0)));
    let confusion = result.unwrap().confusion;
    assert_eq!((confusion.background_iou(), confusion.mean_iou()), (Some(0.0), Some(1.0 / 3.0)));
    let all = Tensor::ones([1, 1, 3], (Kind::Bool, Device::Cpu));
    let ramp = Tensor::from_slice(&[1.0f32, 2.0, 3.0]).view([1, 1, 3]);
    let confusion = localize(&ramp, &all, Cut::Masks(&all), 0.0).unwrap()[0].unwrap().confusion;
    assert_eq!((confusion.background_iou(), confusion.mean_iou()), (None, Some(1.0)));
}

#[test]
fn shapes_are_checked() {
    let maps = Tensor::zeros([2, 4, 4], (Kind::Float, Device::Cpu));
    let wrong = Tensor::zeros([2, 4, 5], (Kind::Bool, Device::Cpu));
    assert!(matches!(localize(&maps, &wrong, HALF, 0.0), Err(Error::Shape { .. })));
    let masks = Cut::Masks(&wrong);
    assert!(matches!(localize(&maps, &maps, masks, 0.0), Err(Error::Shape { .. })));
    assert!(matches!(localize(&maps.get(0), &maps, HALF, 0.0), Err(Error::Shape { .. })));
    assert!(box_hits(&maps, &[vec![]], Contours::Largest).is_err());
}

#[test]
fn a_drawn_box_is_found_at_the_levels_below_it() {
    // Columns 3..=8 and rows 2..=6 at half height; both boxes end at column 9 and row 7, included.
    let map = Tensor::zeros([1, 12, 16], (Kind::Float, test_device()));
    let _ = map.narrow(1, 2, 5).narrow(2, 3, 6).fill_(0.5);
    let _ = map.narrow(1, 4, 1).narrow(2, 5, 1).fill_(1.0);
    let boxes = [vec![BBox::new(3.0, 2.0, 9.0, 7.0)]];
    let hits = box_hits(&map, &boxes, Contours::Largest).unwrap()[0].unwrap();
    for level in 0..255 {
        // 0.5·255 = 127.5 is level 127, and above levels up to 126.
        let expected = level < 127;
        assert_eq!(hits.0.map(|set| set.contains(level)), [expected, expected, expected]);
    }
    let mut accuracy = MaxBoxAcc::default();
    accuracy.push(&hits);
    accuracy.push(&BoxHits::default());
    assert_eq!(accuracy.accuracy(), Some([0.5; 3]));
}

#[test]
fn both_boxes_count_the_pixel_at_their_ends() {
    let hits = |rows: [i64; 2], columns: [i64; 2], object: BBox| {
        let map = Tensor::zeros([1, 10, 10], (Kind::Float, test_device()));
        let _ = map.narrow(1, rows[0], rows[1]).narrow(2, columns[0], columns[1]).fill_(1.0);
        let found = box_hits(&map, &[vec![object]], Contours::Largest).unwrap()[0].unwrap();
        found.0.map(|set| set.contains(0))
    };
    let all = [true; 3];
    // The box around the very pixels: 3 × 3 on both sides. A box without its ends: 4/9.
    assert_eq!(hits([2, 2], [3, 2], BBox::new(3.0, 2.0, 5.0, 4.0)), all);
    // At the border the image has no further pixel, for neither.
    assert_eq!(hits([8, 2], [9, 1], BBox::new(9.0, 8.0, 10.0, 10.0)), all);
    // Corners are cut to whole pixels, but for what f32 takes from one: 4.9999 is 5, 4.99 is 4.
    assert_eq!(hits([2, 1], [3, 2], BBox::new(3.7, 2.2, 4.9999, 3.0)), all);
    assert_eq!(hits([2, 1], [3, 2], BBox::new(3.7, 2.2, 4.99, 3.0)), [true, true, false]);
}

#[test]
fn boxes_without_a_value_say_why() {
    let maps = Tensor::from_slice(&[0.0f32, 1.0, f32::NAN, 1.0, 0.2, 0.2, 0.0, 1.0]);
    let object = vec![BBox::new(0.0, 0.0, 2.0, 1.0)];
    let boxes = [object.clone(), object.clone(), object, vec![]];
    let outcomes = box_hits(&maps.view([4, 1, 2]), &boxes, Contours::Largest).unwrap();
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1], Err(Exclusion::NonFiniteHeatmap));
    assert_eq!(outcomes[2], Ok(BoxHits::default()));
    assert_eq!(outcomes[3], Err(Exclusion::EmptyGroundTruth));
}

/// Few distinct values, so that ties are the rule.
fn pixels() -> impl Strategy<Value = Vec<(f32, bool)>> {
    prop::collection::vec(((-6i8..6).prop_map(f32::from), any::<bool>()), 2..60)
}

proptest! {
    #[test]
    fn rankings_ignore_increasing_maps(pixels in pixels()) {
        let (values, mut truth): (Vec<f32>, Vec<bool>) = pixels.into_iter().unzip();
        truth[0] = true;
        let width = values.len() as i64;
        let plain = one(&values, &truth, width, HALF).unwrap();
        // Exact and strictly increasing on these values.
        let bent: Vec<f32> = values.iter().map(|v| v * v * v + 3.0 * v - 100.0).collect();
        let bent = one(&bent, &truth, width, HALF).unwrap();
        prop_assert_eq!(bent.average_precision, plain.average_precision);
        prop_assert_eq!(bent.pointing_hit, plain.pointing_hit);
        let top = Cut::Threshold(Threshold::Top(0.3));
        prop_assert_eq!(
            one(&values, &truth, width, top).unwrap().confusion,
            one(&values.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), &truth, width, top)
                .unwrap()
                .confusion
        );
    }

    #[test]
    fn thresholds_ignore_scale_and_offset(pixels in pixels(), power in -3i32..4, offset in -8i8..8) {
        let (values, mut truth): (Vec<f32>, Vec<bool>) = pixels.into_iter().unzip();
        truth[0] = true;
        let width = values.len() as i64;
        // Powers of two and small integers: exact, so that no pixel crosses a cut by rounding.
        let scaled: Vec<f32> =
            values.iter().map(|v| v * 2f32.powi(power) + f32::from(offset)).collect();
        for rule in [Threshold::Fixed(0.5), Threshold::Mean, Threshold::Otsu, Threshold::Top(0.2)] {
            let cut = Cut::Threshold(rule);
            prop_assert_eq!(
                one(&values, &truth, width, cut).unwrap().confusion,
                one(&scaled, &truth, width, cut).unwrap().confusion
            );
        }
    }

    #[test]
    fn pooled_counts_are_associative(counts in prop::collection::vec(prop::array::uniform4(0u64..1000), 0..9)) {
        let counts: Vec<Confusion> = counts
            .into_iter()
            .map(|[true_positive, false_positive, false_negative, true_negative]| Confusion {
                true_positive, false_positive, false_negative, true_negative,
            })
            .collect();
        let left: Confusion = counts.iter().copied().sum();
        let right = counts.iter().rev().fold(Confusion::default(), |sum, &count| count + sum);
        prop_assert_eq!(left, right);
        prop_assert_eq!(left.total(), counts.iter().map(Confusion::total).sum::<u64>());
    }

    #[test]
    fn found_boxes_merge_as_they_stream(bits in prop::collection::vec(any::<[u64; 4]>(), 0..12)) {
        let hits = |words: &[u64; 4]| {
            let text: String = words.iter().map(|word| format!("{word:016x}")).collect();
            let set: LevelSet = text.parse().unwrap();
            assert_eq!(set.to_string(), text);
            BoxHits([set; IOU_PCT.len()])
        };
        let mut whole = MaxBoxAcc::default();
        let mut parts = [MaxBoxAcc::default(), MaxBoxAcc::default()];
        for (i, words) in bits.iter().enumerate() {
            whole.push(&hits(words));
            parts[i % 2].push(&hits(words));
        }
        let [mut merged, other] = parts;
        merged.merge(&other);
        prop_assert_eq!(merged, whole);
    }
}
