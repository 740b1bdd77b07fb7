//! Score curves.

/// Class probabilities at equal steps from the start to the end of a path, two points or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve(Vec<f64>);

impl Curve {
    pub(super) fn new(points: Vec<f64>) -> Self {
        Self(points)
    }

    /// The probabilities, each in [0, 1]; the first and the last are those of the path's ends.
    pub fn points(&self) -> &[f64] {
        &self.0
    }

    /// Area under the curve over a path of unit length, by the trapezoidal rule:
    /// `(Σ − first/2 − last/2) / (n − 1)`, in [0, 1].
    pub fn auc(&self) -> f64 {
        let inner: f64 = self.0.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).sum();
        inner / (self.0.len() - 1) as f64
    }
}
