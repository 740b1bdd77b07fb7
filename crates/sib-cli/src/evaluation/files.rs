//! The folder of an evaluation.
//!
//! ```text
//! evaluation.toml   settings, network, dataset and environment
//! per_image.csv     one row an image and method, appended batch by batch; it holds digests of the
//!                   files that were read, and rows of files that could not be used are measured
//!                   again when these are mended
//! curve_sums.csv    suite faithfulness: sums of the curves of each batch, appended
//! information.csv   suite information: one row a batch, appended
//! classes.csv       suite accuracy: images and top-1 of each class
//! confusion.csv     suite accuracy: images by class (rows) and prediction (columns), of 5000 classes at most
//! curves.csv        suite faithfulness: mean insertion and deletion curves
//! summary.csv       one row a metric; written last, so that its presence means finished
//! ```

/// Name of the file that describes an evaluation.
pub const DESCRIPTION: &str = "evaluation.toml";
/// Name of the file with a row an image and method.
pub const PER_IMAGE: &str = "per_image.csv";
/// Name of the file with mean curves.
pub const CURVES: &str = "curves.csv";
/// Name of the file with a row a class.
pub const CLASSES: &str = "classes.csv";
/// Name of the file with the confusion matrix.
pub const CONFUSION: &str = "confusion.csv";
/// Name of the file with a row a metric.
pub const SUMMARY: &str = "summary.csv";
