// What batch normalisation does to a pixel once mean and variance are known.
#pragma once

#include <ATen/ATen.h>

namespace sib {

// libtorch's ReLU lets NaN pass, and so does its derivative.
template <typename T>
inline T unless_negative(T y, T value) {
  return y <= 0 ? T(0) : value;
}

// s(x − μ) + β + shortcut, then the ReLU where it is wanted. `shortcut` may be undefined and lies in
// memory as x does, without gaps; `constants` are s, μ and β [3,C].
at::Tensor affine(
    const at::Tensor& x, const at::Tensor& shortcut, const at::Tensor& constants, bool relu);

}  // namespace sib
