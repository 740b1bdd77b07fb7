#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace sib {

// Batch normalisation of x [N,C,H,W] in train mode on a device with libtorch's kernels for the synchronised one;
// `shortcut` is added before the ReLU only.
at::Tensor batch_norm_on_device(
    const at::Tensor& x, const std::optional<at::Tensor>& shortcut, const at::Tensor& weight,
    const at::Tensor& bias, const at::Tensor& running_mean, const at::Tensor& running_var,
    double momentum, double eps, bool relu);

}  // namespace sib
