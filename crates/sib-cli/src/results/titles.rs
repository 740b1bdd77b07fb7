//! What architectures, datasets and methods are called where results are shown, and in which order they
//! stand there.

use sib_core::data::DatasetName;
use sib_explain::Method;
use sib_models::Arch;

/// A row or column: where it stands, and its heading.
pub type Label = (usize, String);

/// Stands after all others.
const LAST: usize = 1 << 16;

/// An architecture: its place among the tables' and its heading.
pub fn arch_label(name: &str) -> Label {
    let title = name.parse().map_or(name, |arch: Arch| arch.title());
    let place = Arch::ALL.into_iter().position(|arch| arch.name() == name);
    (place.unwrap_or(LAST), title.to_owned())
}

/// The same of a dataset.
pub fn dataset_label(name: &str) -> Label {
    let place = DatasetName::ALL.into_iter().position(|dataset| dataset.as_str() == name);
    let title = place.map_or(name, |place| DatasetName::ALL[place].title());
    (place.unwrap_or(LAST), title.to_owned())
}

/// The same of a method.
pub fn method_label(name: &str) -> Label {
    let title = name.parse::<Method>().map_or(name, |method| method.title());
    let place = Method::PAPER.into_iter().position(|method| method.name() == name);
    (place.unwrap_or(LAST), title.to_owned())
}
