//! One generated image: its random choices, its pixels and its mask.

use std::f32::consts::TAU;
use std::fmt;
use std::sync::Arc;

use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::options::{CLASSES, SyntheticOptions};
use super::shape;
use super::texture::{self, Frame};
use crate::data::bbox::BBox;
use crate::data::split::Split;
use crate::random::{Use, stream};

/// An image of the synthetic dataset, made on demand.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    options: Arc<SyntheticOptions>,
    split: Split,
    index: usize,
}

/// Two colours that a texture mixes.
#[derive(Debug, Clone, Copy)]
struct Palette([[f32; 3]; 2]);

/// Everything random about an image but its pixel noise.
#[derive(Debug, Clone)]
struct Choices {
    class: usize,
    background: usize,
    /// Centre, in pixels.
    centre: [f32; 2],
    /// Half the diameter, in pixels.
    radius: f32,
    /// Of the object, in radians.
    angle: f32,
    object: Frame,
    object_palette: Palette,
    ground: Frame,
    ground_palette: Palette,
    /// Brightness changes by this much from the middle to the side, in x and y.
    light: [f32; 2],
}

impl Scene {
    pub(crate) fn new(options: Arc<SyntheticOptions>, split: Split, index: usize) -> Self {
        Self { options, split, index }
    }

    /// Index of the object's class.
    pub(super) fn class(&self) -> usize {
        self.index % CLASSES
    }

    /// Index of the class whose background it has.
    #[cfg(test)]
    pub(crate) fn background(&self) -> usize {
        self.choices().0.background
    }

    fn choices(&self) -> (Choices, ChaCha8Rng) {
        let options = &*self.options;
        let (split, rho) = match self.split {
            Split::Train => (0, options.rho),
            Split::Test | Split::Validation => (1, options.test_rho),
        };
        let mut rng = stream(Use::Scene, options.seed, split, self.index as u64);
        let class = self.class();
        let background = if rng.random_bool(rho) {
            class
        } else {
            (class + rng.random_range(1..CLASSES)) % CLASSES
        };
        let side = options.side_px as f32;
        let [least, most] = options.object_frac;
        let radius = side / 2.0 * rng.random_range(least..=most);
        // Up to a fifth of the radius may be cut off at the image's edge.
        let margin = (0.8 * radius).min(side / 2.0);
        let centre = [(); 2].map(|()| rng.random_range(margin..=side - margin));
        let angle = rng.random_range(0.0..TAU);
        let light = rng.random_range(0.0..0.3_f32);
        let from = rng.random_range(0.0..TAU);
        let choices = Choices {
            class,
            background,
            centre,
            radius,
            angle,
            object: Frame::random(&mut rng),
            object_palette: Palette::random(options.object_contrast, &mut rng),
            ground: Frame::random(&mut rng),
            ground_palette: Palette::random(options.background_contrast, &mut rng),
            light: [light * from.cos(), light * from.sin()],
        };
        (choices, rng)
    }

    /// The pixels.
    pub(super) fn image(&self) -> RgbImage {
        let (choices, mut rng) = self.choices();
        let side = self.options.side_px;
        let noise = self.options.noise;
        let mut image = RgbImage::new(side, side);
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
            let coverage = (0.5 - choices.distance(px, py)).clamp(0.0, 1.0);
            let mut colour = [0.0; 3];
            if coverage < 1.0 {
                add(&mut colour, 1.0 - coverage, choices.ground_colour(px, py, side as f32));
            }
            if coverage > 0.0 {
                add(&mut colour, coverage, choices.object_colour(px, py));
            }
            let half = side as f32 / 2.0;
            let light =
                1.0 + choices.light[0] * (px / half - 1.0) + choices.light[1] * (py / half - 1.0);
            *pixel = Rgb(colour.map(|value| {
                let noisy = value * light + noise * gaussian(&mut rng);
                (noisy * 255.0 + 0.5).clamp(0.0, 255.0) as u8
            }));
        }
        image
    }

    /// 255 where the object covers at least half of the pixel, 0 elsewhere.
    pub(crate) fn mask(&self) -> GrayImage {
        let (choices, _) = self.choices();
        let side = self.options.side_px;
        GrayImage::from_fn(side, side, |x, y| {
            let inside = choices.distance(x as f32 + 0.5, y as f32 + 0.5) <= 0.0;
            Luma([if inside { 255 } else { 0 }])
        })
    }

    /// The smallest box around the mask.
    pub(super) fn bbox(&self) -> Option<BBox> {
        let mask = self.mask();
        mask.enumerate_pixels()
            .filter(|(.., value)| value.0[0] > 0)
            .map(|(x, y, _)| {
                let (x, y) = (x as f32, y as f32);
                BBox::new(x, y, x + 1.0, y + 1.0)
            })
            .reduce(|a, b| {
                BBox::new(a.x0.min(b.x0), a.y0.min(b.y0), a.x1.max(b.x1), a.y1.max(b.y1))
            })
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:06}", self.split, self.index)
    }
}

