//! Box localization at the best threshold: MaxBoxAcc of Choe et al. (2020,
//! arXiv:2001.07437), as their `wsolevaluation` computes it.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sib_core::data::BBox;
use sib_core::{Error, Result};
use tch::Tensor;

use super::border::{Border, BorderFollower};
use crate::heatmap::{self, Heatmap};
use crate::outcome::{Exclusion, Outcome};

/// The overlaps at which a box counts as found, in per cent.
pub const IOU_PCT: [u8; 3] = [30, 50, 70];

/// Distinct thresholds of a heatmap of 256 grey levels: pixels above level 0, 1, ..., 254.
const LEVELS: usize = 255;

/// Which borders of the thresholded heatmap give boxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contours {
    /// The one that encloses the largest area (MaxBoxAcc); of equal areas the last in raster order.
    #[default]
    Largest,
    /// Every one, those of holes included, and the best counts (MaxBoxAccV2).
    All,
}

/// A set of grey levels. Written as 64 hexadecimal digits, the lowest level in the last bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelSet([u64; 4]);

impl LevelSet {
    fn insert(&mut self, level: usize) {
        self.0[level / 64] |= 1 << (level % 64);
    }

    /// Whether the level, 0 to 254, is in the set.
    pub fn contains(&self, level: usize) -> bool {
        level < LEVELS && self.0[level / 64] >> (level % 64) & 1 == 1
    }
}

impl fmt::Display for LevelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl FromStr for LevelSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("grey levels", text, "64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut words = [0; 4];
        for (word, start) in words.iter_mut().rev().zip((0..64).step_by(16)) {
            *word = u64::from_str_radix(&text[start..start + 16], 16).map_err(|_| wrong())?;
        }
        Ok(Self(words))
    }
}

/// At which grey levels one image's box is found, for each overlap of [`IOU_PCT`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BoxHits(pub [LevelSet; 3]);

/// Finds the boxes of thresholded heatmaps that overlap the object's boxes.
///
/// A heatmap is min-max normalised and cut to 256 grey levels; at each level the pixels above it
/// form a binary image, whose borders (`contours`) are boxed. The reference's 1 000 thresholds in
/// [0, 1) meet exactly these 255 levels. A flat heatmap finds nothing.
///
/// Both boxes follow the reference's one convention (decision L4): corners are x, y, x + width and
/// y + height in whole pixels, at most the last pixel of the image, and the pixel at each end counts.
/// A heatmap whose border is the annotated box thus overlaps it wholly.
///
/// `heatmaps`: `[B,H,W]`, any scale, read as f32; `boxes`: edges, in pixels of the heatmap, of each
/// image's objects, any of which may be found. One outcome per image: a heatmap that is not finite and
/// an image without boxes have none.
///
/// # Errors
/// The shape is not `[B,H,W]`, or `boxes` is not of length B.
pub fn box_hits(
    heatmaps: &Tensor,
    boxes: &[Vec<BBox>],
    contours: Contours,
) -> Result<Vec<Outcome<BoxHits>>> {
    let pixels = heatmap::pixels_per_image("heatmaps", heatmaps)?;
    let (batch, height, width) = heatmaps.size3()?;
    if boxes.len() != batch as usize {
        return Err(Error::invalid("boxes", boxes.len(), format!("one list per image, {batch}")));
    }
    let values = heatmap::to_f32(heatmaps)?;
    let size = (width as usize, height as usize);
    let one = |(values, boxes): (&[f32], &Vec<_>)| box_hits_of(values, size, boxes, contours);
    Ok(values.par_chunks(pixels).zip(boxes).map(one).collect())
}

