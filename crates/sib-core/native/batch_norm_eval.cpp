// Batch normalisation by fixed statistics, with the ReLU that follows: the output and each
// derivative is one pass over memory. libtorch's first derivative takes two passes, its second is a
// composite, and the ReLU is one more in each.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "affine.h"
#include "border.h"
#include "pass.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// With s = γ/sqrt(σ² + ε), which the caller's graph takes from γ, and m = [y > 0] or 1 without ReLU:
//
//   y = relu(s(x − μ) + β),  dx = s·mg,  ds = Σ mg(x − μ),  dβ = Σ mg.
//
// For the cotangents v of dx, a of ds, b of dβ:
//
//   ∂/∂g = m(sv + a(x − μ) + b),  ∂/∂x = a·mg,  ∂/∂s = Σ m·vg.

template <bool kRelu, typename T>
inline T masked(T y, T value) {
  return kRelu ? sib::unless_negative(y, value) : value;
}

// g, y; s → dx.
template <typename Number, bool kRelu>
struct InputGradient {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 2, kOut = 1, kConstants = 1, kSums = 0;
  static void at(const T* in, const T* of, T* out, T*) {
    out[0] = of[0] * masked<kRelu>(in[1], in[0]);
  }
};

// g, y, x; s, μ → dx, ds, dβ.
template <typename Number, bool kRelu>
struct Gradients {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 3, kOut = 1, kConstants = 2, kSums = 2;
  static void at(const T* in, const T* of, T* out, T* terms) {
    const T mg = masked<kRelu>(in[1], in[0]);
    out[0] = of[0] * mg;
    terms[0] = mg * (in[2] - of[1]);
    terms[1] = mg;
  }
};

// v, y, x, g; s, μ, a, b → ∂/∂g, ∂/∂x, ∂/∂s.
template <typename Number, bool kRelu>
struct SecondDerivatives {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 4, kOut = 2, kConstants = 4, kSums = 1;
  static void at(const T* in, const T* of, T* out, T* terms) {
    const T v = in[0], d = in[2] - of[1], mg = masked<kRelu>(in[1], in[3]);
    out[0] = masked<kRelu>(in[1], of[0] * v + of[2] * d + of[3]);
    // Of a pixel or a channel that is not finite the derivatives are NaN, as in libtorch, also where its
    // value is no factor.
    out[1] = of[2] * mg + T(0) * of[0];
    terms[0] = v * mg + T(0) * d;
  }
};

#define COMPILE(Op)                    \
  SIB_COMPILE(Op<float, false>)        \
  SIB_COMPILE(Op<float, true>)         \
  SIB_COMPILE(Op<double, false>)       \
  SIB_COMPILE(Op<double, true>)        \
  SIB_COMPILE(Op<at::BFloat16, false>) \
  SIB_COMPILE(Op<at::BFloat16, true>)
COMPILE(InputGradient)
COMPILE(Gradients)
COMPILE(SecondDerivatives)

// `sib::pass` of the operation for these numbers, with or without ReLU.
template <template <typename, bool> class Op, typename In, typename Out>
Tensor pass(bool relu, const In& in, const variable_list& constants, const Out& out) {
  const auto kind = in[0].scalar_type();
  const Tensor of_channels = at::stack(constants).to(sib::computed_in(kind));
  return sib::with_numbers(kind, [&]<typename Number>() {
    return relu ? sib::pass<Op<Number, true>>(in, of_channels, out)
                : sib::pass<Op<Number, false>>(in, of_channels, out);
  });
}

// What the derivatives need: `y` is the output where there is a ReLU, `x` the input where
// derivatives of s and β are wanted.
struct Known {
  Tensor x, y, scale, mean;

  // Without gaps, all in one memory layout.
  Tensor dense(const Tensor& pixels) const {
    const Tensor& like = x.defined() ? x : y.defined() ? y : pixels;
    return pixels.contiguous(like.suggest_memory_format());
  }

