//! Settings of S-IB that are compared with others.

use std::str::FromStr;

use anyhow::{Context, Result};
use sib_core::objective::SibConfig;
use sib_models::Arch;
use toml::{Table, Value};

use crate::config::{assign, objective_of};

/// What one way to compute S-IB changes: `KEY=VALUE KEY=VALUE`, keys without `sib.`.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate(String);

impl FromStr for Candidate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let candidate = Self(text.to_owned());
        candidate.changed(&SibConfig::default())?;
        Ok(candidate)
    }
}

impl Candidate {
    /// As it was given.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The objective with these changes to `sib`, as a network of `arch` takes it with images of a side of `image_px`.
    ///
    /// # Errors
    /// When a setting is out of range or does not fit the network.
    pub fn objective(&self, sib: &SibConfig, arch: Arch, image_px: i64) -> Result<SibConfig> {
        objective_of(&self.changed(sib)?, arch, image_px).with_context(|| self.0.clone())
    }

    fn changed(&self, sib: &SibConfig) -> Result<SibConfig> {
        let mut table = Table::try_from(sib)?;
        for assignment in self.0.split_whitespace() {
            assign(&mut table, assignment)?;
        }
        Value::Table(table).try_into().with_context(|| self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use sib_core::objective::At;

    use super::*;

    #[test]
    fn a_candidate_is_settings_over_others() {
        let candidate: Candidate = "vjp.at=layer3 images=4".parse().unwrap();
        let sib = SibConfig { lambda_bg: 3.0, ..SibConfig::default() };
        let changed = candidate.objective(&sib, Arch::DenseNet121, 64).unwrap();
        let at = At::Layer("features.denseblock3".to_owned());
        assert_eq!((changed.vjp.at, changed.images, changed.lambda_bg), (at, Some(4), 3.0));
        assert!("vjp.att=layer3".parse::<Candidate>().is_err());
        let scale: Candidate = "scale=0.3".parse().unwrap();
        let message = format!("{:#}", scale.objective(&sib, Arch::VitB32, 64).unwrap_err());
        assert_eq!(
            message,
            "scale=0.3: scale: got 0.3, expected a scale that fits 64 px: image size: got 19x19 px, expected \
             multiples of 32 px for vit_b_32"
        );
    }
}
