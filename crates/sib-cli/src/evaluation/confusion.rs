//! Which classes images were taken for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Result;

use super::image_row::ImageRow;
use crate::foreign_text::for_spreadsheet;

/// The most classes whose matrix is written: its size grows with their square.
const MOST_CLASSES: usize = 5000;

/// The confusion matrix of an evaluation.
#[derive(Debug)]
pub struct Confusion<'c> {
    classes: &'c [String],
    /// Images by class and prediction; none where there are none.
    counts: BTreeMap<(usize, usize), u64>,
}

impl<'c> Confusion<'c> {
    /// Of `images`, each of which is there once, between `classes`. Images without a prediction do not count.
    pub fn of<'r>(images: impl Iterator<Item = &'r ImageRow>, classes: &'c [String]) -> Self {
        let known = classes.len();
        let mut counts = BTreeMap::new();
        for row in images {
            let predicted = row.predicted.and_then(|class| usize::try_from(class).ok());
            // A log that another process wrote may say anything.
            let counts_here = |predicted: &usize| {
                row.image_excluded.is_none() && *predicted < known && row.label < known
            };
            if let Some(predicted) = predicted.filter(counts_here) {
                *counts.entry((row.label, predicted)).or_default() += 1;
            }
        }
        Self { classes, counts }
    }

    /// Each class as a spreadsheet shows it, in the order of the logits.
    fn names(&self) -> impl Iterator<Item = Cow<'c, str>> {
        self.classes.iter().map(|name| for_spreadsheet(name))
    }

    /// The matrix: a row a class, a column a prediction; `None` of more than 5000 classes.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn to_csv(&self) -> Result<Option<Vec<u8>>> {
        if self.classes.len() > MOST_CLASSES {
            return Ok(None);
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_field("class")?;
        self.names().try_for_each(|name| writer.write_field(&*name))?;
        writer.write_record(None::<&[u8]>)?;
        for (class, name) in self.names().enumerate() {
            writer.write_field(&*name)?;
            for predicted in 0..self.classes.len() {
                let count = self.counts.get(&(class, predicted)).unwrap_or(&0);
                writer.write_field(count.to_string())?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(Some(writer.into_inner().map_err(csv::IntoInnerError::into_error)?))
    }

    /// Images and top-1 accuracy of each class; no accuracy where there is no image.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn by_class(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["class", "images", "correct", "top1_pct"])?;
        for (class, name) in self.names().enumerate() {
            let images: u64 = self.counts.range((class, 0)..(class + 1, 0)).map(|it| it.1).sum();
            let correct = *self.counts.get(&(class, class)).unwrap_or(&0);
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
        assert_eq!(text(confusion.to_csv().map(Option::unwrap)), matrix);
        let classes = "class,images,correct,top1_pct\na,2,1,50.0\n\"b,c\",0,0,\nd,1,1,100.0\n";
        assert_eq!(text(confusion.by_class()), classes);

        // As many classes as a strange checkpoint may have.
        let many: Vec<String> = (0..1_000_000).map(|class| class.to_string()).collect();
        let confusion = Confusion::of(rows.iter(), &many);
        assert!(confusion.to_csv().unwrap().is_none());
        assert!(text(confusion.by_class()).contains("\n2,1,1,100.0\n"));
    }
}
