//! Networks small enough to differentiate by hand.

use sib_core::testing::formula_tensor;
use sib_core::{Backbone, Mode, Probe};
use tch::{Kind, Tensor};

/// A network that is a function of images and probe.
#[derive(Debug)]
pub(crate) struct Toy(pub(crate) fn(&Tensor, &mut dyn Probe) -> Tensor);

impl Backbone for Toy {
    fn forward_probed(&self, images: &Tensor, _mode: Mode, probe: &mut dyn Probe) -> Tensor {
        (self.0)(images, probe)
    }

    fn cam_layer(&self) -> Option<&str> {
        Some("features")
    }
}

/// f64 images `[B,3,size,size]`, uniform on `[-1, 1)`.
pub(crate) fn images(count: i64, size: i64) -> Tensor {
    formula_tensor("images", &[count, 3, size, size])
}

/// `z_k = Σ w_k ⊙ x + k`, with `w` `[4,3,H,W]`: see [`linear_weights`].
pub(crate) const LINEAR: Toy = Toy(|x, _| {
    let weights = linear_weights(x.size()[2]).to_kind(x.kind());
    x.flatten(1, -1).matmul(&weights.flatten(1, -1).tr())
        + Tensor::arange(4, (x.kind(), x.device()))
});

pub(crate) fn linear_weights(size: i64) -> Tensor {
    formula_tensor("linear", &[4, 3, size, size])
}

/// `z_0 = Σ x²`, `z_1 = −Σ x²`.
pub(crate) const QUADRATIC: Toy = Toy(|x, _| {
    let sum = x.square().sum_dim_intlist([1, 2, 3].as_slice(), false, None::<Kind>);
    Tensor::stack(&[&sum, &-&sum], 1)
});

/// The tap is the image itself: `z_0 = Σ_k k·ΣA_k²`, `z_1 = Σ_k (−1)^k ΣA_k`, `k = 0, 1, 2`.
pub(crate) const TAPPED: Toy = Toy(|x, probe| {
    let a = probe.tap("features", x.shallow_clone());
    let options = (x.kind(), x.device());
    let sums = a.sum_dim_intlist([2, 3].as_slice(), false, None::<Kind>);
    let squares = a.square().sum_dim_intlist([2, 3].as_slice(), false, None::<Kind>);
    let first = (squares * Tensor::arange(3, options)).sum_dim_intlist(1, false, None::<Kind>);
    let signs = Tensor::from_slice(&[1.0, -1.0, 1.0]).to_kind(x.kind());
    let second = (sums * signs).sum_dim_intlist(1, false, None::<Kind>);
    Tensor::stack(&[first, second], 1)
});

/// Means of 2 × 2 pixels.
pub(crate) fn halved(x: &Tensor) -> Tensor {
    let two = [2, 2].as_slice();
    x.avg_pool2d(two, two, [0, 0].as_slice(), false, true, None)
}

/// Two convolutions with a skip connection and a concatenation, five ReLUs, a tap, five classes.
pub(crate) const CONVOLUTIONAL: Toy = Toy(|x, probe| {
    let conv = |x: &Tensor, name: &str, outputs: i64| {
        let inputs = x.size()[1];
        let kernel = formula_tensor(name, &[outputs, inputs, 3, 3]).to(x.device());
        let bias = formula_tensor(&format!("{name}.bias"), &[outputs]).to(x.device());
        let scale = (3.0 / (9 * inputs) as f64).sqrt();
        x.conv2d(
            &(kernel * scale).to_kind(x.kind()),
            Some((bias * 0.2).to_kind(x.kind())),
            [1, 1].as_slice(),
            [1, 1].as_slice(),
            [1, 1].as_slice(),
            1,
        )
    };
    let a = probe.relu(&conv(x, "a", 8));
    let b = probe.relu(&conv(&a, "b", 8));
    let c = probe.relu(&(conv(&b, "c", 8) + &a));
    let d = Tensor::cat(&[&a, &probe.relu(&conv(&c, "d", 4)), &c], 1);
    let e = conv(&halved(&d), "e", 6);
    let e = probe.tap("before_relu", e);
    let e = probe.relu(&e);
    let e = probe.tap("features", e);
    let head = formula_tensor("head", &[5, 6]).to(x.device()).to_kind(x.kind());
    e.mean_dim([2, 3].as_slice(), false, None::<Kind>).matmul(&head.tr())
});
