#include "affine.h"

#include "pass.h"

namespace {

using at::Tensor;

// x[, shortcut]; s, μ, β → y.
template <typename Number, bool kRelu, bool kShortcut>
struct Affine {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 1 + kShortcut, kOut = 1, kConstants = 3, kSums = 0;
  static void at(const T* in, const T* of, T* out, T*) {
    T y = of[0] * (in[0] - of[1]) + of[2];
    if constexpr (kShortcut) y += in[1];
    out[0] = kRelu ? sib::unless_negative(y, y) : y;
  }
};

#define COMPILE(T)                     \
  SIB_COMPILE(Affine<T, false, false>) \
  SIB_COMPILE(Affine<T, false, true>)  \
  SIB_COMPILE(Affine<T, true, false>)  \
  SIB_COMPILE(Affine<T, true, true>)
COMPILE(float)
COMPILE(double)
COMPILE(at::BFloat16)

template <typename Number, bool kRelu>
void compute_affine(
    const Tensor& x, const Tensor& shortcut, const Tensor& constants, const Tensor& y) {
  if (shortcut.defined()) {
    sib::pass<Affine<Number, kRelu, true>>({x, shortcut}, constants, {y});
  } else {
    sib::pass<Affine<Number, kRelu, false>>({x}, constants, {y});
  }
}

}  // namespace

Tensor sib::affine(
    const Tensor& x, const Tensor& shortcut, const Tensor& constants, bool relu) {
  const Tensor y = at::empty_like(x);
  sib::with_numbers(x.scalar_type(), [&]<typename Number>() {
    if (relu) {
      compute_affine<Number, true>(x, shortcut, constants, y);
    } else {
      compute_affine<Number, false>(x, shortcut, constants, y);
    }
  });
  return y;
}
