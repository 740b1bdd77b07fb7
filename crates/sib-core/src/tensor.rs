//! The few tensor idioms that the maths repeats.

use tch::{Device, Kind, Tensor};

use crate::group::{self, Group};
use crate::native;
use crate::native::Then;

pub use crate::conv_geometry::ConvGeometry;

/// `[B, ...]` as rows `[B, D]`.
pub fn rows(x: &Tensor) -> Tensor {
    x.flatten(1, -1)
}

/// Rows `[B, D]` scaled to unit Euclidean length; a row shorter than `1e-12` is divided by that.
pub fn l2_normalise_rows(x: &Tensor) -> Tensor {
    // Clamped under the root: the root of an exact zero would have an infinite derivative.
    let squared_norm = (x * x).sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>);
    x / squared_norm.clamp_min(1e-24).sqrt()
}

/// `x` on `device`; from the CPU to a GPU by a copy that the host does not wait for.
///
/// # Panics
/// As tch's operations do, when there is no memory left.
pub fn sent(x: &Tensor, device: Device) -> Tensor {
    match device {
        Device::Cuda(index) if x.device() == Device::Cpu => {
            native::sent(x, index).unwrap_or_else(|message| panic!("to {device:?}: {message}"))
        }
        _ => x.to_device(device),
    }
}

/// The value of a scalar tensor.
pub fn scalar(x: &Tensor) -> f64 {
    x.double_value(&[])
}

/// Batch normalisation of `x` `[B,C,H,W]` by its own statistics (Ioffe & Szegedy 2015,
/// arXiv:1502.03167) with `weight`, `bias` `[C]`; `running_mean`, `running_var` `[C]` move by
/// `momentum` towards the batch's mean and unbiased variance.
///
/// On the CPU the output and each derivative is two passes over memory; elsewhere the second derivative takes a
/// dozen kernels. Third derivatives are an error.
///
/// # Panics
/// As tch's operations do, when shapes or kinds do not fit, and when `x` has fewer than two values a
/// channel.
pub fn batch_norm_train(x: &Tensor, variables: [&Tensor; 4], momentum: f64, eps: f64) -> Tensor {
    batch_norm_train_then(x, variables, momentum, eps, Then::Nothing)
}

/// `relu(batch_norm_train(x) + shortcut)`, `shortcut` like `x`; on the CPU in as many passes.
///
/// # Panics
/// As [`batch_norm_train`] does.
pub fn batch_norm_train_relu(
    x: &Tensor,
    shortcut: Option<&Tensor>,
    variables: [&Tensor; 4],
    momentum: f64,
    eps: f64,
) -> Tensor {
    batch_norm_train_then(x, variables, momentum, eps, Then::Relu(shortcut))
}

fn batch_norm_train_then(
    x: &Tensor,
    variables: [&Tensor; 4],
    momentum: f64,
    eps: f64,
    then: Then<'_>,
) -> Tensor {
    let size = x.size();
    let batch = group::current().filter(|batch| batch.norms);
    let group = batch.as_ref().map(|batch| &batch.group);
    let members = group.map_or(1, Group::size) as i64;
    assert!(
        size.iter().product::<i64>() * members > size[1],
        "batch normalisation in train mode needs at least two values a channel, got a batch {size:?}"
    );
    if has_kernels(x) || x.device().is_cuda() && group.is_none() {
        let members = group.and_then(Group::members);
        return native::batch_norm(x, variables, momentum, eps, then, members)
            .unwrap_or_else(|message| panic!("batch_norm_train: {message}"));
    }
    let y = match group {
        Some(group) => synchronised_batch_norm(x, variables, momentum, eps, group),
        None => {
            let [weight, bias, mean, var] = variables.map(Some);
            x.batch_norm(weight, bias, mean, var, true, momentum, eps, true)
        }
    };
    match then {
        Then::Nothing => y,
        Then::Relu(None) => y.relu(),
        Then::Relu(Some(shortcut)) => (y + shortcut).relu(),
    }
}

