//! Pictures within the page: photographs of datasets and contact sheets, as JPEG data URIs.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use sib_core::data::{self, DataOptions, Dataset};

use crate::evaluation::settings::Settings;

/// Longer side of a photograph on the page.
pub(super) const PHOTOGRAPH_PX: u32 = 160;

/// The picture as a data URI, made smaller where it is wider than `width` or higher than `height`.
pub(super) fn data_uri(picture: &RgbImage, width: u32, height: u32, quality: u8) -> Option<String> {
    let scale = f64::min(
        f64::from(width) / f64::from(picture.width()),
        f64::from(height) / f64::from(picture.height()),
    );
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    if scale < 1.0 {
        let side = |px: u32| ((f64::from(px) * scale).round() as u32).max(1);
        let (width, height) = (side(picture.width()), side(picture.height()));
        resize(picture, width, height, FilterType::Triangle).write_with_encoder(encoder).ok()?;
    } else {
        picture.write_with_encoder(encoder).ok()?;
    }
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}

/// The images of the datasets that evaluations are of; each dataset is opened once.
#[derive(Debug, Default)]
pub(super) struct Photographs {
    opened: BTreeMap<String, Rc<Opened>>,
}

/// The images of one dataset by their ids.
#[derive(Debug)]
pub(super) struct Opened {
    dataset: Result<Dataset, String>,
    places: BTreeMap<String, usize>,
}

impl Photographs {
    /// The dataset of an evaluation with these settings, as far as it is still there.
    pub(super) fn of(&mut self, settings: &Settings) -> Rc<Opened> {
        let Settings { data, root, split, allow_missing, synthetic, .. } = settings;
        let key = format!("{data} {root:?} {split} {allow_missing} {synthetic:?}");
        let open = || {
            let options = DataOptions {
                allow_missing: *allow_missing,
                synthetic: synthetic.clone().unwrap_or_default(),
            };
            let root = root.as_deref().unwrap_or(Path::new(""));
            Rc::new(Opened::new(data::open(*data, root, *split, &options)))
        };
        Rc::clone(self.opened.entry(key).or_insert_with(open))
    }
}

impl Opened {
    fn new(dataset: sib_core::Result<Dataset>) -> Self {
        let dataset = dataset.map_err(|error| error.to_string());
        let records = dataset.iter().flat_map(|dataset| &dataset.records);
        let places = records.enumerate().map(|(place, record)| (record.id.clone(), place));
        Self { places: places.collect(), dataset }
    }

    /// Why there are no images, where there are none.
    pub(super) fn problem(&self) -> Option<&str> {
        self.dataset.as_ref().err().map(String::as_str)
    }

    /// The image called `id`, small; `None` where it is not there or cannot be decoded.
    pub(super) fn thumbnail(&self, id: &str) -> Option<String> {
        let dataset = self.dataset.as_ref().ok()?;
        let picture = dataset.records[*self.places.get(id)?].source.load().ok()?;
        data_uri(&picture, PHOTOGRAPH_PX, PHOTOGRAPH_PX, 80)
    }

    /// The class of the image called `id`.
    pub(super) fn class_of(&self, id: &str) -> Option<&str> {
        let dataset = self.dataset.as_ref().ok()?;
        let record = &dataset.records[*self.places.get(id)?];
        dataset.classes.get(record.label).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(uri: &str) -> RgbImage {
        let encoded = uri.strip_prefix("data:image/jpeg;base64,").unwrap();
        image::load_from_memory(&STANDARD.decode(encoded).unwrap()).unwrap().into_rgb8()
    }

    #[test]
    fn pictures_keep_their_shape_and_are_never_enlarged() {
        let wide = RgbImage::from_pixel(400, 100, image::Rgb([200, 30, 30]));
        let small = decoded(&data_uri(&wide, 160, 160, 90).unwrap());
        assert_eq!(small.dimensions(), (160, 40));
        assert!(small.get_pixel(80, 20).0[0].abs_diff(200) < 8);
        assert_eq!(decoded(&data_uri(&wide, 900, 900, 90).unwrap()).dimensions(), (400, 100));
    }
}
