//! What `explain` writes of each image: raw maps, overlays and rows of the manifest.

use std::path::Path;

use anyhow::{Context, Result};
use sib_explain::render::{Heatmap, Shading, Style, overlay};

use super::{Explained, Session, Subject};
use crate::explanation;
use crate::explanation::manifest::{Manifest, Row, Which};
use crate::note;

impl Session<'_> {
    /// Raw maps, overlays and manifest rows of one image; returns the maps.
    pub(super) fn write(
        &self,
        index: usize,
        subject: &Subject<'_>,
        which: Which,
        explained: &Explained,
        manifest: &mut Manifest,
    ) -> Result<Vec<Heatmap>> {
        let (place, suffix) = (index as i64, which.suffix());
        let class = explained.scores.targets.int64_value(&[place]);
        let mut maps = Vec::new();
        for ((method, _), heatmaps) in self.methods.iter().zip(&explained.heatmaps) {
            let raw = heatmaps.maps.get(place).to_kind(tch::Kind::Float).contiguous();
            let heatmap = Heatmap::new(&raw)
                .with_context(|| format!("{}: {method}", subject.path.display()))?;
            let npy = explanation::heatmap_file(self.output, subject.stem, *method, which);
            raw.write_npy(&npy).with_context(|| format!("{}: cannot write", npy.display()))?;
            let overlay = self.overlay(subject, &heatmap, &self.style);
            self.save(&overlay, &npy.with_extension("png"))?;
            if heatmap.is_flat() {
                note!("{}: the {method}{suffix} map is flat", subject.path.display());
            }
            let (min, max) = heatmap.range();
            let error = heatmaps.completeness_error.as_ref();
            manifest.push(&Row {
                image: subject.path.display().to_string(),
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

    pub(super) fn write_differences(
        &self,
        subject: &Subject<'_>,
        before: &[Heatmap],
        after: &[Heatmap],
    ) -> Result<()> {
        for (((method, _), before), after) in self.methods.iter().zip(before).zip(after) {
            let difference = after.difference(before)?;
            let path = self.output.join(format!("{}.{method}.difference.png", subject.stem));
            self.save(&self.overlay(subject, &difference, &self.signed()), &path)?;
        }
        Ok(())
    }

    pub(super) fn signed(&self) -> Style {
        Style { shading: Shading::Signed, ..self.style }
    }

    pub(super) fn overlay(
        &self,
        subject: &Subject<'_>,
        map: &Heatmap,
        style: &Style,
    ) -> image::RgbImage {
        overlay(&subject.image.original, map, &subject.image.plan.source_rect(), style)
    }

    pub(super) fn save(&self, picture: &image::RgbImage, path: &Path) -> Result<()> {
        picture.save(path).with_context(|| format!("{}: cannot write", path.display()))
    }
}
