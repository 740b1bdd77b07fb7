//! Layers to build networks of, with PyTorch's parameter names, layouts and initialisation.
//!
//! All of them can be differentiated twice, as S-IB needs, and on the CPU convolution and batch
//! normalisation take their second derivatives by kernels of this project. A layer registers its variables
//! under a [`Path`](tch::nn::Path) of a [`VarStore`](tch::nn::VarStore), which trains, saves and loads them;
//! a clone of a layer computes with the same variables, and a `frozen` or `folded` copy does not follow
//! training. ReLUs go through the [`Probe`](sib_core::Probe) of the forward pass, for guided
//! backpropagation; the `forward_relu` methods do so and save passes over memory where nobody looks.
//!
//! A network of one's own is a struct of layers that is a [`Backbone`](sib_core::Backbone):
//!
//! ```
//! use sib_core::objective::SibConfig;
//! use sib_core::train::{Examples, Length, Trainer, UpdateConfig};
//! use sib_core::{Backbone, Mode, Probe};
//! use sib_models::layers::{Conv2d, ConvConfig, ConvNorm, Init, Linear};
//! use tch::{Device, Kind, Tensor, nn};
//!
//! /// Two convolutions, the second of stride 2, and a linear layer on the mean.
//! #[derive(Debug)]
//! struct SmallNet {
//!     body: [ConvNorm; 2],
//!     head: Linear,
//! }
//!
//! impl SmallNet {
//!     fn new(path: &nn::Path, classes: i64) -> Self {
//!         let body = [("first", 3, 16, 1), ("second", 16, 32, 2)].map(|(name, from, to, stride)| {
//!             let path = path / name;
//!             let config = ConvConfig { stride, ..ConvConfig::default() };
//!             ConvNorm::new(Conv2d::new(&(&path / "conv"), from, to, 3, config), &(&path / "norm"))
//!         });
//!         let head = Linear::new(&(path / "head"), 32, classes, Init::Default, Init::Zeros);
//!         Self { body, head }
//!     }
//! }
//!
//! impl Backbone for SmallNet {
//!     fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
//!         let x = self.body[0].forward_relu(images, None, mode, probe); // [B,16,H,W]
//!         let x = self.body[1].forward_relu(&x, None, mode, probe); // [B,32,H/2,W/2]
//!         let x = probe.tap("second", x);
//!         self.head.forward_pooled(&x)
//!     }
//!
//!     fn cam_layer(&self) -> Option<&str> {
//!         Some("second")
//!     }
//! }
//!
//! let variables = nn::VarStore::new(Device::Cpu);
//! let net = SmallNet::new(&variables.root(), 2);
//! let state = variables.variables().into_iter().collect();
//! let length = Length { epochs: 1, steps_per_epoch: 1 };
//! let sib = Some(SibConfig::default());
//! let mut trainer = Trainer::new(&net, state, UpdateConfig::default(), sib, length)?;
//! let images = Tensor::rand([4, 3, 16, 16], (Kind::Float, Device::Cpu));
//! trainer.backward(&Examples::new(images, Tensor::from_slice(&[0_i64, 1, 0, 1])))?;
//! trainer.update()?;
//! # Ok::<_, sib_core::Error>(())
//! ```
//!
//! A part of the network that is a [`Block`] can be computed again for its derivatives, where
//! `train.checkpoint_blocks` asks for it. [`Network`](crate::Network) adds the form that only evaluates.

mod attention;
mod batch_norm;
mod block;
mod conv;
mod conv_norm;
mod init;
mod layer_norm;
mod linear;

pub use attention::SelfAttention;
pub use batch_norm::BatchNorm2d;
pub use block::Block;
pub use conv::{Conv2d, ConvConfig};
pub use conv_norm::ConvNorm;
pub use init::Init;
pub use layer_norm::LayerNorm;
pub use linear::Linear;

pub(crate) use init::{Variable, shapes_alone};

use sib_core::{Mode, tensor};
use tch::Tensor;

/// Drops values with the given `probability` in train mode (Srivastava et al. 2014), and scales the others
/// up by as much.
pub fn dropout(x: Tensor, probability: f64, mode: Mode) -> Tensor {
    if probability > 0.0 && mode == Mode::Train { tensor::dropout(&x, probability) } else { x }
}
