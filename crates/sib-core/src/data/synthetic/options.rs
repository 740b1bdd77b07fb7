//! Settings of the built-in benchmark.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Number of classes, and of background textures.
pub const CLASSES: usize = 10;

/// Images of a split.
const MOST_IMAGES: usize = 10_000_000;

/// Images of the training split by default.
pub(super) const TRAIN_IMAGES: usize = 3000;
/// Images of the test split by default.
pub(super) const TEST_IMAGES: usize = 1000;

/// What is generated, and how hard it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// Side of the images.
    pub side_px: u32,
    /// Images of the training split.
    pub train_images: usize,
    /// Images of the test split.
    pub test_images: usize,
    /// Probability that a training image's background is its class's.
    pub rho: f64,
    /// The same for the test split; 0.1 is independence, 1 backgrounds that always agree.
    pub test_rho: f64,
    /// Bounds of the object's diameter as a fraction of the side.
    pub object_frac: [f32; 2],
    /// How far apart the two colours of an object's texture are, in `[0,1]`.
    pub object_contrast: f32,
    /// The same for backgrounds.
    pub background_contrast: f32,
    /// Standard deviation of the pixel noise, in units of the full range.
    pub noise: f32,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        Self {
            seed: 43,
            side_px: 64,
            train_images: TRAIN_IMAGES,
            test_images: TEST_IMAGES,
            rho: 0.7,
            test_rho: 0.1,
            object_frac: [0.5, 0.85],
            object_contrast: 0.8,
            background_contrast: 0.5,
            noise: 0.04,
        }
    }
}

impl SyntheticOptions {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let invalid = |key: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::invalid(key, value, expected))
        };
        if !(16..=1024).contains(&self.side_px) {
            return invalid("side_px", &self.side_px, "16 to 1024");
        }
        for (key, images) in
            [("train_images", self.train_images), ("test_images", self.test_images)]
        {
            if !(CLASSES..=MOST_IMAGES).contains(&images) {
                return invalid(key, &images, "10, one a class, to 10000000");
            }
        }
        for (key, rho) in [("rho", self.rho), ("test_rho", self.test_rho)] {
            if !(0.0..=1.0).contains(&rho) {
                return invalid(key, &rho, "a probability in [0, 1]");
            }
        }
        let [least, most] = self.object_frac;
        if !(0.1 <= least && least <= most && most <= 1.0) {
            return invalid(
                "object_frac",
                &format!("[{least}, {most}]"),
                "[least, most] with 0.1 <= least <= most <= 1",
            );
        }
        for (key, contrast) in [
            ("object_contrast", self.object_contrast),
            ("background_contrast", self.background_contrast),
            ("noise", self.noise),
        ] {
            if !(0.0..=1.0).contains(&contrast) {
                return invalid(key, &contrast, "a number in [0, 1]");
            }
        }
        Ok(())
    }
}
