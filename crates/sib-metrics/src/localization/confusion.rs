//! Binary confusion counts and what follows from them.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// Pixels by predicted and true class; counts of several images add up.
///
/// Of the counts of one image the ratios are per image; of the sum over a dataset they are pooled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Object pixels predicted as foreground.
    pub true_positive: u64,
    /// Other pixels predicted as foreground.
    pub false_positive: u64,
    /// Object pixels predicted as background.
    pub false_negative: u64,
    /// Other pixels predicted as background.
    pub true_negative: u64,
}

impl Confusion {
    pub(super) fn count(predicted: &[bool], truth: &[bool]) -> Self {
        let mut confusion = Self::default();
        for (&predicted, &truth) in predicted.iter().zip(truth) {
            *match (predicted, truth) {
                (true, true) => &mut confusion.true_positive,
                (true, false) => &mut confusion.false_positive,
                (false, true) => &mut confusion.false_negative,
                (false, false) => &mut confusion.true_negative,
            } += 1;
        }
        confusion
    }

    /// How many pixels were counted.
    pub fn total(&self) -> u64 {
        sum([self.true_positive, self.false_positive, self.false_negative, self.true_negative])
    }

    /// Correct pixels of all, in [0, 1]; `None` of no pixels.
    pub fn pixel_accuracy(&self) -> Option<f64> {
        ratio(sum([self.true_positive, self.true_negative]), self.total())
    }

    /// Intersection over union of the object, in [0, 1]; `None` where it is neither there nor
    /// predicted.
    pub fn foreground_iou(&self) -> Option<f64> {
        let of = [self.true_positive, self.false_positive, self.false_negative];
        ratio(self.true_positive, sum(of))
    }

    /// Intersection over union of the background, in [0, 1]; `None` where it is neither there nor
    /// predicted.
    pub fn background_iou(&self) -> Option<f64> {
        let of = [self.true_negative, self.false_positive, self.false_negative];
        ratio(self.true_negative, sum(of))
    }

    /// Mean IoU over the classes, object and background, that are there or predicted, in [0, 1];
    /// `None` of no pixels.
    pub fn mean_iou(&self) -> Option<f64> {
        match (self.foreground_iou(), self.background_iou()) {
            (Some(foreground), Some(background)) => Some((foreground + background) / 2.0),
            (one, other) => one.or(other),
        }
    }

    /// The object's share of the pixels, in [0, 1]; `None` of no pixels.
    pub fn foreground_frac(&self) -> Option<f64> {
        ratio(self.true_positive + self.false_negative, self.total())
    }
}

/// Counts of a damaged file may be any; they end at the largest there is instead of beginning anew.
fn sum<const N: usize>(counts: [u64; N]) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl AddAssign for Confusion {
    fn add_assign(&mut self, other: Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
    }
}

impl Add for Confusion {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// Takes away the counts of images that are part of these.
impl Sub for Confusion {
    type Output = Self;

    fn sub(self, part: Self) -> Self {
        Self {
            true_positive: self.true_positive - part.true_positive,
            false_positive: self.false_positive - part.false_positive,
            false_negative: self.false_negative - part.false_negative,
            true_negative: self.true_negative - part.true_negative,
        }
    }
}

impl Sum for Confusion {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}
