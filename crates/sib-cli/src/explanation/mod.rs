//! Heatmaps of images as raw maps, overlays, contact sheets and a manifest: an image goes from its file to
//! the network's input, by each method to a heatmap, and from there to the folder.

pub mod folder;
pub mod manifest;
mod maps;
mod networks;
mod overlays;
mod request;
mod sharing;
mod sheets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sib_core::data::transform::load_image;
use sib_core::dotted;
use sib_core::group::Group;
use sib_explain::Method;
use tch::Tensor;

use crate::environment::Environment;
use crate::images;
use crate::note;
use crate::output::count;
use crate::processes;
use crate::progress::Progress;
use folder::Description;
use maps::Pictures;
use networks::Networks;
pub use request::Request;
use request::{CHUNK, Input};

/// Explains every image by every method into the folder at `output`, in place of the explanation there
/// where it may `overwrite` one. An image that cannot be read is reported and left out. The processes of `group`
/// share the images; the first writes the folder.
///
/// # Errors
/// When the folder holds something else, a file cannot be read or written, or at its end when images
/// could not be read; where another process does not take part.
pub fn run(request: &Request, output: &Path, overwrite: bool, group: &Group) -> Result<()> {
    if group.is_first() {
        folder::expect_free(output, overwrite)?;
    }
    request.style.validate()?;
    let networks = Networks::open(request)?;
    let images = images::expand(&request.images)?;
    let stems = images::stems(&images);
    let mut description = describe(request, &networks)?;
    group.agree(&facts(&description, &images)?)?;
    let (mut pictures, mut lock) = (None, None);
    if group.is_first() {
        lock = Some(folder::begin(output, overwrite)?);
        pictures = Some(Pictures::create(request, &networks, output)?);
    }
    let mut progress = Progress::new("explain", images.len() as u64, 0, "images");
    let mut unreadable = 0;
    let chunks: Vec<_> = images.chunks(CHUNK).zip(stems.chunks(CHUNK)).collect();
    for round in chunks.chunks(group.size()) {
        let mut own = round.get(group.part().index()).map(|&chunk| inputs(chunk, &networks));
        let explained = own.as_ref().filter(|own| !own.inputs.is_empty()).map(|own| {
            let batch: Vec<&Tensor> = own.inputs.iter().map(|input| &input.image.input).collect();
            networks.explain(&Tensor::stack(&batch, 0))
        });
        let all = sharing::gathered(group, explained.transpose()?)?;
        let Some(pictures) = &mut pictures else { continue };
        for (&chunk, explained) in round.iter().zip(all) {
            let Inputs { inputs, faults } = own.take().unwrap_or_else(|| inputs(chunk, &networks));
            faults.iter().for_each(|fault| progress.error(&fault.to_string()));
            unreadable += faults.len();
            if let Some(explained) = explained {
                pictures.write(&inputs, &explained)?;
            }
            description.images.extend(inputs.iter().map(Input::described));
            progress.advance(chunk.0.len() as u64, String::new);
        }
    }
    let Some(pictures) = pictures else { return Ok(()) };
    pictures.finish()?;
    description.write(output)?;
    drop(lock);
    progress.finish();
    let (images_of, methods) = (description.images.len() as u64, request.methods.len() as u64);
    note!(
        "written: {}: heatmaps of {} by {}",
        output.display(),
        count(images_of, "image"),
        count(methods, "method")
    );
    match unreadable {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be read", images.len()),
    }
}

/// The images of a chunk that can be read, and what is wrong with the others.
struct Inputs<'a> {
    inputs: Vec<Input<'a>>,
    faults: Vec<sib_core::Error>,
}

fn inputs<'a>((paths, stems): (&'a [PathBuf], &'a [String]), networks: &Networks) -> Inputs<'a> {
    let (mut inputs, mut faults) = (Vec::new(), Vec::new());
    for (path, stem) in paths.iter().zip(stems) {
        match load_image(path, &networks.checkpoint.transform) {
            Ok(image) => inputs.push(Input { path, stem, image }),
            Err(error) => faults.push(error),
        }
    }
    Inputs { inputs, faults }
}

/// What processes have to agree on: all that is explained, by what.
fn facts(description: &Description, images: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let mut facts = processes::of_one_program();
    let is_shared = |key: &str| !key.starts_with("environment.");
    let settings = dotted::of(description, "")?;
    facts.extend(settings.into_iter().filter(|(key, _)| is_shared(key)));
    facts.push(("the number of images".to_owned(), images.len().to_string()));
    let last = images.last().map(|path| path.display().to_string());
    facts.push(("the last image".to_owned(), last.unwrap_or_default()));
    Ok(facts)
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
