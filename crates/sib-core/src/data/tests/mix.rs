//! Mixtures are what their papers define.

use rand_distr::Distribution;
use tch::{Device, Kind, Tensor};

use super::super::mix::{Mix, soft_targets};
use crate::random::{Use, stream};

/// Image `i` is filled with `i`, and its target is class `i`: what was mixed can be read off.
fn batch(count: i64) -> (Tensor, Tensor) {
    let index = Tensor::arange(count, (Kind::Float, Device::Cpu));
    let images = index.reshape([count, 1, 1, 1]).expand([count, 3, 20, 30], false).contiguous();
    (images, Tensor::eye(count, (Kind::Float, Device::Cpu)))
}

#[test]
fn mixup_mixes_images_and_targets_alike() {
    let (images, targets) = batch(8);
    for step in 0..20 {
        let mix = Mix::Mixup { alpha: 0.4 };
        let (mixed, soft) = mix.apply(&images, &targets, 1, 2, step).unwrap();
        // The class numbers weighted by the targets are the pixels.
        let expected = soft.matmul(&Tensor::arange(8, (Kind::Float, Device::Cpu)));
        for pixel in [mixed.select(3, 0), mixed.select(3, 29)] {
            let difference = pixel.select(1, 1).select(1, 7) - &expected;
            // f32 sums of products of numbers below 8.
            assert!(difference.abs().max().double_value(&[]) < 1e-5);
        }
        let sums = soft.sum_dim_intlist([1_i64].as_slice(), false, None);
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-6);
    }
}

#[test]
fn cutmix_weighs_targets_by_area() {
    let (images, targets) = batch(8);
    let mut some_cut = false;
    for step in 0..20 {
        let mix = Mix::CutMix { alpha: 1.0 };
        let (mixed, soft) = mix.apply(&images, &targets, 1, 2, step).unwrap();
        for i in 0..8 {
            // Share of pixels that are still the image's own.
            let kept = mixed.get(i).eq_tensor(&images.get(i)).to_kind(Kind::Double).mean(None);
            let weight = soft.double_value(&[i, i]);
            assert!((kept.double_value(&[]) - weight).abs() < 1e-6, "step {step}, image {i}");
            some_cut |= weight < 0.9;
        }
    }
    assert!(some_cut);
}

#[test]
fn choices_follow_from_seed_epoch_and_batch() {
    let (images, targets) = batch(8);
    let mix = Mix::Mixup { alpha: 1.0 };
    let mixed = |seed, epoch, step| mix.apply(&images, &targets, seed, epoch, step).unwrap().0;
    assert_eq!(mixed(1, 2, 3), mixed(1, 2, 3));
    for other in [mixed(0, 2, 3), mixed(1, 0, 3), mixed(1, 2, 0)] {
        assert_ne!(mixed(1, 2, 3), other);
    }
}

/// Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
#[test]
fn weights_have_the_moments_of_beta() {
    const DRAWS: usize = 20_000;
    // With the first it is nearly two points.
    for alpha in [1e-3, 0.1, 0.4, 1.0, 3.5] {
        let beta = Mix::Mixup { alpha }.beta("mix").unwrap();
        let draws: Vec<f64> = beta.sample_iter(stream(Use::Mix, 9, 0, 0)).take(DRAWS).collect();
        assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / DRAWS as f64;
        let variance = draws.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / DRAWS as f64;
        let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
        // Standard errors: of the mean sqrt(variance / n); of the variance at most
        // sqrt(variance / (4 n)), since (x - 1/2)^2 lies in [0, 1/4]. Four of them each.
        let tolerance = 4.0 * (expected / DRAWS as f64).sqrt();
        assert!((mean - 0.5).abs() < tolerance, "alpha {alpha}: mean {mean}");
        assert!((variance - expected).abs() < tolerance / 2.0, "alpha {alpha}: {variance}");
    }
}

#[test]
fn smoothed_targets() {
    let labels = Tensor::from_slice(&[2_i64, 0]);
    let targets = soft_targets(&labels, 4, 0.2).unwrap();
    let expected = Tensor::from_slice(&[0.05_f32, 0.05, 0.85, 0.05, 0.85, 0.05, 0.05, 0.05]);
    assert!((targets.reshape([-1]) - expected).abs().max().double_value(&[]) < 1e-7);
    for smoothing in [-0.1, 1.0, f64::NAN] {
        assert!(soft_targets(&labels, 4, smoothing).is_err());
    }
}

#[test]
fn wrong_shapes_and_settings_are_refused() {
    let (images, targets) = batch(4);
    let mix = Mix::Mixup { alpha: 0.0 };
    assert!(mix.apply(&images, &targets, 0, 0, 0).is_err());
    let mix = Mix::CutMix { alpha: 1.0 };
    assert!(mix.apply(&images.get(0), &targets, 0, 0, 0).is_err());
    assert!(mix.apply(&images, &targets.narrow(0, 0, 3), 0, 0, 0).is_err());
}
