//! What a figure takes from the folder that `explain --compare` wrote.

use anyhow::{Context, Result, anyhow};
use image::{DynamicImage, RgbImage, imageops};
use sib_core::data::transform::{LoadedImage, load_image};
use sib_core::data::{BBox, Transform};
use sib_explain::Method;
use sib_explain::render::{Heatmap, Style, overlay, seen_part};

use crate::error::{usage, with_hint};
use crate::explanation::folder::{Finished, Image, heatmap_file};
use crate::explanation::manifest::{self, Which};
use crate::left_out::LeftOut;
use crate::network::unlike_lengths;
use crate::npy;
use crate::results::Folders;
use crate::results::titles::arch_label;

/// Which images and methods of an explanation are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Images; the figure's own number of them where there is none.
    pub images: Option<Images>,
    /// Methods; the figure's own where there is none.
    pub methods: Vec<Method>,
}

/// A choice of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// The first so many.
    First(usize),
    /// These, by file name with or without its ending.
    Named(Vec<String>),
}

impl Images {
    /// A number, or names separated by commas.
    ///
    /// # Errors
    /// For no image.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("expected at least 1 image".to_owned()),
            Ok(number) => Ok(Self::First(number)),
            Err(_) => Ok(Self::Named(text.split(',').map(|name| name.trim().to_owned()).collect())),
        }
    }
}

/// A finished explanation with a baseline.
pub(super) struct Comparison {
    of: Finished,
    manifest: Vec<manifest::Row>,
}

impl Comparison {
    /// The only one in `folders`, which must have `methods`.
    pub(super) fn find(
        folders: &Folders,
        methods: &[Method],
        left_out: &mut LeftOut,
    ) -> Result<Self> {
        let mut found = folders.explanations(left_out);
        found.retain(|one| one.description.baseline.is_some());
        let of = match &found[..] {
            [_] => found.remove(0),
            [] => {
                let error = anyhow!("{folders}: no finished heatmaps with a baseline");
                return Err(with_hint(error, EXPLAIN));
            }
            [one, other, ..] => {
                let (one, other) = (one.path.display(), other.path.display());
                let error = anyhow!("{one} and {other}: both hold heatmaps with a baseline");
                return Err(with_hint(error, "give --runs the folder of one of them"));
            }
        };
        if let Some(method) = methods.iter().find(|method| !of.description.methods.contains(method))
        {
            let there: Vec<_> = of.description.methods.iter().map(|m| m.name()).collect();
            let error = anyhow!(
                "{}: no heatmaps by {method}, only by {}",
                of.path.display(),
                there.join(", ")
            );
            return Err(with_hint(error, EXPLAIN));
        }
        Ok(Self { manifest: manifest::read(&of.path)?, of })
    }

    /// All methods; in a narrow figure three, those of the paper's text where they are there.
    pub(super) fn default_methods(&self, narrow: bool) -> Vec<Method> {
        let mut methods = self.of.description.methods.clone();
        if narrow {
            let preferred = [Method::GuidedBackprop, Method::IntegratedGradients, Method::GradCam];
            methods.sort_by_key(|method| !preferred.contains(method));
            methods.truncate(preferred.len());
        }
        methods
    }

    /// What the two networks are called.
    pub(super) fn names(&self) -> [&'static str; 2] {
        let description = &self.of.description;
        let before = description.baseline.as_ref().map(|network| network.training);
        match (before, description.network.training) {
            (Some(before), after) if before < after => [before.title(), after.title()],
            _ => ["Before", "After"],
        }
    }

    /// For a note: for how long each of the two was trained, where that differs; empty where it does not.
    pub(super) fn lengths_note(&self) -> String {
        let description = &self.of.description;
        let networks = [Some(&description.network), description.baseline.as_ref()];
        let known = networks.into_iter().flatten();
        let known = known.filter_map(|network| Some((network.training.title(), network.epochs?)));
        unlike_lengths(known).map_or(String::new(), |words| format!(" The networks were {words}."))
    }

