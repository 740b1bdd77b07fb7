//! Mean insertion and deletion curves: sums batch by batch in `curve_sums.csv`, and `curves.csv`.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_metrics::faithfulness::{Curve, Faithfulness};

use super::batch_log::Batched;

/// The paths that pixels are changed along.
pub const PATHS: [&str; 2] = ["insertion", "deletion"];

/// Sums of one batch's curves of one method, point by point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveSums {
    /// Number of the batch, from 0.
    pub batch: usize,
    /// Where the heatmaps come from.
    pub method: String,
    /// `insertion` or `deletion`.
    pub path: String,
    /// Images that have a curve.
    pub images: u64,
    /// Sum of the class probability at each point, separated by spaces.
    sums: Points,
    /// Sum of its square.
    squares: Points,
}

impl Batched for CurveSums {
    fn batch(&self) -> usize {
        self.batch
    }
}

/// Numbers in one CSV field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Points(Vec<f64>);

impl TryFrom<String> for Points {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Points> for String {
    fn from(points: Points) -> Self {
        points.0.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl Points {
    fn add(&mut self, values: impl ExactSizeIterator<Item = f64>) {
        self.0.resize(values.len().max(self.0.len()), 0.0);
        self.0.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

impl CurveSums {
    /// Both rows of one batch and method.
    pub fn of_batch(batch: usize, method: &str, curves: &[Faithfulness]) -> [Self; 2] {
        let sums = |path: &str, curve: fn(&Faithfulness) -> &Curve| {
            let (mut sums, mut squares) = (Points::default(), Points::default());
            for curve in curves.iter().map(curve) {
                sums.add(curve.points().iter().copied());
                squares.add(curve.points().iter().map(|p| p * p));
            }
            Self {
                batch,
                method: method.to_owned(),
                path: path.to_owned(),
                images: curves.len() as u64,
                sums,
                squares,
            }
        };
        [sums(PATHS[0], |both| &both.insertion), sums(PATHS[1], |both| &both.deletion)]
    }
}

/// A point of a mean curve, a row of `curves.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Where the heatmaps come from.
    pub method: String,
    /// `insertion` or `deletion`.
    pub path: String,
    /// Pixels changed so far, as a share of the image.
    pub changed_frac: f64,
    /// Mean class probability over images.
    pub mean: f64,
    /// Its standard error; none of one image.
    pub standard_error: Option<f64>,
    /// Images that have a curve.
    pub n: u64,
}

/// `curves.csv` from the sums of all batches, for images of `pixels` pixels of which `step_px`
/// change from one point to the next.
///
/// # Errors
/// When a row cannot be written as CSV.
pub fn to_csv(
    rows: &[CurveSums],
    methods: &[String],
    pixels: usize,
    step_px: usize,
) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for method in methods {
        for path in PATHS {
            let (mut sums, mut squares, mut images) = (Points::default(), Points::default(), 0);
            for row in rows.iter().filter(|row| row.method == *method && row.path == path) {
                sums.add(row.sums.0.iter().copied());
                squares.add(row.squares.0.iter().copied());
                images += row.images;
            }
            let n = images as f64;
            for (step, (sum, square)) in sums.0.iter().zip(&squares.0).enumerate() {
                let mean = sum / n;
                let variance = (square - sum * mean).max(0.0) / (n - 1.0);
                writer.serialize(CurvePoint {
                    method: method.clone(),
                    path: path.to_owned(),
                    changed_frac: (step * step_px).min(pixels) as f64 / pixels as f64,
                    mean,
                    standard_error: (images > 1).then(|| (variance / n).sqrt()),
                    n: images,
                })?;
            }
        }
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}
