//! `sib-cli predict`: the most probable classes of images.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use sib_core::data::transform::load_image;
use sib_models::Precision;
use tch::Kind;

use crate::checkpoint::Checkpoint;
use crate::images;

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network
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
    let images = images::expand(&arguments.image)?;
    let checkpoint =
        Checkpoint::open(&arguments.checkpoint, &arguments.device, arguments.precision)?;
    let output: Box<dyn Write> = match &arguments.output {
        Some(path) => {
            Box::new(std::fs::File::create(path).map_err(sib_core::Error::io("create", path))?)
        }
        None => Box::new(std::io::stdout().lock()),
    };
    let mut csv = csv::Writer::from_writer(output);
    csv.write_record(["image", "rank", "class_index", "class_name", "logit", "probability"])?;
    let mut unreadable = 0;
    for path in &images {
        let image = match load_image(path, &checkpoint.transform) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("error: {error}");
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
    match unreadable {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be read", images.len()),
    }
}
