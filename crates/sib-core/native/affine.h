// What batch normalisation does to a pixel once mean and variance are known.
#pragma once

#include <ATen/ATen.h>

namespace sib {

// libtorch's ReLU lets NaN pass, and so does its derivative.
template <typename T>
inline T unless_negative(T y, T value) {
  return y <= 0 ? T(0) : value;
}

// β, or NaN where the scale s is not finite: an infinite output would be 0 behind the ReLU where it is
// negative.
inline at::Tensor shift_of(const at::Tensor& bias, const at::Tensor& scale) {
  return bias + scale * 0;
}

// s(x − μ) + β + shortcut, then the ReLU where it is wanted. `shortcut` may be undefined and lies in
// memory as x does, without gaps; `constants` are s, μ and β [3,C] of the kind that is computed in.
at::Tensor affine(
    const at::Tensor& x, const at::Tensor& shortcut, const at::Tensor& constants, bool relu);

}  // namespace sib
