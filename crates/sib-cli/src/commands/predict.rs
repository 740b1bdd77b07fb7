//! `sib-cli predict`: the most probable classes of images.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use sib_core::Error;
use sib_core::data::transform::load_image;
use sib_models::Precision;
use tch::Kind;

use super::{expect_ending, write_file};
use crate::checkpoint::{self, Checkpoint};
use crate::foreign_text::for_spreadsheet;
use crate::images;
use crate::network::sha256;
use crate::output;
use crate::processes::{self, Member};

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network: a file, or the folder of a run
    #[arg(long, value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Images, folders of images, a .csv file with a column image, or - for paths on stdin
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    image: Vec<PathBuf>,
    /// Classes an image
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..))]
    top: i64,
    /// CSV file [default: stdout]
    #[arg(long, value_name = "FILE.csv")]
    output: Option<PathBuf>,
    /// Print JSON, an object a line, instead of CSV
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Numbers to compute with: f32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    processes: processes::Arguments,
}

/// One class of an image.
#[derive(Debug, Serialize)]
struct Prediction {
    image: String,
    /// From 1.
    rank: i64,
    class_index: i64,
    class_name: String,
    logit: f32,
    probability: f32,
}

/// Writes image, rank, class index, class name, logit and probability as CSV. An image that cannot
/// be read is reported and left out; the command then fails at its end.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(Member { group, device, .. }) =
        processes::join(&arguments.processes, &arguments.device)?
    else {
        return Ok(());
    };
    if let Some(path) = &arguments.output {
        expect_ending("--output", path, &["csv"])?;
    }
    let images = images::expand(&arguments.image)?;
    let path = checkpoint::file(&arguments.checkpoint)?;
    let checkpoint = Checkpoint::on(device, &path, arguments.precision)?;
    if !group.is_alone() {
        let mut facts = processes::of_one_program();
        facts.push(("the checkpoint's digest".to_owned(), sha256(&path)?));
        facts.push(("the number of images".to_owned(), images.len().to_string()));
        let last = images.last().map(|path| path.display().to_string());
        facts.push(("the last image".to_owned(), last.unwrap_or_default()));
        facts.push(("--top".to_owned(), arguments.top.to_string()));
        facts.push(("--precision".to_owned(), arguments.precision.to_string()));
        group.agree(&facts)?;
    }
    // A file holds its former content until the new one is whole; stdout is written as it goes.
    let mut whole = Vec::new();
    let mut output: Box<dyn Write> = match &arguments.output {
        Some(_) => Box::new(&mut whole),
        None => output::results(),
    };
    if group.is_first() && !arguments.json {
        let mut header = csv::Writer::from_writer(Vec::new());
        header.write_record([
            "image",
            "rank",
            "class_index",
            "class_name",
            "logit",
            "probability",
        ])?;
        output.write_all(&header.into_inner().context("a row of CSV")?)?;
    }
    let mut unreadable = 0;
    for round in images.chunks(group.size()) {
        let own = round.get(group.part().index());
        let rows = own.map(|path| rows(path, &checkpoint, arguments)).transpose()?;
        // The first byte says whether the rest are rows or a fault.
        let answer = match rows {
            None => Vec::new(),
            Some(Ok(rows)) => [b"+", &rows[..]].concat(),
            Some(Err(fault)) => [b"-", fault.to_string().as_bytes()].concat(),
        };
        let answers = group.exchanged(&answer)?;
        for answer in answers.iter().filter(|_| group.is_first()) {
            match answer.split_first() {
                None => {}
                Some((b'+', rows)) => output.write_all(rows).and_then(|()| output.flush())?,
                Some((_, fault)) => {
                    output::error(format_args!("error: {}", String::from_utf8_lossy(fault)));
                    unreadable += 1;
                }
            }
        }
    }
    drop(output);
    if let Some(path) = arguments.output.as_ref().filter(|_| group.is_first()) {
        write_file(path, &whole)?;
    }
    match unreadable {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be read", images.len()),
    }
}

/// The most probable classes of the image at `path` as lines, or why it cannot be read.
fn rows(
    path: &Path,
    checkpoint: &Checkpoint,
    Arguments { top, json, .. }: &Arguments,
) -> Result<Result<Vec<u8>, Error>> {
    let image = match load_image(path, &checkpoint.transform) {
        Ok(image) => image,
        Err(fault) => return Ok(Err(fault)),
    };
    let logits = checkpoint.logits(&image.input.unsqueeze(0)).squeeze_dim(0);
    let probabilities = logits.softmax(-1, Kind::Double);
    let top = (*top).min(checkpoint.model.num_classes());
    let (_, classes) = logits.topk(top, -1, true, true);
    let predictions = (0..top).map(|rank| {
        let class = classes.int64_value(&[rank]);
        Prediction {
            image: path.display().to_string(),
            rank: rank + 1,
            class_index: class,
            class_name: checkpoint.class_name(class),
            logit: logits.double_value(&[class]) as f32,
            probability: probabilities.double_value(&[class]) as f32,
        }
    });
    if *json {
        let lines = predictions.map(|it| Ok(serde_json::to_string(&it)? + "\n"));
        return Ok(Ok(lines.collect::<Result<String>>()?.into_bytes()));
    }
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for mut prediction in predictions {
        for text in [&mut prediction.image, &mut prediction.class_name] {
            *text = for_spreadsheet(text).into_owned();
        }
        csv.serialize(prediction)?;
    }
    Ok(Ok(csv.into_inner().context("a row of CSV")?))
}