/// Batch normalisation over the batches of all members of `group`, composed of what can be differentiated any number of
/// times; in f32 at least.
fn synchronised_batch_norm(
    x: &Tensor,
    [weight, bias, running_mean, running_var]: [&Tensor; 4],
    momentum: f64,
    eps: f64,
    group: &Group,
) -> Tensor {
    let (kind, exact) = (x.kind(), weight.kind());
    let x = x.to_kind(exact);
    let count = group.size() as f64 * (x.numel() as i64 / x.size()[1]) as f64;
    let mean_of = |x: &Tensor| {
        let own = x.sum_dim_intlist([0i64, 2, 3].as_slice(), true, None::<Kind>);
        group.sum_of(&own) / count
    };
    let mean = mean_of(&x);
    let d = &x - &mean;
    let var = mean_of(&(&d * &d));
    tch::no_grad(|| {
        let move_to = |running: &Tensor, value: &Tensor| {
            let value = value.to_kind(running.kind()).view_as(running);
            let _ = running.shallow_clone().lerp_(&value, momentum);
        };
        move_to(running_mean, &mean.detach());
        move_to(running_var, &(var.detach() * (count / (count - 1.0))));
    });
    let [weight, bias] = [weight, bias].map(|of| of.view([1, -1, 1, 1]));
    (d * (var + eps).rsqrt() * weight + bias).to_kind(kind)
}

/// Drops values with the given `probability` (Srivastava et al. 2014), and scales the others up by as much. What is
/// dropped depends on libtorch's generator and on the place in the batch: where that is a part of a group's, in the
/// whole one.
pub fn dropout(x: &Tensor, probability: f64) -> Tensor {
    let Some(batch) = group::current() else { return x.dropout(probability, true) };
    let part = batch.group.part();
    let own = x.size()[0];
    // Drawn for all members, in the order of memory, as libtorch would; each keeps its own.
    let is_last = channels_lie_last(x);
    let like = if is_last { x.permute([0, 2, 3, 1]) } else { x.shallow_clone() };
    let mut size = like.size();
    size[0] *= part.of() as i64;
    let ones = Tensor::ones(size, (x.kind(), x.device()));
    let noise = tch::no_grad(|| ones.dropout(probability, true));
    let noise = if is_last { noise.permute([0, 3, 1, 2]) } else { noise };
    x * noise.narrow(0, own * part.index() as i64, own)
}

/// Whether the channels of `x` `[B,C,H,W]` follow each other in memory, and nothing else does.
pub(crate) fn channels_lie_last(x: &Tensor) -> bool {
    x.dim() == 4 && !x.is_contiguous() && x.permute([0, 2, 3, 1]).is_contiguous()
}

/// Layer normalisation of `x` `[...,D]` over its last dimension (Ba et al. 2016, arXiv:1607.06450) with
/// `weight`, `bias` `[D]`. Third derivatives are an error.
///
/// # Panics
/// As tch's operations do, when shapes or kinds do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
    native::layer_norm(x, weight, bias, eps)
        .unwrap_or_else(|message| panic!("layer_norm: {message}"))
}

/// The Gaussian error linear unit `xΦ(x)` (Hendrycks & Gimpel 2016, arXiv:1606.08415). Third derivatives are an
/// error.
///
/// # Panics
/// As tch's operations do.
pub fn gelu(x: &Tensor) -> Tensor {
    native::gelu(x).unwrap_or_else(|message| panic!("gelu: {message}"))
}

/// Batch normalisation of `x` `[B,C,H,W]` by the running statistics, which stay as they are.
///
/// On the CPU the output and each derivative is one pass over memory, third derivatives are an
/// error, and the statistics are constants. Elsewhere it is libtorch's.
///
/// # Panics
/// As tch's operations do, when shapes or kinds do not fit.
pub fn batch_norm_eval(x: &Tensor, variables: [&Tensor; 4], eps: f64) -> Tensor {
    batch_norm_eval_then(x, variables, eps, false)
}

/// `relu(batch_norm_eval(x))`; on the CPU still one pass.
///
/// # Panics
/// As [`batch_norm_eval`] does.
pub fn batch_norm_eval_relu(x: &Tensor, variables: [&Tensor; 4], eps: f64) -> Tensor {
    batch_norm_eval_then(x, variables, eps, true)
}

fn batch_norm_eval_then(x: &Tensor, variables: [&Tensor; 4], eps: f64, relu: bool) -> Tensor {
    if has_kernels(x) {
        return native::batch_norm_eval(x, variables, eps, relu)
            .unwrap_or_else(|message| panic!("batch_norm_eval: {message}"));
    }
    let [weight, bias, mean, var] = variables.map(Some);
    // The momentum is not used.
    let mut y = x.batch_norm(weight, bias, mean, var, false, 0.0, eps, true);
    if relu { y.relu_() } else { y }
}

