//! The paper's tables from the evaluations.

use serde::Serialize;

use crate::error::message;
use crate::results::Evaluation;
use crate::results::compare::alike;
use crate::tables::layout::Layout;
use crate::tables::{self, Number};

/// A table of the paper as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct TableView {
    number: u8,
    title: &'static str,
    caption: &'static str,
    /// One where all evaluations can be compared with one another.
    parts: Vec<Part>,
    /// Why there is more than one part, or none.
    reason: Option<String>,
}

/// A table that could be built.
#[derive(Debug, Serialize)]
struct Part {
    layout: Layout,
    /// The evaluations that went into it, where others did not.
    evaluations: Vec<String>,
}

/// The tables and their numbers.
const TABLES: [(u8, Number); 4] =
    [(2, Number::Two), (3, Number::Three), (4, Number::Four), (5, Number::Five)];

/// All tables, in the paper's order. `name` is what the page calls an evaluation.
pub(super) fn views(
    evaluations: &[Evaluation],
    name: impl Fn(&Evaluation) -> String,
) -> Vec<TableView> {
    let view = |(shown, number): (u8, Number)| {
        let (parts, reason) = parts(number, evaluations, &name);
        TableView {
            number: shown,
            title: number.title(),
            caption: number.caption(),
            parts,
            reason: reason.as_ref().map(message),
        }
    };
    TABLES.map(view).into()
}

/// One table of all evaluations; where they cannot stand side by side, one for each set of them
/// that was made with the same settings, and why.
fn parts(
    number: Number,
    evaluations: &[Evaluation],
    name: impl Fn(&Evaluation) -> String,
) -> (Vec<Part>, Option<anyhow::Error>) {
    let whole = match tables::build(number, evaluations) {
        Ok(table) => {
            return (vec![Part { layout: table.layout(), evaluations: Vec::new() }], None);
        }
        Err(error) => error,
    };
    let sets = alike(evaluations, number.suite()).unwrap_or_default();
    let part = |members: Vec<&Evaluation>| {
        let table = tables::build(number, members.iter().copied()).ok()?;
        Some(Part { layout: table.layout(), evaluations: members.into_iter().map(&name).collect() })
    };
    (sets.into_iter().filter_map(part).collect(), Some(whole))
}
