//! Mean insertion and deletion curves: sums batch by batch in `curve_sums.csv`, and `curves.csv`.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_metrics::Summary;
use sib_metrics::faithfulness::{Curve, Faithfulness, MeanCurve};

use crate::records::Table;

/// The paths that pixels are changed along.
pub const PATHS: [&str; 2] = ["insertion", "deletion"];

/// Sums of one batch's curves of one method, point by point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredSums")]
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
    /// Sum of the squares of its deviations from the batch's mean.
    deviations: Points,
}

/// The row as it may stand in the file: earlier versions wrote the sum of plain squares.
#[derive(Debug, Deserialize)]
struct StoredSums {
    batch: usize,
    method: String,
    path: String,
    images: u64,
    sums: Points,
    #[serde(default)]
    deviations: Points,
    #[serde(default)]
    squares: Points,
}

impl From<StoredSums> for CurveSums {
    fn from(stored: StoredSums) -> Self {
        let StoredSums { batch, method, path, images, sums, mut deviations, squares } = stored;
        if deviations.0.is_empty() {
            let about_mean =
                |(square, sum): (&f64, &f64)| (square - sum * sum / images as f64).max(0.0);
            deviations = Points(squares.0.iter().zip(&sums.0).map(about_mean).collect());
        }
        Self { batch, method, path, images, sums, deviations }
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

impl CurveSums {
    /// Both rows of one batch and method.
    ///
    /// # Errors
    /// When the curves have not one number of points.
    pub fn of_batch(batch: usize, method: &str, curves: &[Faithfulness]) -> Result<[Self; 2]> {
        let sums = |path: &str, curve: fn(&Faithfulness) -> &Curve| -> Result<Self> {
            let mut mean = MeanCurve::default();
            curves.iter().map(curve).try_for_each(|curve| mean.push(curve))?;
            let points = |of: fn(&Summary) -> f64| Points(mean.points().iter().map(of).collect());
            Ok(Self {
                batch,
                method: method.to_owned(),
                path: path.to_owned(),
                images: curves.len() as u64,
                sums: points(Summary::sum),
                deviations: points(Summary::deviations),
            })
        };
        Ok([sums(PATHS[0], |both| &both.insertion)?, sums(PATHS[1], |both| &both.deletion)?])
    }

    /// The curves that the sums are of.
    fn mean(&self) -> Result<MeanCurve> {
        Ok(MeanCurve::from_sums(self.images, &self.sums.0, &self.deviations.0)?)
    }
}

/// Whether the rows of a batch are those of all `methods`.
pub fn are_whole(batch: Table<'_>, methods: &[String]) -> bool {
    let Ok(rows) = batch.rows::<CurveSums>() else { return false };
    let expected = methods.iter().flat_map(|method| PATHS.map(|path| (method.as_str(), path)));
    rows.iter().map(|row| (row.method.as_str(), row.path.as_str())).eq(expected)
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
/// When the rows do not belong together, or one cannot be written as CSV.
pub fn to_csv(
    rows: &[CurveSums],
    methods: &[String],
    pixels: usize,
    step_px: usize,
) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for method in methods {
        for path in PATHS {
            let mut curve = MeanCurve::default();
            for row in rows.iter().filter(|row| row.method == *method && row.path == path) {
                curve.merge(&row.mean()?)?;
            }
            for (step, point) in curve.points().iter().enumerate() {
                let Some(mean) = point.mean() else { continue };
                writer.serialize(CurvePoint {
                    method: method.clone(),
                    path: path.to_owned(),
                    changed_frac: step.saturating_mul(step_px).min(pixels) as f64 / pixels as f64,
                    mean,
                    standard_error: point.standard_error(),
                    n: point.n(),
                })?;
            }
        }
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_squares_of_an_earlier_version_are_read() {
        let text = "batch,method,path,images,sums,squares\n0,saliency,insertion,2,1 3,0.5 5\n";
        let rows: Vec<CurveSums> = csv::Reader::from_reader(text.as_bytes())
            .deserialize()
            .collect::<Result<_, _>>()
            .unwrap();
        // 0.5 twice; 1 and 2.
        assert_eq!(rows[0].deviations, Points(vec![0.0, 0.5]));
        let table = to_csv(&rows, &["saliency".to_owned()], 8, 4).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert!(table.contains("saliency,insertion,0.5,1.5,0.5,2\n"), "{table}");
        // And written as now.
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(&rows[0]).unwrap();
        let written = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert!(written.starts_with("batch,method,path,images,sums,deviations\n"), "{written}");
        let read: Vec<CurveSums> = csv::Reader::from_reader(written.as_bytes())
            .deserialize()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, rows);
    }
}