fn box_hits_of(
    values: &[f32],
    (width, height): (usize, usize),
    boxes: &[BBox],
    contours: Contours,
) -> Outcome<BoxHits> {
    let heatmap = Heatmap::new(values)?;
    if boxes.is_empty() {
        return Err(Exclusion::EmptyGroundTruth);
    }
    let mut hits = BoxHits::default();
    if heatmap.is_flat() {
        return Ok(hits);
    }
    let grey = heatmap.grey_levels();
    let mut is_used = [false; 256];
    grey.iter().for_each(|&level| is_used[usize::from(level)] = true);

    let last = [width as f64 - 1.0, height as f64 - 1.0];
    let objects: Vec<[f64; 4]> = boxes.iter().map(|object| annotated(object, last)).collect();
    let best_overlap = |border: &Border| {
        let predicted = predicted(border, last);
        objects.iter().map(|&object| overlap(predicted, object)).fold(0.0, f64::max)
    };
    let mut follower = BorderFollower::new(width, height);
    let mut best = 0.0f64;
    for (level, is_used) in is_used.into_iter().take(LEVELS).enumerate() {
        // Without a pixel of this level the binary image is the last one. (Level 0 is used.)
        if is_used {
            let foreground = grey.iter().map(|&pixel| usize::from(pixel) > level);
            match contours {
                Contours::Largest => {
                    let mut largest: Option<Border> = None;
                    follower.follow(foreground, |border| {
                        if largest.is_none_or(|l| border.doubled_area >= l.doubled_area) {
                            largest = Some(border);
                        }
                    });
                    best = largest.as_ref().map_or(0.0, best_overlap);
                }
                Contours::All => {
                    best = 0.0;
                    follower.follow(foreground, |border| best = best.max(best_overlap(&border)));
                }
            }
        }
        for (set, pct) in hits.0.iter_mut().zip(IOU_PCT) {
            if best >= f64::from(pct) / 100.0 {
                set.insert(level);
            }
        }
    }
    Ok(hits)
}

/// The pixels `[x0, y0, x1, y1)` of the box around a border: its corner x + width lies one pixel
/// beyond the border, and that one counts. `last` is the last column and row of the image.
fn predicted(border: &Border, last: [f64; 2]) -> [f64; 4] {
    let [x0, y0, x1, y1] = border.bounds.map(f64::from);
    [x0, y0, (x1 + 1.0).min(last[0]) + 1.0, (y1 + 1.0).min(last[1]) + 1.0]
}

/// The pixels `[x0, y0, x1, y1)` of an annotated box, corners cut to whole pixels as the reference
/// does after it has scaled them.
fn annotated(object: &BBox, last: [f64; 2]) -> [f64; 4] {
    // A corner that f32 put just below a whole pixel lies on it.
    const ROUNDING_PX: f64 = 1.0 / 4096.0;
    let corner = |at: f32, last: f64| (f64::from(at) + ROUNDING_PX).floor().clamp(0.0, last);
    let BBox { x0, y0, x1, y1 } = *object;
    let [right, bottom] = [corner(x1, last[0]), corner(y1, last[1])];
    [corner(x0, last[0]), corner(y0, last[1]), right + 1.0, bottom + 1.0]
}

/// Intersection over union of two boxes `[x0, y0, x1, y1)`, in f64 so that a ratio that equals a
/// threshold reaches it.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let shared = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

/// Localization accuracy of a dataset at the best grey level, per overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxBoxAcc {
    n: u64,
    found: [[u64; LEVELS]; 3],
}

impl Default for MaxBoxAcc {
    fn default() -> Self {
        Self { n: 0, found: [[0; LEVELS]; 3] }
    }
}

impl MaxBoxAcc {
    /// Adds one image.
    pub fn push(&mut self, hits: &BoxHits) {
        self.n += 1;
        for (found, set) in self.found.iter_mut().zip(&hits.0) {
            found
                .iter_mut()
                .enumerate()
                .for_each(|(level, n)| *n += u64::from(set.contains(level)));
        }
    }

    /// Adds the images of another.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        for (found, more) in self.found.iter_mut().zip(&other.found) {
            found.iter_mut().zip(more).for_each(|(n, m)| *n += m);
        }
    }

    /// How many images there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// For each overlap of [`IOU_PCT`] the share of images found at the best level, in [0, 1];
    /// `None` of no images. The score of MaxBoxAcc is the one of 50 %, that of MaxBoxAccV2 the mean.
    pub fn accuracy(&self) -> Option<[f64; 3]> {
        let best = |found: &[u64; LEVELS]| found.iter().copied().max().unwrap_or(0);
        (self.n > 0).then(|| self.found.each_ref().map(|f| best(f) as f64 / self.n as f64))
    }
}
