//! The network and the images of a benchmark.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use sib_core::checkpoint::read_tensors;
use sib_core::device;
use sib_models::{Arch, Model, ModelOptions};
use tch::{Device, Kind, Tensor};

/// Arguments that say which network and which images.
#[derive(Debug, Args)]
pub struct InputArguments {
    /// Architecture
    #[arg(long, default_value = "resnet18")]
    arch: Arch,
    /// Weights as `import` reads them [default: random]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Tensors images [B,3,H,W], labels [B] and, for faithfulness, heatmaps [B,H,W], as safetensors
    /// [default: random]
    #[arg(long, value_name = "FILE.safetensors")]
    inputs: Option<PathBuf>,
    /// Images a batch, without --inputs
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i64).range(1..))]
    batch_size: i64,
    /// Side of the images, without --inputs
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(i64).range(32..))]
    size_px: i64,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Classes of a network with random weights.
const CLASSES: i64 = 1000;

/// What a benchmark works on.
#[derive(Debug)]
pub struct Inputs {
    /// Normalised `[B,3,H,W]`.
    pub images: Tensor,
    /// Classes `[B]`.
    pub labels: Tensor,
    /// `[B,H,W]`.
    pub heatmaps: Tensor,
}

impl InputArguments {
    /// Random images of 224 px.
    pub fn new(arch: Arch, batch_size: i64, device: &str) -> Self {
        let device = device.to_owned();
        Self { arch, weights: None, inputs: None, batch_size, size_px: 224, device }
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The device.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn device(&self) -> Result<Device> {
        Ok(device::parse(&self.device)?)
    }

    /// A new copy of the network: the same at each call.
    ///
    /// # Errors
    /// When the weights cannot be read.
    pub fn model(&self) -> Result<Model> {
        // First: a seed has libtorch look for CUDA, once and for all.
        let device = self.device()?;
        tch::manual_seed(0);
        let model = Model::new(self.arch, CLASSES, device, &ModelOptions::default())?;
        if let Some(path) = &self.weights {
            model.load_weights(path)?;
        }
        Ok(model)
    }

    /// The images.
    ///
    /// # Errors
    /// When the file cannot be read or lacks one of the tensors.
    pub fn read(&self) -> Result<Inputs> {
        let device = self.device()?;
        let Some(path) = &self.inputs else {
            tch::manual_seed(0);
            let (batch, size) = (self.batch_size, self.size_px);
            let float = (Kind::Float, device);
            return Ok(Inputs {
                images: Tensor::randn([batch, 3, size, size], float),
                labels: Tensor::arange(batch, (Kind::Int64, device)).remainder(CLASSES),
                heatmaps: Tensor::rand([batch, size, size], float),
            });
        };
        let (mut tensors, _) = read_tensors(path)?;
        let mut take = |name: &str| match tensors.remove(name) {
            Some(tensor) => Ok(tensor.to_device(device)),
            None => bail!("{}: has no tensor {name}", path.display()),
        };
        let (images, labels) = (take("images")?, take("labels")?);
        let heatmaps = take("heatmaps").unwrap_or_else(|_| images.select(1, 0));
        Ok(Inputs { images, labels, heatmaps })
    }
}
