//! Which classes images were taken for.

use std::borrow::Cow;

use anyhow::Result;

use super::image_row::ImageRow;
use crate::foreign_text::for_spreadsheet;

/// The confusion matrix of an evaluation.
#[derive(Debug)]
pub struct Confusion<'c> {
    classes: &'c [String],
    /// Images by class and prediction, row by row.
    counts: Vec<u64>,
}

impl<'c> Confusion<'c> {
    /// Of `images`, each of which is there once, between `classes`. Images without a prediction do not count.
    pub fn of<'r>(images: impl Iterator<Item = &'r ImageRow>, classes: &'c [String]) -> Self {
        let known = classes.len();
        let mut counts = vec![0; known * known];
        for row in images {
            let predicted = row.predicted.and_then(|class| usize::try_from(class).ok());
            // A log that another process wrote may say anything.
            let counts_here = |predicted: &usize| {
                row.image_excluded.is_none() && *predicted < known && row.label < known
            };
            if let Some(predicted) = predicted.filter(counts_here) {
                counts[row.label * known + predicted] += 1;
            }
        }
        Self { classes, counts }
    }

    /// Each class with its predictions, in the order of the logits.
    fn rows(&self) -> impl Iterator<Item = (usize, Cow<'c, str>, &[u64])> {
        let rows = self.counts.chunks(self.classes.len().max(1));
        self.classes
            .iter()
            .zip(rows)
            .enumerate()
            .map(|(place, (name, row))| (place, for_spreadsheet(name), row))
    }

    /// The matrix: a row a class, a column a prediction.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(
            ["class".into()]
                .into_iter()
                .chain(self.rows().map(|row| row.1))
                .map(|it: Cow<'_, str>| it.into_owned()),
        )?;
        for (_, name, row) in self.rows() {
            let counts = row.iter().map(u64::to_string);
            writer.write_record([name.into_owned()].into_iter().chain(counts))?;
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }

    /// Images and top-1 accuracy of each class; no accuracy where there is no image.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn by_class(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["class", "images", "correct", "top1_pct"])?;
        for (place, name, row) in self.rows() {
            let (images, correct) = (row.iter().sum::<u64>(), row[place]);
            let top1 = (images > 0).then(|| 100.0 * correct as f64 / images as f64);
            writer.serialize((name, images, correct, top1))?;
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_by_class_and_prediction() {
        let row = |label, predicted| ImageRow { label, predicted, ..ImageRow::default() };
        let unreadable =
            ImageRow { image_excluded: Some("unreadable_image".to_owned()), ..row(0, None) };
        let rows = [row(0, Some(0)), row(0, Some(2)), row(2, Some(2)), row(2, None), unreadable];
        let classes = ["a", "b,c", "d"].map(str::to_owned);
        let confusion = Confusion::of(rows.iter(), &classes);
        let text = |csv: Result<Vec<u8>>| String::from_utf8(csv.unwrap()).unwrap();
        let matrix = "class,a,\"b,c\",d\na,1,0,1\n\"b,c\",0,0,0\nd,0,0,1\n";
        assert_eq!(text(confusion.to_csv()), matrix);
        let classes = "class,images,correct,top1_pct\na,2,1,50.0\n\"b,c\",0,0,\nd,1,1,100.0\n";
        assert_eq!(text(confusion.by_class()), classes);
    }
}
