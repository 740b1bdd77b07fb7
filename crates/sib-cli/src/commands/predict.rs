//! `sib-cli predict`: the most probable classes of images.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use sib_core::data::transform::load_image;
use sib_models::Precision;
use tch::Kind;

use super::{expect_ending, write_file};
use crate::checkpoint::{self, Checkpoint};
use crate::images;
use crate::note;

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network: a file, or the folder of a run
    #[arg(long, value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Images, or folders of images
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    image: Vec<PathBuf>,
    /// Classes an image
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..))]
    top: i64,
    /// CSV file [default: stdout]
    #[arg(long, value_name = "FILE.csv")]
    output: Option<PathBuf>,
    /// Numbers to compute with: f32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Writes image, rank, class index, class name, logit and probability as CSV. An image that cannot
/// be read is reported and left out; the command then fails at its end.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.output {
        expect_ending("--output", path, &["csv"])?;
    }
    let images = images::expand(&arguments.image)?;
    let path = checkpoint::file(&arguments.checkpoint)?;
    let checkpoint = Checkpoint::open(&path, &arguments.device, arguments.precision)?;
    // A file holds its former content until the new one is whole; stdout is written as it goes.
    let mut whole = Vec::new();
    let output: Box<dyn Write> = match &arguments.output {
        Some(_) => Box::new(&mut whole),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut csv = csv::Writer::from_writer(output);
    csv.write_record(["image", "rank", "class_index", "class_name", "logit", "probability"])?;
    let mut unreadable = 0;
    for path in &images {
        let image = match load_image(path, &checkpoint.transform) {
            Ok(image) => image,
            Err(error) => {
                note!("error: {error}");
                unreadable += 1;
                continue;
            }
        };
        let logits = checkpoint.logits(&image.input.unsqueeze(0)).squeeze_dim(0);
        let probabilities = logits.softmax(-1, Kind::Double);
        let top = arguments.top.min(checkpoint.model.num_classes());
        let (_, classes) = logits.topk(top, -1, true, true);
        for rank in 0..top {
            let class = classes.int64_value(&[rank]);
            csv.serialize((
                path.display().to_string(),
                rank + 1,
                class,
                checkpoint.class_name(class),
                logits.double_value(&[class]) as f32,
                probabilities.double_value(&[class]) as f32,
            ))?;
        }
        csv.flush()?;
    }
    drop(csv);
    if let Some(path) = &arguments.output {
        write_file(path, &whole)?;
    }
    match unreadable {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be read", images.len()),
    }
}
