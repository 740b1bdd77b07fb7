//! Where heatmaps come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sib_core::Backbone;
use sib_explain::{Explainer, Method, MethodOptions, SIbMaps, Target, explain_or_nan};
use tch::{Kind, Tensor};

use crate::error::usage;
use crate::npy;

/// Heatmaps of a batch.
#[derive(Debug)]
pub struct Heatmaps {
    /// `[B,H,W]`; all NaN for an image that the method fails on.
    pub maps: Tensor,
    /// The method's own binary prediction `[B,H,W]`, bool, where it makes one.
    pub masks: Option<Tensor>,
    /// For each image why there is no heatmap.
    pub missing: Vec<Option<String>>,
    /// For each image whether the method makes no map of it, because R has no direction; the map is
    /// flat then.
    pub undirected: Vec<bool>,
}

/// One source of heatmaps.
#[derive(Debug)]
pub enum HeatmapSource {
    /// An explainer.
    Explainer(Method, Box<dyn Explainer>),
    /// The S-IB map, whose passes other measures share.
    SIbMap,
    /// A folder with an `.npy` file `[H,W]` an image, named by its id.
    Folder(String, PathBuf),
}

impl HeatmapSource {
    /// The explainer called `method`.
    ///
    /// # Errors
    /// When an option is out of range.
    pub fn method(method: Method, options: &MethodOptions) -> Result<Self> {
        let explainer = method.build(options)?;
        Ok(match method {
            Method::SIbMap => Self::SIbMap,
            _ => Self::Explainer(method, explainer),
        })
    }

    /// The heatmaps in `folder`, which must hold one for each of `images`.
    ///
    /// # Errors
    /// When one is not there.
    pub fn folder(name: &str, folder: &Path, images: &[&str]) -> Result<Self> {
        let missing: Vec<&&str> =
            images.iter().filter(|image| file_of(folder, image).is_none()).collect();
        match missing.first() {
            None => Ok(Self::Folder(name.to_owned(), folder.to_owned())),
            Some(first) => Err(usage(format!(
                "--heatmaps {}: {} of {} heatmaps are not there, the first is {first}.npy",
                folder.display(),
                missing.len(),
                images.len()
            ))),
        }
    }

    /// The name in files.
    pub fn name(&self) -> &str {
        match self {
            Self::Explainer(method, _) => method.name(),
            Self::SIbMap => Method::SIbMap.name(),
            Self::Folder(name, _) => name,
        }
    }

    /// Heatmaps of `images` `[B,3,H,W]` with their `ids` for the logits of `targets` `[B]`;
    /// `s_ib` are the S-IB maps of the same images by the same network.
    ///
    /// # Errors
    /// When the explainer cannot work on this network at all.
    pub fn of(
        &self,
        net: &dyn Backbone,
        images: &Tensor,
        targets: &Tensor,
        ids: &[String],
        s_ib: Option<&SIbMaps>,
    ) -> Result<Heatmaps> {
        let none_missing = vec![None; ids.len()];
        let undirected = vec![false; ids.len()];
        match self {
            Self::Explainer(_, explainer) => {
                let maps = explain_or_nan(explainer.as_ref(), net, images, &Target::class(targets))
                    .with_context(|| format!("{}, batch of {}", self.name(), ids.join(", ")))?;
                Ok(Heatmaps { maps, masks: None, missing: none_missing, undirected })
            }
            Self::SIbMap => {
                let SIbMaps { density, mask, directed, .. } =
                    s_ib.context("the S-IB maps were not computed")?;
                Ok(Heatmaps {
                    maps: density.shallow_clone(),
                    masks: Some(mask.gt(0.5)),
                    missing: none_missing,
                    undirected: directed.logical_not().try_into()?,
                })
            }
            Self::Folder(_, folder) => Ok(read_all(folder, ids, images)),
        }
    }
}

/// The heatmap of `image` in `folder`: `ID.npy`, or with the ending of an image id left out.
pub fn file_of(folder: &Path, image: &str) -> Option<PathBuf> {
    let whole = folder.join(format!("{image}.npy"));
    [whole, folder.join(image).with_extension("npy")].into_iter().find(|path| path.is_file())
}

fn read_all(folder: &Path, ids: &[String], images: &Tensor) -> Heatmaps {
    let size = images.size();
    let (height, width) = (size[2], size[3]);
    let read = |id: &String| -> Result<Tensor, String> {
        let path = file_of(folder, id)
            .ok_or_else(|| format!("{}: not there any more", folder.join(id).display()))?;
        let map = npy::read(&path, [height, width]);
        map.map(|map| map.to_device(images.device()))
            .map_err(|problem| format!("{}: {problem}", path.display()))
    };
    let (mut maps, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        let (map, problem) = match read(id) {
            Ok(map) => (map, None),
            Err(problem) => {
                let options = (Kind::Float, images.device());
                (Tensor::full([height, width], f64::NAN, options), Some(problem))
            }
        };
        maps.push(map);
        missing.push(problem);
    }
    let undirected = vec![false; ids.len()];
    Heatmaps { maps: Tensor::stack(&maps, 0), masks: None, missing, undirected }
}
