//! Heatmaps of images as raw maps, overlays, contact sheets and a manifest: an image goes from its file to
//! the network's input, by each method to a heatmap, and from there to the folder.

pub mod folder;
pub mod manifest;
mod maps;
mod networks;
mod overlays;
mod request;
mod sheets;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use sib_core::data::transform::load_image;
use sib_explain::Method;
use tch::Tensor;

use crate::environment::Environment;
use crate::images;
use crate::progress::Progress;
use folder::Description;
use maps::Pictures;
use networks::Networks;
pub use request::Request;
use request::{CHUNK, Input};

/// Explains every image by every method into the folder at `output`, in place of the explanation there
/// where it may `overwrite` one. An image that cannot be read is reported and left out.
///
/// # Errors
/// When the folder holds something else, a file cannot be read or written, or at its end when images
/// could not be read.
pub fn run(request: &Request, output: &Path, overwrite: bool) -> Result<()> {
    folder::expect_free(output, overwrite)?;
    request.style.validate()?;
    let networks = Networks::open(request)?;
    let images = images::expand(&request.images)?;
    let stems = images::stems(&images);
    let mut description = describe(request, &networks)?;
    std::fs::create_dir_all(output).map_err(sib_core::Error::io("create", output))?;
    folder::clear(output)?;
    let mut pictures = Pictures::create(request, &networks, output)?;
    let mut progress = Progress::new("explain", images.len() as u64, 0, "images");
    let mut unreadable = 0;
    for (paths, stems) in images.chunks(CHUNK).zip(stems.chunks(CHUNK)) {
        let mut inputs = Vec::new();
        for (path, stem) in paths.iter().zip(stems) {
            match load_image(path, &networks.checkpoint.transform) {
                Ok(image) => inputs.push(Input { path, stem, image }),
                Err(error) => {
                    progress.println(&format!("error: {error}"));
                    unreadable += 1;
                }
            }
        }
        if !inputs.is_empty() {
            let batch: Vec<&Tensor> = inputs.iter().map(|input| &input.image.input).collect();
            let explained = networks.explain(&Tensor::stack(&batch, 0))?;
            pictures.write(&inputs, &explained)?;
        }
        description.images.extend(inputs.iter().map(Input::described));
        progress.advance(paths.len() as u64, String::new);
    }
    pictures.finish()?;
    description.write(output)?;
    progress.finish();
    match unreadable {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be read", images.len()),
    }
}

/// What `explanation.toml` will say, but for the images.
fn describe(request: &Request, networks: &Networks) -> Result<Description> {
    let (network, baseline) = networks.described()?;
    Ok(Description {
        target: networks.target,
        methods: request.methods.clone(),
        network,
        baseline,
        preprocessing: networks.checkpoint.meta.preprocessing.clone(),
        method_options: request.options.clone(),
        environment: Environment::of(networks.checkpoint.device),
        images: Vec::new(),
    })
}

/// The methods named, each once in the order given; `all` is the paper's six and the S-IB map.
///
/// # Errors
/// For a name that is none.
pub fn methods(names: &[String]) -> Result<Vec<Method>> {
    let mut methods = Vec::new();
    for name in names {
        match name.trim() {
            "all" => methods.extend(Method::PAPER),
            name => methods.push(name.parse()?),
        }
    }
    let mut seen = BTreeSet::new();
    methods.retain(|method: &Method| seen.insert(method.name()));
    Ok(methods)
}
