//! Training of a network that can be computed by hand.

mod fine_tuning;
mod fit;
mod update;

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::testing::formula_tensor;
use crate::{Backbone, Mode, Probe};

/// Linear on the mean colour: no batch statistics, so that batches of an update are independent.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Tensor,
}

impl Linear {
    pub(super) fn new() -> Self {
        Self { weight: formula_tensor("weight", &[5, 3]).set_requires_grad(true) }
    }

    pub(super) fn variables(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::from([("weight".to_owned(), self.weight.shallow_clone())])
    }
}

impl Backbone for Linear {
    fn forward_probed(&self, images: &Tensor, _: Mode, _: &mut dyn Probe) -> Tensor {
        let none = None::<&Tensor>;
        images.mean_dim([2i64, 3].as_slice(), false, None::<Kind>).linear(&self.weight, none)
    }
}

pub(super) fn images(count: i64) -> Tensor {
    formula_tensor("images", &[count, 3, 4, 4])
}

pub(super) fn labels(count: i64) -> Tensor {
    Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(5)
}
