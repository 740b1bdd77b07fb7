//! The small networks that the objective is checked on.

use std::collections::BTreeMap;

use sib_core::{Backbone, Mode, Probe};
use tch::{Kind, Tensor};

/// Named weights, PyTorch's `Sequential` numbering.
pub(crate) type Weights = BTreeMap<String, Tensor>;

/// conv 3→8 · BN · ReLU · conv 8→16 stride 2 · BN · ReLU · average · linear, batch statistics.
#[derive(Debug)]
pub(crate) struct ReluNet(pub(crate) Weights);

impl Backbone for ReluNet {
    fn forward_probed(&self, images: &Tensor, _: Mode, probe: &mut dyn Probe) -> Tensor {
        let w = |name: &str| &self.0[name];
        let normalise = |x: Tensor, layer: &str| {
            let (weight, bias) = (w(&format!("{layer}.weight")), w(&format!("{layer}.bias")));
            let none = None::<&Tensor>;
            x.batch_norm(Some(weight), Some(bias), none, none, true, 0.1, 1e-5, false)
        };
        let conv = |x: &Tensor, name: &str, stride| {
            x.conv2d(w(name), None::<&Tensor>, [stride, stride], [1, 1], [1, 1], 1)
        };
        let x = probe.relu(&normalise(conv(images, "0.weight", 1), "1"));
        let x = probe.relu(&normalise(conv(&x, "3.weight", 2), "4"));
        let x = x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        x.linear(w("8.weight"), Some(w("8.bias")))
    }
}

/// conv 3→6 · softplus · conv 6→8 stride 2 · softplus · average · linear: smooth everywhere.
#[derive(Debug)]
pub(crate) struct SmoothNet(pub(crate) Weights);

impl SmoothNet {
    /// Weights by formula, in f64.
    pub(crate) fn new(classes: i64) -> Self {
        let shapes: [(&str, &[i64], f64); 6] = [
            ("0.weight", &[6, 3, 3, 3], 0.6),
            ("0.bias", &[6], 0.1),
            ("2.weight", &[8, 6, 3, 3], 0.5),
            ("2.bias", &[8], 0.1),
            ("4.weight", &[classes, 8], 3.0),
            ("4.bias", &[classes], 0.1),
        ];
        Self(
            shapes
                .iter()
                .map(|&(name, shape, scale)| {
                    let value = sib_core::testing::formula_tensor(name, shape) * scale;
                    (name.to_owned(), value.set_requires_grad(true))
                })
                .collect(),
        )
    }

    /// The same network with its weights moved by `step` along `direction`.
    pub(crate) fn moved(&self, direction: &Weights, step: f64) -> Self {
        let moved = |(name, w): (&String, &Tensor)| {
            let w = w.detach() + &direction[name] * step;
            (name.clone(), w.set_requires_grad(true))
        };
        Self(self.0.iter().map(moved).collect())
    }
}

impl Backbone for SmoothNet {
    fn forward_probed(&self, images: &Tensor, _: Mode, probe: &mut dyn Probe) -> Tensor {
        let w = |name: &str| &self.0[name];
        let x = images.conv2d(w("0.weight"), Some(w("0.bias")), [1, 1], [1, 1], [1, 1], 1);
        let x = probe.tap("1", x.softplus());
        let x = x.conv2d(w("2.weight"), Some(w("2.bias")), [2, 2], [1, 1], [1, 1], 1);
        let x = probe.tap("3", x.softplus()).mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        x.linear(w("4.weight"), Some(w("4.bias")))
    }
}