    pub(super) fn arch(&self) -> String {
        arch_label(&self.of.description.network.arch).1
    }

    /// The chosen images, or the first `default`.
    pub(super) fn subjects(
        &self,
        chosen: Option<&Images>,
        default: usize,
    ) -> Result<Vec<Subject<'_>>> {
        let all = &self.of.description.images;
        let images: Vec<&Image> = match chosen {
            None => all.iter().take(default).collect(),
            Some(Images::First(number)) => all.iter().take(*number).collect(),
            Some(Images::Named(names)) => {
                names.iter().map(|name| self.named(name)).collect::<Result<_>>()?
            }
        };
        if images.is_empty() {
            return Err(anyhow!("{}: holds no heatmap of any image", self.of.path.display()));
        }
        images.into_iter().map(|image| self.subject(image)).collect()
    }

    fn named(&self, name: &str) -> Result<&Image> {
        let is_it = |image: &&Image| {
            image.stem == name || image.path.file_name().is_some_and(|file| file == name)
        };
        self.of.description.images.iter().find(is_it).ok_or_else(|| {
            usage(format!("--images: {} has no heatmaps of {name}", self.of.path.display()))
        })
    }

    fn subject<'c>(&'c self, image: &'c Image) -> Result<Subject<'c>> {
        let transform = Transform::matching(&self.of.description.preprocessing)?;
        let LoadedImage { original, plan, .. } = load_image(&image.path, &transform)
            .with_context(|| format!("an image of {}", self.of.path.display()))
            .map_err(|error| with_hint(error, "run figure where explain ran, or explain again"))?;
        let path = image.path.display().to_string();
        let class = self.manifest.iter().find(|row| row.image == path);
        let class = class.map(|row| row.target_name.replace('_', " ")).unwrap_or_default();
        Ok(Subject { image, original, seen: plan.source_rect(), class })
    }

    /// One method's heatmaps of an image, before and after.
    pub(super) fn maps(&self, subject: &Subject<'_>, method: Method) -> Result<[Heatmap; 2]> {
        let read = |which: Which| -> Result<Heatmap> {
            let path = heatmap_file(&self.of.path, &subject.image.stem, method, which);
            let map = npy::read(&path, [self.of.description.preprocessing.crop_px; 2])
                .map_err(|problem| anyhow!("{}: {problem}", path.display()))?;
            Heatmap::new(&map).with_context(|| path.display().to_string())
        };
        Ok([read(Which::Baseline)?, read(Which::Checkpoint)?])
    }
}

/// How to come by heatmaps with a baseline.
const EXPLAIN: &str = "sib-cli explain --checkpoint SIB --compare BASELINE --image PATH... \
                       --method all --output DIR/heatmaps";

/// An image that is shown.
pub(super) struct Subject<'c> {
    image: &'c Image,
    original: RgbImage,
    /// What the network saw of it.
    seen: BBox,
    /// The class that its heatmaps explain.
    pub(super) class: String,
}

impl Subject<'_> {
    /// What the network saw.
    pub(super) fn seen(&self) -> RgbImage {
        seen_part(&self.original, &self.seen)
    }

    /// The same below a map, in grey: colours are those of the map alone.
    pub(super) fn tile(&self, map: &Heatmap, style: &Style) -> RgbImage {
        let grey = DynamicImage::ImageLuma8(imageops::grayscale(&self.original)).into_rgb8();
        seen_part(&overlay(&grey, map, &self.seen, style), &self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_chosen_by_number_or_name() {
        assert_eq!(Images::parse("3"), Ok(Images::First(3)));
        let names = ["a.png", "b"].map(str::to_owned).to_vec();
        assert_eq!(Images::parse("a.png, b"), Ok(Images::Named(names)));
        assert!(Images::parse("0").is_err());
    }
}
