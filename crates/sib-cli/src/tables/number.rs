//! The paper's tables: what they hold and how they are laid out.

use super::key::Key;
use crate::evaluation::suite::Suite;
use crate::network::Training;
use crate::results::Called;
use crate::results::titles::{Label, arch_label, dataset_label, method_label};

/// Which of the paper's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Accuracy.
    Two,
    /// Information differential.
    Three,
    /// Localization.
    Four,
    /// Faithfulness.
    Five,
}

/// A metric of a table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name in `summary.csv`.
    pub ours: &'static str,
    /// Name in the tables.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// Which values are good.
    pub best: Best,
}

/// Which values of a metric are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    Highest,
    Lowest,
}

/// Where a cell stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Tables of methods have one block an architecture.
    pub block: Label,
    /// Row of the block.
    pub row: Label,
    /// Column of the block.
    pub column: Label,
}

/// Information differential: exp(z-score) over the networks compared on one dataset.
pub const DIFFERENTIAL: &str = "information_differential";

/// What the differential is made of.
pub const DIFFERENCE: &str = "hsic_difference";

const fn pct(ours: &'static str, name: &'static str, title: &'static str) -> Metric {
    Metric { ours, name, title, digits: 2, best: Best::Highest }
}

const ACCURACY: [Metric; 2] = [pct("top1_pct", "top1", "top-1"), pct("top5_pct", "top5", "top-5")];

/// The raw difference is what the differential is made of, and alone compares two networks; how far it is from what
/// random pairs of image and R give says whether there is anything to compare.
const INFORMATION: [Metric; 3] = [
    Metric { digits: 3, ..pct("", DIFFERENTIAL, "Δ_info") },
    Metric { digits: 5, ..pct(DIFFERENCE, DIFFERENCE, "HSIC difference") },
    Metric { digits: 1, ..pct("hsic_difference_z", "hsic_difference_z", "z") },
];

const LOCALIZATION: [Metric; 3] = [
    pct("pixel_accuracy_pct", "pixel_accuracy", "pixel accuracy"),
    pct("miou_pct", "miou", "mIoU"),
    pct("map_pct", "map", "mAP"),
];

const FAITHFULNESS: [Metric; 2] = [
    pct("insertion_auc_pct", "insertion_auc", "insertion ↑"),
    Metric { best: Best::Lowest, ..pct("deletion_auc_pct", "deletion_auc", "deletion ↓") },
];

impl Number {
    /// The number on the command line.
    ///
    /// # Errors
    /// For another number.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "2" => Ok(Self::Two),
            "3" => Ok(Self::Three),
            "4" => Ok(Self::Four),
            "5" => Ok(Self::Five),
            _ => Err("expected 2, 3, 4 or 5".to_owned()),
        }
    }

    /// The suite that its metrics are of.
    pub fn suite(self) -> Suite {
        match self {
            Self::Two => Suite::Accuracy,
            Self::Three => Suite::Information,
            Self::Four => Suite::Localization,
            Self::Five => Suite::Faithfulness,
        }
    }

    /// Its metrics.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Two => &ACCURACY,
            Self::Three => &INFORMATION,
            Self::Four => &LOCALIZATION,
            Self::Five => &FAITHFULNESS,
        }
    }

    /// The metric called `name`.
    pub fn metric(self, name: &str) -> Option<&'static Metric> {
        self.metrics().iter().find(|metric| metric.name == name)
    }

    /// What it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Two => "Accuracy",
            Self::Three => "Information differential",
            Self::Four => "Localization",
            Self::Five => "Faithfulness",
        }
    }

    /// What its numbers are.
    pub fn caption(self) -> &'static str {
        match self {
            Self::Two => "Top-1 and top-5 accuracy in per cent.",
            Self::Three => {
                "Δ_info is the exponential of the z-score of d over the networks compared on one \
                 dataset (of two networks always e^-1 and e); d, the HSIC difference, is HSIC(R_fg, X_fg) − HSIC(R_bg, X_bg), the mean \
                 over batches; z is how many standard deviations it lies above its mean over random \
                 pairs of image and R."
            }
            Self::Four => "In per cent.",
            Self::Five => "Area under the curve of the class probability, in per cent.",
        }
    }

    /// Where a cell stands, in the order of the paper.
    pub fn place(self, key: &Key) -> Place {
        let metric = self.metrics().iter().position(|metric| metric.name == key.metric);
        let metric = metric.unwrap_or_default();
        let heading = self.metrics()[metric].title;
        let (arch, dataset, method) =
            (network_label(key), dataset_label(&key.dataset), method_label(&key.method));
        let with_metric = |(place, title): Label| -> Label {
            (place * self.metrics().len() + metric, format!("{title} {heading}"))
        };
        let whole = (0, String::new());
        match self {
            Self::Two => Place { block: whole, row: dataset, column: with_metric(arch) },
            Self::Three => Place { block: whole, row: arch, column: with_metric(dataset) },
            Self::Four | Self::Five => {
                Place { block: arch, row: method, column: with_metric(dataset) }
            }
        }
    }

    /// The cell in the row of one and the column of another; `None` where they are in different
    /// blocks.
    pub fn crossing(self, row: &Key, column: &Key) -> Option<Key> {
        match self {
            Self::Two => Some(Key { dataset: row.dataset.clone(), ..column.clone() }),
            Self::Three => {
                Some(Key { arch: row.arch.clone(), network: row.network.clone(), ..column.clone() })
            }
            Self::Four | Self::Five => ((&row.arch, &row.network)
                == (&column.arch, &column.network))
                .then(|| Key { method: row.method.clone(), ..column.clone() }),
        }
    }
}

/// The architecture, and the network where it is not the paper's.
fn network_label(key: &Key) -> Label {
    const NETWORKS: usize = 1 << 16;
    let (place, title) = arch_label(&key.arch);
    let title = match key.network == Called::from(Training::SIb) {
        true => title,
        false => format!("{title}, {}", key.network.title),
    };
    (NETWORKS * place + key.network.place, title)
}
