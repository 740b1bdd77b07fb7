//! `sib-cli explain`: heatmaps of images as raw maps, overlays, contact sheets and a manifest.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use sib_explain::MethodOptions;
use sib_explain::render::{Colormap, Shading, Style};
use sib_models::Precision;

use crate::explanation::{self, Request};
use crate::processes::{self, Member};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network: a file, or the folder of a run
    #[arg(long, value_name = "CKPT")]
    checkpoint: PathBuf,
    /// A second network: rows before (this one) and after, and the signed difference
    #[arg(long, value_name = "CKPT")]
    compare: Option<PathBuf>,
    /// Images, folders of images, a .csv file with a column image, or - for paths on stdin
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    image: Vec<PathBuf>,
    /// Methods by name, or all: the paper's six and the S-IB map
    #[arg(long, value_name = "all|NAME[,NAME]...", value_delimiter = ',', default_value = "all")]
    method: Vec<String>,
    /// Class to explain: predicted, a class name or a class index
    #[arg(long, default_value = "predicted")]
    target: String,
    /// Folder to write to, new or empty
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the explanation that the folder holds
    #[arg(long)]
    overwrite: bool,
    /// Change an option of a method, as integrated-gradients.steps=100; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Images (or masked copies) of one forward pass [default: each method's own]
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    batch_size: Option<i64>,
    /// turbo, viridis, inferno, magma, plasma, cividis, grey or red-blue
    #[arg(long, default_value_t = Colormap::default())]
    colormap: Colormap,
    /// Opacity of the heatmap over the image, 0 to 1
    #[arg(long, default_value_t = Style::default().alpha)]
    alpha: f32,
    /// Images a contact sheet; 0: no sheet
    #[arg(long, default_value_t = 12)]
    sheet_images: usize,
    /// Numbers of passes without gradient (logits, score-cam): f32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    processes: processes::Arguments,
}

/// Explains every image by every method. An image that cannot be read is reported and left out; the
/// command then fails at its end.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(Member { group, device, .. }) =
        processes::join(&arguments.processes, &arguments.device)?
    else {
        return Ok(());
    };
    let mut options =
        MethodOptions { batch_size: arguments.batch_size, ..MethodOptions::default() };
    for assignment in &arguments.assignments {
        options.set(assignment)?;
    }
    let style = Style {
        shading: Shading::Sequential(arguments.colormap),
        alpha: arguments.alpha,
        ..Style::default()
    };
    let request = Request {
        checkpoint: arguments.checkpoint.clone(),
        compare: arguments.compare.clone(),
        images: arguments.image.clone(),
        methods: explanation::methods(&arguments.method)?,
        options,
        target: arguments.target.clone(),
        style,
        sheet_images: arguments.sheet_images,
        precision: arguments.precision,
        device,
    };
    explanation::run(&request, &arguments.output, arguments.overwrite, &group)
}
