//! What is written of each image: raw maps, overlays and rows of the manifest, then contact sheets.

use std::path::Path;

use anyhow::{Context, Result};
use sib_explain::Method;
use sib_explain::render::{Heatmap, Style};
use tch::Kind;

use super::folder::heatmap_file;
use super::manifest::{Manifest, Row, Which};
use super::networks::{Explained, Networks, OfNetwork};
use super::overlays::{over, over_grey, save};
use super::request::{Input, Request};
use super::sheets::{Label, Sheets};
use crate::checkpoint::Checkpoint;
use crate::note;
use crate::npy;

/// The folder that an explanation is written to.
#[derive(Debug)]
pub(super) struct Pictures<'e> {
    folder: &'e Path,
    /// The network, whose classes the maps are of.
    checkpoint: &'e Checkpoint,
    methods: &'e [Method],
    /// Whether the class is the user's choice and not the network's.
    is_asked: bool,
    style: Style,
    manifest: Manifest,
    sheets: Sheets<'e>,
}

impl<'e> Pictures<'e> {
    /// Begins in `folder`, which is there.
    pub(super) fn create(
        request: &'e Request,
        networks: &'e Networks,
        folder: &'e Path,
    ) -> Result<Self> {
        let Networks { checkpoint, baseline, .. } = networks;
        let before = baseline.as_ref().map_or("Before", |baseline| baseline.training("Before"));
        let names = [before, checkpoint.training("After")];
        let titles = request.methods.iter().map(|method| method.title()).collect();
        Ok(Self {
            folder,
            checkpoint,
            methods: &request.methods,
            is_asked: networks.target.is_some(),
            style: request.style,
            manifest: Manifest::create(folder)?,
            sheets: Sheets::new(folder, titles, names, request.style, request.sheet_images),
        })
    }

    /// Writes the heatmaps of a chunk of images.
    pub(super) fn write(&mut self, inputs: &[Input<'_>], explained: &Explained) -> Result<()> {
        let Explained { ours, theirs } = explained;
        for (index, input) in inputs.iter().enumerate() {
            let after = self.write_maps(index, input, Which::Checkpoint, ours)?;
            let after = (self.label(ours, index), after);
            match theirs {
                None => self.sheets.push(input, after)?,
                Some(theirs) => {
                    let before = self.write_maps(index, input, Which::Baseline, theirs)?;
                    let difference = self.write_differences(input, &before, &after.1)?;
                    let before = (self.label(theirs, index), before);
                    self.sheets.push_pair(input, before, after, &difference)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<()> {
        self.sheets.finish()?;
        self.manifest.finish()
    }

    /// Class and probability, and whether the class was asked for, as they stand beside the maps.
    fn label(&self, explained: &OfNetwork, index: usize) -> Label {
        let class = explained.scores.targets.int64_value(&[index as i64]);
        let probability = explained.scores.probabilities.double_value(&[index as i64]);
        let mut label = vec![
            self.checkpoint.class_name(class).replace('_', " "),
            format!("{:.1} %", 100.0 * probability),
        ];
        if self.is_asked {
            label.push("as asked".to_owned());
        }
        label
    }

    /// Raw maps, overlays and manifest rows of one image; returns the maps.
    fn write_maps(
        &mut self,
        index: usize,
        input: &Input<'_>,
        which: Which,
        explained: &OfNetwork,
    ) -> Result<Vec<Heatmap>> {
        let (place, suffix) = (index as i64, which.suffix());
        let class = explained.scores.targets.int64_value(&[place]);
        let mut maps = Vec::new();
        for (method, heatmaps) in self.methods.iter().zip(&explained.heatmaps) {
            let raw = heatmaps.maps.get(place).to_kind(Kind::Float).contiguous();
            let heatmap = Heatmap::new(&raw)
                .with_context(|| format!("{}: {method}", input.path.display()))?;
            let npy = heatmap_file(self.folder, input.stem, *method, which);
            npy::write(&npy, &raw)?;
            save(&over(input, &heatmap, &self.style), &npy.with_extension("png"))?;
            if heatmap.is_flat() {
                note!("{}: the {method}{suffix} map is flat", input.path.display());
            }
            let (min, max) = heatmap.range();
            let error = heatmaps.completeness_error.as_ref();
            self.manifest.push(Row {
                image: input.path.display().to_string(),
                method: *method,
                checkpoint: which,
                target_index: class,
                target_name: self.checkpoint.class_name(class),
                probability: explained.scores.probabilities.double_value(&[place]) as f32,
                min,
                max,
                flat: heatmap.is_flat(),
                completeness_error: error.map(|error| error.double_value(&[place]) as f32),
                seconds: (heatmaps.seconds_an_image * 1e4).round() / 1e4,
            })?;
            maps.push(heatmap);
        }
        Ok(maps)
    }

    /// Overlays of what the second map has more than the first; returns the differences.
    fn write_differences(
        &self,
        input: &Input<'_>,
        before: &[Heatmap],
        after: &[Heatmap],
    ) -> Result<Vec<Heatmap>> {
        let mut differences = Vec::new();
        for ((method, before), after) in self.methods.iter().zip(before).zip(after) {
            let difference = after.difference(before)?;
            let path = self.folder.join(format!("{}.{method}.difference.png", input.stem));
            save(&over_grey(input, &difference, &self.style), &path)?;
            differences.push(difference);
        }
        Ok(differences)
    }
}
