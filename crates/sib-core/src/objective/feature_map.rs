//! Where in a network R is taken (decision B4).

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{Error, Probe, Result};

/// What R is the derivative with respect to; in text `image` or the name of a feature map.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum At {
    /// The image, as in the paper.
    #[default]
    Image,
    /// The feature map that a [`Probe`] sees under this name. One that is averaged over its places at once has the
    /// same R at each, of which no mask can be made.
    Layer(String),
}

const IMAGE: &str = "image";

impl From<String> for At {
    fn from(name: String) -> Self {
        if name == IMAGE { Self::Image } else { Self::Layer(name) }
    }
}

impl From<At> for String {
    fn from(at: At) -> Self {
        at.to_string()
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str(IMAGE),
            Self::Layer(name) => f.write_str(name),
        }
    }
}

/// Keeps one feature map of a forward pass, in the kind that R is to have.
pub(super) struct Tapped<'a> {
    layer: &'a str,
    kind: Kind,
    map: Option<Tensor>,
    others: Vec<String>,
}

impl<'a> Tapped<'a> {
    pub(super) fn new(layer: &'a str, kind: Kind) -> Self {
        Self { layer, kind, map: None, others: Vec::new() }
    }

    /// The map `[B,C,h,w]`.
    pub(super) fn map(self) -> Result<Tensor> {
        match self.map {
            Some(map) if map.dim() == 4 => Ok(map),
            Some(map) => Err(Error::shape("the feature map that R is taken at", &map, "[B,C,h,w]")),
            None => {
                let expected = format!("{IMAGE} or one of {}", self.others.join(", "));
                Err(Error::invalid("vjp.at", self.layer, expected))
            }
        }
    }
}

impl Probe for Tapped<'_> {
    fn keeps_relu(&self) -> bool {
        true
    }

    fn looks_at(&mut self, layer: &str) -> bool {
        if layer != self.layer {
            self.others.push(layer.to_owned());
        }
        layer == self.layer
    }

    fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
        if layer != self.layer {
            self.others.push(layer.to_owned());
            return x;
        }
        let mut map = x.to_kind(self.kind);
        if !map.requires_grad() {
            // All before it is frozen.
            map = map.detach().set_requires_grad(true);
        }
        let flows_on = map.to_kind(x.kind());
        self.map = Some(map);
        flows_on
    }
}

/// Checks that R `[B,C,h,w]` at `layer` differs from place to place, where looking waits for nothing.
pub(super) fn expect_places(layer: &str, r: &Tensor) -> Result<()> {
    if r.device() != Device::Cpu {
        return Ok(());
    }
    let r = r.detach().flatten(2, 3);
    let first = r.narrow(2, 0, 1).expand_as(&r);
    if r.size()[2] > 1 && r == first && r.abs().max().double_value(&[]) > 0.0 {
        let expected =
            "a feature map that is not averaged over its places at once: R is the same at each";
        return Err(Error::invalid("vjp.at", layer, expected));
    }
    Ok(())
}
