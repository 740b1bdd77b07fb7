//! What a network is called where several stand beside one another.

use serde::Serialize;

use crate::network::Training;

/// A name and where it stands: the baseline first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Called {
    /// 0 for the baseline, then in the order in which they are shown; colours go by it.
    pub place: usize,
    /// In files.
    pub name: String,
    /// In figures and reports.
    pub title: String,
    /// How it was trained.
    pub training: Training,
}

impl Called {
    /// Whether the others are compared with it.
    pub fn is_baseline(&self) -> bool {
        self.place == 0
    }
}

/// As the paper tells networks apart.
impl From<Training> for Called {
    fn from(training: Training) -> Self {
        Self {
            place: training.place(),
            name: training.name().to_owned(),
            title: training.title().to_owned(),
            training,
        }
    }
}
