//! TrivialAugment (Müller & Hutter 2021, doi:10.1109/ICCV48922.2021.00081): one operation an image,
//! drawn uniformly, with a uniform strength. The wide ranges of the paper, as in torchvision.

use rand::Rng;

use super::affine::Affine;
use super::colour::Colour;
use super::plan::Step;

/// Strengths run over 0, 1, ... 30.
const LEVELS: u32 = 31;

/// Draws an operation; `None` for the identity.
pub(super) fn draw(rng: &mut impl Rng) -> Option<Step> {
    let operation = rng.random_range(0..14);
    let frac = rng.random_range(0..LEVELS) as f32 / (LEVELS - 1) as f32;
    let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
    let signed = sign * frac;
    Some(match operation {
        0 => return None,
        1 => Step::Affine(Affine::shear(0.99 * signed, 0.0)),
        2 => Step::Affine(Affine::shear(0.0, 0.99 * signed)),
        3 => Step::Affine(Affine::translation((32.0 * signed).trunc(), 0.0)),
        4 => Step::Affine(Affine::translation(0.0, (32.0 * signed).trunc())),
        5 => Step::Affine(Affine::rotation(135.0 * signed)),
        6 => Step::Colour(Colour::Brightness(1.0 + 0.99 * signed)),
        7 => Step::Colour(Colour::Saturation(1.0 + 0.99 * signed)),
        8 => Step::Colour(Colour::Contrast(1.0 + 0.99 * signed)),
        9 => Step::Colour(Colour::Sharpness(1.0 + 0.99 * signed)),
        10 => Step::Colour(Colour::Posterize(8 - (6.0 * frac).round_ties_even() as u8)),
        11 => Step::Colour(Colour::Solarize((255.0 * (1.0 - frac)) as u8)),
        12 => Step::Colour(Colour::AutoContrast),
        _ => Step::Colour(Colour::Equalize),
    })
}
