//! Contact sheets: images × methods; with a second network the rows before, after and the signed
//! difference (the layout of Figs. 1b, 3 and 4 of the paper).

use std::path::Path;

use anyhow::Result;
use image::RgbImage;
use sib_explain::render::{Heatmap, Legend, Shading, Sheet, SheetRow, Style};

use super::overlays::{FULL_DIFFERENCE, SIGNED, over, over_grey, save};
use super::request::Input;

/// Width of a picture on a sheet.
const CELL_PX: u32 = 180;

/// Lines beside a row.
pub(super) type Label = Vec<String>;

/// Collects rows and writes a sheet whenever one is full.
#[derive(Debug)]
pub(super) struct Sheets<'e> {
    folder: &'e Path,
    /// Of the columns, one a method.
    titles: Vec<&'static str>,
    /// What the baseline and the network are called.
    names: [&'static str; 2],
    style: Style,
    images_per_sheet: usize,
    rows: Vec<SheetRow>,
    /// Whether rows are of two networks and their difference.
    has_differences: bool,
    images: usize,
    written: usize,
}

impl<'e> Sheets<'e> {
    pub(super) fn new(
        folder: &'e Path,
        titles: Vec<&'static str>,
        names: [&'static str; 2],
        style: Style,
        images_per_sheet: usize,
    ) -> Self {
        let (rows, has_differences, images, written) = (Vec::new(), false, 0, 0);
        Self {
            folder,
            titles,
            names,
            style,
            images_per_sheet,
            rows,
            has_differences,
            images,
            written,
        }
    }

    /// One row: the image and its maps.
    pub(super) fn push(
        &mut self,
        input: &Input<'_>,
        (label, maps): (Label, Vec<Heatmap>),
    ) -> Result<()> {
        let label = [label, vec![file_name(input)]].concat();
        self.add([row(label, Some(input), overlays(input, &maps, &self.style))])
    }

    /// Three rows: baseline, this network, difference.
    pub(super) fn push_pair(
        &mut self,
        input: &Input<'_>,
        before: (Label, Vec<Heatmap>),
        after: (Label, Vec<Heatmap>),
        differences: &[Heatmap],
    ) -> Result<()> {
        let named = |name: &str, label| [vec![name.to_owned()], label].concat();
        let [first, second] = self.names;
        let difference = [
            "Difference".to_owned(),
            format!("red: more by {second}"),
            format!("blue: more by {first}"),
            file_name(input),
        ];
        let over = |maps: &[Heatmap]| overlays(input, maps, &self.style);
        let first = row(named(first, before.0), Some(input), over(&before.1));
        let second = row(named(second, after.0), None, over(&after.1));
        let differences = differences.iter().map(|map| over_grey(input, map, &self.style));
        let third = row(difference.into(), None, differences.collect());
        self.has_differences = true;
        self.add([SheetRow { starts_group: true, ..first }, second, third])
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
        let titles = self.titles.iter().map(|&title| title.to_owned());
        let ends = match self.style.shading {
            Shading::Sequential(_) => ["least relevant", "most relevant"],
            Shading::Signed | Shading::SignedWithin(_) => ["against", "in favour"],
        };
        let shading = self.style.shading;
        let mut legends = vec![Legend { shading, ends: ends.map(str::to_owned) }];
        if self.has_differences {
            let [first, second] = self.names;
            let of = |name: &str| format!("{FULL_DIFFERENCE} of its range more by {name}");
            legends.push(Legend { shading: SIGNED, ends: [of(first), of(second)] });
        }
        let sheet = Sheet {
            columns: std::iter::once("Image".to_owned()).chain(titles).collect(),
            rows: std::mem::take(&mut self.rows),
            legends,
            cell_px: CELL_PX,
        };
        self.images = 0;
        self.written += 1;
        save(&sheet.render(), &self.folder.join(format!("sheet-{:02}.png", self.written)))
    }
}

/// The maps over their image.
fn overlays(input: &Input<'_>, maps: &[Heatmap], style: &Style) -> Vec<RgbImage> {
    maps.iter().map(|map| over(input, map, style)).collect()
}

fn file_name(input: &Input<'_>) -> String {
    input.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A row of the sheet, whose first picture is the image where it is `shown`.
fn row(label: Label, shown: Option<&Input<'_>>, maps: Vec<RgbImage>) -> SheetRow {
    let image = shown.map(|input| input.image.original.clone());
    let cells = std::iter::once(image).chain(maps.into_iter().map(Some)).collect();
    SheetRow { label, cells, starts_group: false }
}
