//! Figures 1b, 3 and 4: heatmaps before and after, from the folder that `explain --compare` wrote.

use anyhow::Result;
use image::RgbImage;
use sib_explain::Method;
use sib_explain::render::{Colormap, Heatmap, Shading, Style};

use super::Drawn;
use super::comparison::{Comparison, Selection};
use crate::draw::grid::{Cell, ColourBar, Grid, Row};
use crate::draw::panels::{DOUBLE_MM, SINGLE_MM};
use crate::error::usage;
use crate::left_out::LeftOut;
use crate::results::Folders;

/// How maps are laid over images: a colour map that is even in lightness.
const STYLE: Style =
    Style { shading: Shading::Sequential(Colormap::Inferno), alpha: 0.6, outlier_pct: 1.0 };

/// Figure 3: one method on several images, with the signed difference.
///
/// # Errors
/// When no folder of `folders` holds what is asked for, or an image is no longer there.
pub(super) fn draw_differences(
    folders: &Folders,
    selection: &Selection,
    left_out: &mut LeftOut,
) -> Result<Drawn> {
    let method = match selection.methods[..] {
        [] => Method::GuidedBackprop,
        [method] => method,
        _ => return Err(usage("--method: figure 3 shows one method")),
    };
    let comparison = Comparison::find(folders, &[method], left_out)?;
    let subjects = comparison.subjects(selection.images.as_ref(), 6)?;
    let mut pairs = Vec::new();
    for subject in &subjects {
        pairs.push(comparison.maps(subject, method)?);
    }
    let differences: Vec<Heatmap> =
        pairs.iter().map(|[before, after]| after.difference(before)).collect::<Result<_, _>>()?;
    let magnitude = common_magnitude(&differences);
    let signed = Style { shading: Shading::SignedWithin(magnitude), ..STYLE };
    let [before, after] = comparison.names();
    let row = |label: &str, tile: &dyn Fn(usize) -> RgbImage| Row {
        label: label.to_owned(),
        cells: (0..subjects.len()).map(|number| Cell::Picture(tile(number))).collect(),
        starts_group: false,
    };
    let of_pair = |which: usize| {
        let (subjects, pairs) = (&subjects, &pairs);
        move |number: usize| subjects[number].tile(&pairs[number][which], &STYLE)
    };
    let note = format!(
        "{}, {}; named is the class that is explained. Each map is scaled to its own range, 0 to \
         1; the difference is that of the scaled maps, on one scale for all images.{}",
        method.title(),
        comparison.arch(),
        comparison.lengths_note()
    );
    let grid = Grid {
        width_mm: DOUBLE_MM,
        titles: subjects.iter().map(|subject| subject.class.clone()).collect(),
        rows: vec![
            row("Input", &|number| subjects[number].seen()),
            row(before, &of_pair(0)),
            row(after, &of_pair(1)),
            row("Difference", &|number| subjects[number].tile(&differences[number], &signed)),
        ],
        bars: vec![
            relevance(format!("Relevance: {before}, {after}")),
            ColourBar {
                title: format!("Difference: {after} − {before}"),
                shading: signed.shading,
                ends: [format!("−{magnitude:.2}"), format!("+{magnitude:.2}")],
            },
        ],
    };
    Ok(Drawn { note, over: Box::new(move |note| grid.to_svg(note)) })
}

/// Figures 4 and, narrow, 1b: several methods, each image before and after.
///
/// # Errors
/// As [`draw_differences`].
pub(super) fn draw_methods(
    folders: &Folders,
    selection: &Selection,
    narrow: bool,
    left_out: &mut LeftOut,
) -> Result<Drawn> {
    let comparison = Comparison::find(folders, &selection.methods, left_out)?;
    let methods = match &selection.methods[..] {
        [] => comparison.default_methods(narrow),
        chosen => chosen.to_vec(),
    };
    let subjects = comparison.subjects(selection.images.as_ref(), if narrow { 2 } else { 3 })?;
    let mut rows = Vec::new();
    for subject in &subjects {
        let mut cells: [Vec<Cell>; 2] =
            [vec![Cell::Picture(subject.seen())], vec![Cell::Words(subject.class.clone())]];
        for &method in &methods {
            let maps = comparison.maps(subject, method)?;
            for (cells, map) in cells.iter_mut().zip(&maps) {
                cells.push(Cell::Picture(subject.tile(map, &STYLE)));
            }
        }
        for (number, (label, cells)) in comparison.names().into_iter().zip(cells).enumerate() {
            rows.push(Row { label: label.to_owned(), cells, starts_group: number == 0 });
        }
    }
    let note = format!(
        "{}; named is the class that is explained. Each map is scaled to its own range.{}",
        comparison.arch(),
        comparison.lengths_note()
    );
    let titles = methods.iter().map(|method| method.title().to_owned());
    let grid = Grid {
        width_mm: if narrow { SINGLE_MM } else { DOUBLE_MM },
        titles: std::iter::once("Input".to_owned()).chain(titles).collect(),
        rows,
        bars: vec![relevance("Relevance".to_owned())],
    };
    Ok(Drawn { note, over: Box::new(move |note| grid.to_svg(note)) })
}

fn relevance(title: String) -> ColourBar {
    let ends = ["least", "most"].map(str::to_owned);
    ColourBar { title, shading: STYLE.shading, ends }
}

/// The magnitude that 1 % of the pixels of all differences exceed: ends of a common scale.
fn common_magnitude(differences: &[Heatmap]) -> f32 {
    let mut magnitudes: Vec<f32> =
        differences.iter().flat_map(Heatmap::values).map(|value| value.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let cut = magnitudes.get(magnitudes.len() * 99 / 100).copied().unwrap_or_default();
    // Two digits, as they are printed.
    ((100.0 * cut).ceil() / 100.0).max(0.01)
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    #[test]
    fn differences_share_a_scale_without_outliers() {
        let mut values = vec![0.0_f32; 999];
        values.extend([-0.5; 20]);
        values.push(1.0);
        let map = Heatmap::new(&Tensor::from_slice(&values).reshape([1, 1020])).unwrap();
        assert_eq!(common_magnitude(&[map]), 0.5);
        let none = Heatmap::new(&Tensor::from_slice(&[0.0_f32; 4]).reshape([2, 2])).unwrap();
        assert_eq!(common_magnitude(&[none]), 0.01);
    }
}
