//! The images that an evaluation did worst and best on.

use std::cmp::Ordering;

use serde::Serialize;

use super::pictures::Opened;
use crate::evaluation::image_row::ImageRow;
use crate::evaluation::suites::localization;
use crate::results::titles::method_label;

/// An image and how its heatmap finds the object.
pub(super) type Located<'r> = (&'r ImageRow, &'r localization::Row);

/// Images a gallery.
const MOST: usize = 6;

/// A few images of an evaluation.
#[derive(Debug, Serialize)]
pub(super) struct GalleryView {
    title: String,
    /// How they were chosen.
    rule: String,
    images: Vec<Shot>,
    /// How many there are to choose from.
    total: usize,
}

/// An image and what is said of it.
#[derive(Debug, Serialize)]
struct Shot {
    id: String,
    /// The photograph, where it is still there.
    data_uri: Option<String>,
    lines: Vec<String>,
}

/// A choice of images: the first of them are shown.
struct Choice<'r> {
    title: String,
    rule: String,
    rows: Vec<(&'r ImageRow, Vec<String>)>,
}

impl Choice<'_> {
    fn view(self, photographs: &Opened) -> GalleryView {
        let total = self.rows.len();
        let shot = |(row, lines): (&ImageRow, Vec<String>)| Shot {
            id: row.image.clone(),
            data_uri: photographs.thumbnail(&row.image),
            lines,
        };
        let images = self.rows.into_iter().take(MOST).map(shot).collect();
        GalleryView { title: self.title, rule: self.rule, images, total }
    }
}

/// The galleries of predictions: `images` hold each image once.
pub(super) fn of_predictions(
    images: &[&ImageRow],
    name: impl Fn(i64) -> String,
    photographs: &Opened,
) -> Vec<GalleryView> {
    let (right, wrong): (Vec<_>, Vec<_>) = by_confidence(images)
        .into_iter()
        .partition(|(row, _)| row.predicted == Some(row.label as i64));
    let pct = |probability: f64| format!("{:.1}\u{a0}%", 100.0 * probability);
    let wrong = Choice {
        title: "Wrong with the most confidence".to_owned(),
        rule: "Wrong predictions, the highest class probability first.".to_owned(),
        rows: wrong
            .into_iter()
            .map(|(row, probability)| {
                let predicted = name(row.predicted.unwrap_or_default());
                let lines = vec![
                    format!("{predicted}, {}", pct(probability)),
                    format!("true: {}", name(row.label as i64)),
                ];
                (row, lines)
            })
            .collect(),
    };
    let right = Choice {
        title: "Right with the most confidence".to_owned(),
        rule: "Right predictions, the highest class probability first.".to_owned(),
        rows: right
            .into_iter()
            .map(|(row, probability)| {
                (row, vec![format!("{}, {}", name(row.label as i64), pct(probability))])
            })
            .collect(),
    };
    views([wrong, right], photographs)
}

/// The galleries of one method's heatmaps.
pub(super) fn of_heatmaps(
    method: &str,
    rows: &[Located<'_>],
    photographs: &Opened,
) -> Vec<GalleryView> {
    let title = method_label(method).1;
    let choice = |best: bool| {
        let (end, first) = if best { ("best", "highest") } else { ("worst", "lowest") };
        Choice {
            title: format!("Object found {end} by {title}"),
            rule: format!(
                "Intersection over union of the object and the {title} above its threshold, the \
                 {first} first; of equal ones, the {first} average precision."
            ),
            rows: by_overlap(rows, best)
                .into_iter()
                .map(|(row, iou)| (row, vec![format!("IoU {:.1}\u{a0}%", 100.0 * iou)]))
                .collect(),
        }
    };
    views([choice(false), choice(true)], photographs)
}

fn views<const N: usize>(choices: [Choice<'_>; N], photographs: &Opened) -> Vec<GalleryView> {
    let some = choices.into_iter().filter(|choice| !choice.rows.is_empty());
    some.map(|choice| choice.view(photographs)).collect()
}

/// The images by decreasing probability of the predicted class, equal ones by their ids.
fn by_confidence<'r>(images: &[&'r ImageRow]) -> Vec<(&'r ImageRow, f64)> {
    let mut rows: Vec<_> = images.iter().filter_map(|&row| Some((row, row.probability?))).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.image.cmp(&b.0.image)));
    rows
}

/// The images by the overlap of heatmap and object, then by average precision, then by their ids.
fn by_overlap<'r>(rows: &[Located<'r>], best: bool) -> Vec<(&'r ImageRow, f64)> {
    let overlap = |found: &localization::Row| {
        Some((found.confusion()?.foreground_iou()?, found.average_precision.unwrap_or_default()))
    };
    let mut rows: Vec<(&ImageRow, (f64, f64))> =
        rows.iter().filter_map(|&(row, found)| Some((row, overlap(found)?))).collect();
    rows.sort_by(|a, b| {
        let quality: Ordering = a.1.0.total_cmp(&b.1.0).then(a.1.1.total_cmp(&b.1.1));
        let quality = if best { quality.reverse() } else { quality };
        quality.then_with(|| a.0.image.cmp(&b.0.image))
    });
    rows.into_iter().map(|(row, (iou, _))| (row, iou)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, probability: f64, overlap_px: u64) -> (ImageRow, localization::Row) {
        let row = ImageRow {
            image: image.to_owned(),
            probability: Some(probability),
            ..ImageRow::default()
        };
        let found = localization::Row {
            true_positive_px: Some(overlap_px),
            false_positive_px: Some(0),
            false_negative_px: Some(10 - overlap_px),
            true_negative_px: Some(5),
            average_precision: Some(0.5),
            ..localization::Row::default()
        };
        (row, found)
    }

    #[test]
    fn the_order_is_by_value_and_then_by_id() {
        let rows = [row("b", 0.5, 3), row("a", 0.5, 3), row("c", 0.9, 0), row("d", 0.1, 10)];
        let images: Vec<&ImageRow> = rows.iter().map(|(row, _)| row).collect();
        let located: Vec<Located<'_>> = rows.iter().map(|(row, found)| (row, found)).collect();
        let ids = |rows: Vec<(&ImageRow, f64)>| -> String {
            rows.into_iter().map(|(row, _)| row.image.as_str()).collect()
        };
        assert_eq!(ids(by_confidence(&images)), "cabd");
        assert_eq!(ids(by_overlap(&located, true)), "dabc");
        assert_eq!(ids(by_overlap(&located, false)), "cabd");
    }
}
