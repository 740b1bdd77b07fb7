//! `sib-cli figure`: a figure of the paper from run folders, as SVG or PNG.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::found::Found;
use super::{expect_ending, write_file};
use crate::draw::raster;
use crate::error::usage;
use crate::explanation;
use crate::figures::Figure;
use crate::figures::comparison::{Images, Selection};
use crate::figures::estimator::{Estimator, Shown};
use crate::left_out::LeftOut;

/// Arguments of `figure`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which of the paper's figures
    number: Number,
    #[command(flatten)]
    found: Found,
    /// Picture to write, PNG with 300 pixels an inch; repeatable, drawn once
    #[arg(long, value_name = "FILE.(png|svg)", required = true)]
    output: Vec<PathBuf>,
    /// Measure of information, of figures 1a and 5 [default: hsic]
    #[arg(long)]
    estimator: Option<Estimator>,
    /// Take off what random pairs of image and R come to, in figures 1a and 5
    #[arg(long)]
    above_random: bool,
    /// Images of figures 1b, 3 and 4: how many, or their names [default: the first 2, 6, 3]
    #[arg(long, value_name = "N|NAME[,NAME]...", value_parser = Images::parse)]
    images: Option<Images>,
    /// Methods of figures 1b and 4, one of figure 3 [default: three; all; guided-backprop]
    #[arg(long, value_name = "NAME[,NAME]...", value_delimiter = ',')]
    method: Vec<String>,
    /// Leave what the reader must know to the caption: it goes into a .txt file beside each picture
    #[arg(long)]
    no_note: bool,
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
    for path in &arguments.output {
        expect_ending("--output", path, &["png", "svg"])?;
    }
    let mut left_out = LeftOut::default();
    let folders = arguments.found.folders(&mut left_out)?;
    let drawn = figure(arguments)?.draw(&folders, &mut left_out)?;
    let svg = if arguments.no_note { drawn.without_note()? } else { drawn.with_note()? };
    for path in &arguments.output {
        let is_svg = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
        let picture = if is_svg { svg.clone().into_bytes() } else { raster::to_png(&svg)? };
        write_file(path, &picture)?;
        if arguments.no_note {
            write_file(&path.with_extension("txt"), format!("{}\n", drawn.note).as_bytes())?;
        }
    }
    left_out.expect_none()
}

/// The figure that is asked for; an option of another one is refused.
fn figure(arguments: &Arguments) -> Result<Figure> {
    let Arguments { estimator, images, method, .. } = arguments;
    let of_heatmaps = matches!(arguments.number, Number::OneB | Number::Three | Number::Four);
    if of_heatmaps && (estimator.is_some() || arguments.above_random) {
        return Err(usage("--estimator, --above-random: only figures 1a and 5 show a measure"));
    }
    if !of_heatmaps && (images.is_some() || !method.is_empty()) {
        return Err(usage("--images, --method: only figures 1b, 3 and 4 show heatmaps"));
    }
    let selection = Selection { images: images.clone(), methods: explanation::methods(method)? };
    let estimator = estimator.unwrap_or_default();
    let shown = Shown { estimator, above_random: arguments.above_random };
    Ok(match arguments.number {
        Number::OneA => Figure::OneA(shown),
        Number::OneB => Figure::OneB(selection),
        Number::Three => Figure::Three(selection),
        Number::Four => Figure::Four(selection),
        Number::Five => Figure::Five(shown),
    })
}
