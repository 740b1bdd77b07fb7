//! `sib-cli figure`: a figure of the paper from run folders, as SVG or PNG.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{methods, write_file};
use crate::error::usage;
use crate::figures::comparison::{Images, Selection};
use crate::figures::estimator::Estimator;
use crate::figures::{Figure, raster};

/// Arguments of `figure`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which of the paper's figures
    number: Number,
    /// Folder with runs, evaluations or heatmaps, at any depth
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    /// Picture to write; PNG has 300 pixels an inch
    #[arg(long, value_name = "FILE.(png|svg)")]
    output: PathBuf,
    /// Measure of information, of figures 1a and 5 [default: hsic]
    #[arg(long)]
    estimator: Option<Estimator>,
    /// Images of figures 1b, 3 and 4: how many, or their names [default: the first 2, 6, 3]
    #[arg(long, value_name = "N|NAME[,NAME]...", value_parser = Images::parse)]
    images: Option<Images>,
    /// Methods of figures 1b and 4, one of figure 3 [default: three; all; guided-backprop]
    #[arg(long, value_name = "NAME[,NAME]...", value_delimiter = ',')]
    method: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Number {
    /// Information of foreground and background per epoch
    #[value(name = "1a")]
    OneA,
    /// Heatmaps of baseline and S-IB, one column of print wide
    #[value(name = "1b")]
    OneB,
    /// One method's heatmaps of baseline and S-IB, and their signed difference
    #[value(name = "3")]
    Three,
    /// Heatmaps of baseline and S-IB by several methods
    #[value(name = "4")]
    Four,
    /// Information between the regions of image and R
    #[value(name = "5")]
    Five,
}

/// Draws the figure and writes it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let format = Format::of(&arguments.output)?;
    let figure = figure(arguments)?;
    let svg = figure.draw(&arguments.runs)?;
    match format {
        Format::Svg => write_file(&arguments.output, svg.as_bytes()),
        Format::Png => write_file(&arguments.output, &raster::to_png(&svg)?),
    }
}

/// The figure that is asked for; an option of another one is refused.
fn figure(arguments: &Arguments) -> Result<Figure> {
    let Arguments { estimator, images, method, .. } = arguments;
    let of_heatmaps = matches!(arguments.number, Number::OneB | Number::Three | Number::Four);
    if of_heatmaps && estimator.is_some() {
        return Err(usage("--estimator: only figures 1a and 5 show a measure"));
    }
    if !of_heatmaps && (images.is_some() || !method.is_empty()) {
        return Err(usage("--images, --method: only figures 1b, 3 and 4 show heatmaps"));
    }
    let selection = Selection { images: images.clone(), methods: methods(method)? };
    let estimator = estimator.unwrap_or_default();
    Ok(match arguments.number {
        Number::OneA => Figure::OneA(estimator),
        Number::OneB => Figure::OneB(selection),
        Number::Three => Figure::Three(selection),
        Number::Four => Figure::Four(selection),
        Number::Five => Figure::Five(estimator),
    })
}

/// What a picture is written as.
enum Format {
    Svg,
    Png,
}

impl Format {
    /// By the file's ending.
    fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        match ending.to_str() {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(usage(format!(
                "--output {}: expected a file that ends in .png or .svg",
                path.display()
            ))),
        }
    }
}
