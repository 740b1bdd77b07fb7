//! Accuracy by class, from the rows of images.

use std::collections::BTreeMap;

use serde::Serialize;

use super::format::fixed;
use crate::evaluation::image_row::ImageRow;

/// Classes that stand on the page itself; all are one click away.
const WEAKEST: usize = 10;

/// Accuracy by class as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct ClassesView {
    /// The classes with the lowest accuracy, the lowest first.
    weakest: Vec<ClassView>,
    /// All in the order of their numbers, where there are more than those.
    all: Vec<ClassView>,
    /// How many there are.
    total: usize,
}

#[derive(Debug, Clone, Serialize)]
struct ClassView {
    name: String,
    n: u64,
    top1_pct: String,
    /// The class that its images are taken for most often, and how often.
    mistaken_for: Option<(String, u64)>,
}

/// What was predicted for the images of one class.
#[derive(Debug, Default, PartialEq)]
struct Class {
    n: u64,
    right: u64,
    wrong: BTreeMap<i64, u64>,
}

impl Class {
    fn top1(&self) -> f64 {
        self.right as f64 / self.n as f64
    }

    /// The most frequent wrong prediction; of several the first.
    fn mistaken_for(&self) -> Option<(i64, u64)> {
        let most = self.wrong.iter().max_by_key(|&(&class, &n)| (n, std::cmp::Reverse(class)));
        most.map(|(&class, &n)| (class, n))
    }
}

/// Accuracy by class of `images`, which hold each image once; `None` where nothing was predicted.
/// `name` is what a class is called.
pub(super) fn view(images: &[&ImageRow], name: impl Fn(i64) -> String) -> Option<ClassesView> {
    let classes = count(images);
    if classes.is_empty() {
        return None;
    }
    let view = |(&label, class): (&usize, &Class)| ClassView {
        name: name(label as i64),
        n: class.n,
        top1_pct: fixed(Some(100.0 * class.top1())),
        mistaken_for: class.mistaken_for().map(|(other, n)| (name(other), n)),
    };
    let mut ordered: Vec<_> = classes.iter().collect();
    ordered.sort_by(|a, b| a.1.top1().total_cmp(&b.1.top1()).then(a.0.cmp(b.0)));
    let total = ordered.len();
    Some(ClassesView {
        weakest: ordered.into_iter().take(WEAKEST).map(view).collect(),
        all: if total > WEAKEST { classes.iter().map(view).collect() } else { Vec::new() },
        total,
    })
}

fn count(images: &[&ImageRow]) -> BTreeMap<usize, Class> {
    let mut classes = BTreeMap::<usize, Class>::new();
    for row in images {
        let Some(predicted) = row.predicted else { continue };
        let class = classes.entry(row.label).or_default();
        class.n += 1;
        if predicted == row.label as i64 {
            class.right += 1;
        } else {
            *class.wrong.entry(predicted).or_default() += 1;
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_and_the_weakest_comes_first() {
        let row = |label, predicted| ImageRow { label, predicted, ..ImageRow::default() };
        let rows = [
            row(0, Some(0)),
            row(0, Some(2)),
            row(0, Some(1)),
            row(0, Some(1)),
            row(1, Some(1)),
            row(2, None),
        ];
        let rows: Vec<&ImageRow> = rows.iter().collect();
        let view = view(&rows, |class| format!("c{class}")).unwrap();
        assert_eq!((view.total, view.all.len()), (2, 0));
        let names: Vec<&str> = view.weakest.iter().map(|class| class.name.as_str()).collect();
        assert_eq!(names, ["c0", "c1"]);
        let first = &view.weakest[0];
        assert_eq!((first.n, first.top1_pct.as_str()), (4, "25.00"));
        assert_eq!(first.mistaken_for, Some(("c1".to_owned(), 2)));
        assert!(super::view(&[], |_| String::new()).is_none());
    }
}