  // Of dx alone. It is linear in g, and so its own derivative.
  Tensor input_gradient(const Tensor& g) const {
    const Tensor dense_g = dense(g), dx = at::empty_like(dense_g);
    const std::array<Tensor, 2> in{dense_g, y.defined() ? y : dense_g};
    pass<InputGradient>(y.defined(), in, {scale}, std::array<Tensor, 1>{dx});
    return dx;
  }
};

struct EvalBackward : Function<EvalBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g, const std::optional<Tensor>& x_,
      const std::optional<Tensor>& y_, const Tensor& scale, const Tensor& mean) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Tensor x = x_.value_or(Tensor()), y = y_.value_or(Tensor());
    const Known known{x, y, scale, mean};
    ctx->save_for_backward({x.defined() ? g : Tensor(), x, y, scale, mean});
    ctx->set_materialize_grads(false);
    if (!x.defined()) return {known.input_gradient(g), at::empty({0}), at::empty({0})};
    const Tensor dense_x = known.dense(x), dx = at::empty_like(dense_x);
    const std::array<Tensor, 3> in{known.dense(g), y.defined() ? y : dense_x, dense_x};
    const Tensor sums = pass<Gradients>(y.defined(), in, {scale, mean}, std::array<Tensor, 1>{dx});
    const Tensor of_parameters = sums.to(scale.scalar_type());
    return {dx, of_parameters[0].clone(), of_parameters[1].clone()};
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("batch normalisation");
    const auto saved = ctx->get_saved_variables();
    const Known known{saved[1], saved[2], saved[3], saved[4]};
    const auto& [x_, y, scale, mean] = known;
    if (!x_.defined()) return {known.input_gradient(cotangents[0]), {}, {}, {}, {}};
    const auto or_zero = [](const Tensor& cotangent, const Tensor& like) {
      return cotangent.defined() ? cotangent : at::zeros_like(like);
    };
    const Tensor x = known.dense(x_), g = known.dense(saved[0]);
    const Tensor v = known.dense(or_zero(cotangents[0], x));
    const Tensor a = or_zero(cotangents[1], scale), b = or_zero(cotangents[2], scale);
    const Tensor dg = at::empty_like(x), dx = at::empty_like(x);
    const std::array<Tensor, 4> in{v, y.defined() ? y : x, x, g};
    const Tensor dscale = pass<SecondDerivatives>(
        y.defined(), in, {scale, mean, a, b}, std::array<Tensor, 2>{dg, dx});
    return {dg, dx, {}, dscale[0].to(scale.scalar_type()), {}};
  }
};

struct Eval : Function<Eval> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x, const Tensor& scale, const Tensor& bias,
      const Tensor& mean, bool relu, bool of_parameters) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Tensor dense_x = x.contiguous(x.suggest_memory_format());
    const Tensor shift = sib::shift_of(bias, scale);
    const Tensor constants = at::stack({scale, mean, shift}).to(sib::computed_in(x.scalar_type()));
    const Tensor y = sib::affine(dense_x, {}, constants, relu);
    ctx->save_for_backward({of_parameters ? x : Tensor(), relu ? y : Tensor(), scale, mean});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    // An argument that may be undefined has to be optional.
    std::optional<Tensor> x, y;
    if (saved[0].defined()) x = saved[0];
    if (saved[1].defined()) y = saved[1].detach();
    auto gradients = EvalBackward::apply(g[0], x, y, saved[2], saved[3]);
    if (!x) return {gradients[0], {}, {}, {}, {}, {}};
    return {gradients[0], gradients[1], gradients[2], {}, {}, {}};
  }
};

}  // namespace

extern "C" char* sib_batch_norm_eval(
    Tensor** out, const Tensor* x, const Tensor* weight, const Tensor* bias,
    const Tensor* running_mean, const Tensor* running_var, double eps, bool relu) {
  return sib::caught([&] {
    const Tensor scale = *weight * (*running_var + eps).rsqrt();
    const bool of_parameters =
        at::GradMode::is_enabled() && (scale.requires_grad() || bias->requires_grad());
    *out = new Tensor(Eval::apply(*x, scale, *bias, *running_mean, relu, of_parameters));
  });
}