impl Choices {
    /// A point of the image in the object's own coordinates, where its radius is 1.
    fn own(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = ((x - self.centre[0]) / self.radius, (y - self.centre[1]) / self.radius);
        let (sin, cos) = self.angle.sin_cos();
        [cos * dx + sin * dy, cos * dy - sin * dx]
    }

    /// Signed distance to the object's outline in pixels, negative inside.
    fn distance(&self, x: f32, y: f32) -> f32 {
        shape::distance(self.class, self.own(x, y)) * self.radius
    }

    fn object_colour(&self, x: f32, y: f32) -> [f32; 3] {
        let value = supersampled(x, y, |x, y| {
            let [u, v] = self.own(x, y);
            texture::object(self.class, self.object.shifted(u, v), &self.object)
        });
        self.object_palette.mix(value)
    }

    fn ground_colour(&self, x: f32, y: f32, side: f32) -> [f32; 3] {
        let value = supersampled(x, y, |x, y| {
            let (u, v) = (2.0 * x / side - 1.0, 2.0 * y / side - 1.0);
            texture::ground(self.background, self.ground.turned(u, v), &self.ground)
        });
        self.ground_palette.mix(value)
    }
}

impl Palette {
    /// A dark and a light colour of random hues, drawn together towards their mean.
    fn random(contrast: f32, rng: &mut ChaCha8Rng) -> Self {
        let hue = rng.random_range(0.0..1.0_f32);
        let other = hue + rng.random_range(0.1..0.5_f32);
        let dark = hsv(hue, rng.random_range(0.2..0.9), rng.random_range(0.1..0.5));
        let light = hsv(other, rng.random_range(0.1..0.8), rng.random_range(0.6..1.0));
        let pair = if rng.random_bool(0.5) { [dark, light] } else { [light, dark] };
        let mean: [f32; 3] = std::array::from_fn(|c| (dark[c] + light[c]) / 2.0);
        Self(pair.map(|colour| std::array::from_fn(|c| mean[c] + contrast * (colour[c] - mean[c]))))
    }

    fn mix(&self, value: f32) -> [f32; 3] {
        let [from, to] = self.0;
        std::array::from_fn(|c| from[c] + value * (to[c] - from[c]))
    }
}

/// Mean of `f` over four points of a pixel, against aliasing of fine textures.
fn supersampled(x: f32, y: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)]
        .into_iter()
        .map(|(dx, dy)| f(x + dx, y + dy))
        .sum::<f32>()
        / 4.0
}

fn add(sum: &mut [f32; 3], weight: f32, colour: [f32; 3]) {
    for (sum, value) in sum.iter_mut().zip(colour) {
        *sum += weight * value;
    }
}

/// Hue, saturation, value in `[0,1]` (hue wraps) to RGB in `[0,1]`.
fn hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [5.0, 3.0, 1.0].map(|n| {
        let k = (n + hue * 6.0) % 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

/// About standard normal: the sum of four uniforms, scaled to variance 1.
fn gaussian(rng: &mut ChaCha8Rng) -> f32 {
    let bits = rng.random::<u64>();
    let sum: f32 = (0..4).map(|i| ((bits >> (16 * i)) & 0xffff) as f32 / 65535.0).sum();
    (sum - 2.0) * 3.0_f32.sqrt()
}
