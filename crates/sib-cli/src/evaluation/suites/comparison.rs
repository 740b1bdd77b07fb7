//! How heatmaps and objects are compared: what suite localization is asked.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_core::data::GroundTruth;
use sib_metrics::Threshold;
use sib_metrics::localization::max_box_acc::Contours;

use crate::error::usage;

/// How heatmaps and objects are compared: arguments of the command line and part of what makes two
/// evaluations the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Comparison {
    /// Ground truth of localization: auto (mask where there is one, else box), box or mask
    #[arg(long, default_value = "auto", value_parser = parse_ground_truth)]
    pub ground_truth: GroundTruth,
    /// What of a heatmap is foreground: fixed(T) or T alone, mean, otsu or top(FRACTION)
    #[arg(long, default_value = "fixed(0.5)", allow_negative_numbers = true)]
    pub threshold: Threshold,
    /// How far from the object the highest pixel still counts as a hit of the pointing game
    #[arg(long, default_value_t = 0.0, value_name = "PX", allow_negative_numbers = true)]
    pub pointing_tolerance_px: f64,
    /// Borders that give the boxes of MaxBoxAcc: largest, or all (MaxBoxAccV2)
    #[arg(long, default_value = "largest", value_parser = parse_contours)]
    pub contours: Contours,
}

impl Comparison {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// When the tolerance is no distance.
    pub fn validate(&self) -> Result<()> {
        let px = self.pointing_tolerance_px;
        if px.is_finite() && px >= 0.0 {
            return Ok(());
        }
        Err(usage(format!("--pointing-tolerance-px: got {px}, expected a number of at least 0")))
    }
}

fn parse_ground_truth(name: &str) -> Result<GroundTruth, String> {
    let all = [GroundTruth::Auto, GroundTruth::Box, GroundTruth::Mask];
    let known = all.into_iter().find(|kind| kind.as_str() == name);
    known.ok_or_else(|| "expected auto, box or mask".to_owned())
}

fn parse_contours(name: &str) -> Result<Contours, String> {
    let known = [Contours::Largest, Contours::All].into_iter().find(|&c| contours_name(c) == name);
    known.ok_or_else(|| "expected largest or all".to_owned())
}

pub(super) fn contours_name(contours: Contours) -> &'static str {
    match contours {
        Contours::Largest => "largest",
        Contours::All => "all",
    }
}