/// Convolution of `x` `[B,C,H,W]` with `weight` `[D,C/groups,h,w]`, then `bias` `[D]` where there is one.
///
/// The weights' share of the second derivative is taken by the ordinary weight-gradient primitive. Third
/// derivatives are an error.
///
/// # Panics
/// As tch's operations do, when shapes or kinds do not fit.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: ConvGeometry,
) -> Tensor {
    if has_kernels(x) || x.device().is_cuda() {
        return native::conv2d(x, weight, bias, geometry)
            .unwrap_or_else(|message| panic!("conv2d: {message}"));
    }
    let ConvGeometry { stride, padding, groups } = geometry;
    x.conv2d(weight, bias, stride, padding, 1, groups)
}

/// `relu(conv2d(x) + shortcut)`, `shortcut` like the result.
///
/// On the CPU, where no derivative is recorded, the convolution adds bias and shortcut, and the ReLU, which
/// keeps NaN, is one pass in place.
///
/// # Panics
/// As tch's operations do, when shapes or kinds do not fit.
pub fn conv2d_relu(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    shortcut: Option<&Tensor>,
    geometry: ConvGeometry,
) -> Tensor {
    native::conv2d_relu(x, (weight, bias), shortcut, geometry)
        .unwrap_or_else(|message| panic!("conv2d_relu: {message}"))
}

/// `x` `[B,C,H,W]` in the memory layout that convolutions are fastest in, channels last, which the
/// activations of a network then take on (decision N4).
pub fn for_convolutions(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Whether the project's own derivatives are to be used for `x`.
fn has_kernels(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::Double | Kind::BFloat16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Spread;
    use crate::testing::{as_members, formula_tensor, relative_difference};

    /// Of a batch: the output of a normalisation, and the derivatives by pixels, weight and bias of something made of it
    /// and of its own derivative by the pixels.
    fn derivatives(
        x: &Tensor,
        normalised: impl Fn(&Tensor, [&Tensor; 4]) -> Tensor,
    ) -> [Tensor; 6] {
        let leaf = |name: &str| (formula_tensor(name, &[3]) + 1.5).set_requires_grad(true);
        let (weight, bias) = (leaf("weight"), leaf("bias"));
        let [mean, var] = ["mean", "var"].map(|name| formula_tensor(name, &[3]) + 1.5);
        let x = x.detach().set_requires_grad(true);
        let y = normalised(&x, [&weight, &bias, &mean, &var]);
        let r =
            Tensor::run_backward(&[(&y * &y * &y).sum(Kind::Double)], &[&x], true, true).remove(0);
        let made = (&r * &r * &y).sum(Kind::Double) + (&r * &x).sum(Kind::Double);
        let [of_x, of_weight, of_bias] =
            Tensor::run_backward(&[made], &[&x, &weight, &bias], false, false)
                .try_into()
                .expect("three gradients");
        [y.detach(), of_x, of_weight, of_bias, mean, var]
    }

    #[test]
    fn normalisation_over_a_group_is_that_of_the_whole_batch() {
        let test = "tensor::tests::normalisation_over_a_group_is_that_of_the_whole_batch";
        as_members(test, 2, |group| {
            let whole = formula_tensor("x", &[4, 3, 5, 4]) + 3;
            let part = |x: &Tensor| x.narrow(0, 2 * group.part().index() as i64, 2);
            let spread = Spread { group: group.clone(), norms: true };
            let by_kernels = |x: &Tensor, variables: [&Tensor; 4]| {
                group::within(Some(spread.clone()), || batch_norm_train(x, variables, 0.1, 1e-5))
            };
            let composed = |x: &Tensor, variables: [&Tensor; 4]| {
                synchronised_batch_norm(x, variables, 0.1, 1e-5, &group)
            };
            let libtorchs = |x: &Tensor, variables: [&Tensor; 4]| {
                let [weight, bias, mean, var] = variables.map(Some);
                x.batch_norm(weight, bias, mean, var, true, 0.1, 1e-5, false)
            };
            let expected = derivatives(&whole, libtorchs);
            for own in
                [derivatives(&part(&whole), by_kernels), derivatives(&part(&whole), composed)]
            {
                group.sum(&[&own[2], &own[3]]).unwrap();
                for (place, (own, expected)) in own.iter().zip(&expected).enumerate() {
                    let expected =
                        if place < 2 { part(expected) } else { expected.shallow_clone() };
                    let difference = relative_difference(own, &expected);
                    assert!(difference < 1e-12, "{place}: {difference}");
                }
            }
        });
    }
}
