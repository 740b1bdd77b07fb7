//! Contact sheets of `explain`: images × methods; with a second network the rows before, after and
//! the signed difference (the layout of Figs. 1b, 3 and 4 of the paper).

use anyhow::Result;
use image::RgbImage;
use sib_explain::render::{Heatmap, Legend, Shading, Sheet, SheetRow, Style};

use super::{Explained, Session, Subject};

/// Width of a picture on a sheet.
const CELL_PX: u32 = 180;

/// Collects rows and writes a sheet whenever one is full.
pub(super) struct Sheets<'s> {
    session: &'s Session<'s>,
    images_per_sheet: usize,
    rows: Vec<SheetRow>,
    images: usize,
    written: usize,
}

impl<'s> Sheets<'s> {
    pub(super) fn new(session: &'s Session<'s>, images_per_sheet: usize) -> Self {
        Self { session, images_per_sheet, rows: Vec::new(), images: 0, written: 0 }
    }

    /// One row: the image and its maps.
    pub(super) fn push(
        &mut self,
        subject: &Subject<'_>,
        explained: &Explained,
        index: usize,
        maps: Vec<Heatmap>,
    ) -> Result<()> {
        let label = self.label(explained, index);
        let row = self.row(label, Some(subject), subject, &maps, &self.session.style);
        self.add([row])
    }

    /// Three rows: baseline, this network, difference.
    pub(super) fn push_pair(
        &mut self,
        subject: &Subject<'_>,
        before: (&Explained, Vec<Heatmap>),
        after: (&Explained, Vec<Heatmap>),
        index: usize,
    ) -> Result<()> {
        let differences: Vec<Heatmap> = (before.1.iter().zip(&after.1))
            .map(|(before, after)| after.difference(before))
            .collect::<Result<_, _>>()?;
        let named = |name: &str, explained| {
            let mut label = vec![name.to_owned()];
            label.extend(self.label(explained, index));
            label
        };
        let style = &self.session.style;
        let baseline = self.session.baseline.as_ref();
        let before_name = baseline.map_or("Before", |baseline| baseline.training("Before"));
        let after_name = self.session.checkpoint.training("After");
        let first =
            self.row(named(before_name, before.0), Some(subject), subject, &before.1, style);
        let second = self.row(named(after_name, after.0), None, subject, &after.1, style);
        let difference = vec!["Difference".to_owned(), "red: more".to_owned()];
        let third = self.row(difference, None, subject, &differences, &self.session.signed());
        self.add([SheetRow { starts_group: true, ..first }, second, third])
    }

    fn label(&self, explained: &Explained, index: usize) -> Vec<String> {
        let class = explained.scores.targets.int64_value(&[index as i64]);
        let probability = explained.scores.probabilities.double_value(&[index as i64]);
        vec![
            self.session.checkpoint.class_name(class).replace('_', " "),
            format!("{:.1} %", 100.0 * probability),
        ]
    }

    fn row(
        &self,
        label: Vec<String>,
        shown: Option<&Subject<'_>>,
        subject: &Subject<'_>,
        maps: &[Heatmap],
        style: &Style,
    ) -> SheetRow {
        let image: Option<RgbImage> = shown.map(|subject| subject.image.original.clone());
        let overlays = maps.iter().map(|map| Some(self.session.overlay(subject, map, style)));
        SheetRow {
            label,
            cells: std::iter::once(image).chain(overlays).collect(),
            starts_group: false,
        }
    }

    fn add<const N: usize>(&mut self, rows: [SheetRow; N]) -> Result<()> {
        if self.images_per_sheet == 0 {
            return Ok(());
        }
        self.rows.extend(rows);
        self.images += 1;
        if self.images == self.images_per_sheet { self.write() } else { Ok(()) }
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.images > 0 { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let titles = self.session.methods.iter().map(|(method, _)| method.title().to_owned());
        let ends = match self.session.style.shading {
            Shading::Sequential(_) => ["least relevant", "most relevant"],
            Shading::Signed | Shading::SignedWithin(_) => ["against", "in favour"],
        };
        let sheet = Sheet {
            columns: std::iter::once("Image".to_owned()).chain(titles).collect(),
            rows: std::mem::take(&mut self.rows),
            legend: Some(Legend {
                shading: self.session.style.shading,
                ends: ends.map(str::to_owned),
            }),
            cell_px: CELL_PX,
        };
        self.images = 0;
        self.written += 1;
        let path = self.session.output.join(format!("sheet-{:02}.png", self.written));
        self.session.save(&sheet.render(), &path)
    }
}
