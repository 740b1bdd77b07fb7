// Batch normalisation whose second derivative is one reduction and one elementwise pass. libtorch's
// is a composite of some thirty passes over memory.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "border.h"
#include "pass.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// With x̂ = (x − μ)r, r = 1/σ and means over N·H·W:
//
//   dx = γr(g − ḡ − x̂·mean(gx̂)),  dγ = Σ gx̂,  dβ = Σ g.
//
// For the cotangents v of dx, a of dγ, b of dβ, with M = N·H·W and q = mean(vg) − v̄ḡ −
// mean(vx̂)mean(gx̂):
//
//   ∂/∂g = γr(v − v̄ − x̂·mean(vx̂)) + a·x̂ + b
//   ∂/∂γ = rMq
//   ∂/∂x = −γr²(x̂q + mean(vx̂)(g − ḡ − x̂·mean(gx̂)) + mean(gx̂)(v − v̄ − x̂·mean(vx̂)))
//          + a·r(g − ḡ − x̂·mean(gx̂))
//
// Both are linear in v, g and x pixel by pixel, with coefficients for each channel.

// Σ v, Σ v(x − μ), Σ vg.
template <typename Number>
struct Sums {
  using T = Number;
  static constexpr int kIn = 3, kOut = 0, kConstants = 1, kSums = 3;
  static void at(const T* in, const T* mean, T*, T* terms) {
    const T v = in[0], g = in[1], x = in[2];
    terms[0] = v;
    terms[1] = v * (x - mean[0]);
    terms[2] = v * g;
  }
};
SIB_COMPILE(Sums<float>)
SIB_COMPILE(Sums<double>)

// ∂/∂g and ∂/∂x.
template <typename Number>
struct Derivatives {
  using T = Number;
  static constexpr int kIn = 3, kOut = 2, kConstants = 7, kSums = 0;
  static void at(const T* in, const T* of, T* out, T*) {
    const T v = in[0], g = in[1], x = in[2];
    out[0] = of[0] * v + of[1] * x + of[2];
    out[1] = of[3] * v + of[4] * g + of[5] * x + of[6];
  }
};
SIB_COMPILE(Derivatives<float>)
SIB_COMPILE(Derivatives<double>)

struct BatchNormBackward : Function<BatchNormBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g, const Tensor& x, const Tensor& weight,
      const Tensor& mean, const Tensor& rstd, double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [dx, dweight, dbias] = at::native_batch_norm_backward(
        g, x, weight, {}, {}, mean, rstd, /*train=*/true, eps, {true, true, true});
    ctx->save_for_backward({g, x, weight, mean, rstd, dweight, dbias});
    ctx->set_materialize_grads(false);
    return {dx, dweight, dbias};
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("batch normalisation");
    const auto saved = ctx->get_saved_variables();
    const auto format = saved[1].suggest_memory_format();
    const Tensor g = saved[0].contiguous(format), x = saved[1].contiguous(format);
    const Tensor v =
        cotangents[0].defined() ? cotangents[0].contiguous(format) : at::zeros_like(x);
    return x.scalar_type() == at::kDouble ? derivatives<double>(v, g, x, saved, cotangents)
                                          : derivatives<float>(v, g, x, saved, cotangents);
  }

  template <typename T>
  static variable_list derivatives(
      const Tensor& v, const Tensor& g, const Tensor& x, const variable_list& saved,
      const variable_list& cotangents) {
    const auto of_channels = [&](const Tensor& values) {
      return values.defined() ? values.to(at::kDouble) : at::zeros({x.size(1)}, at::kDouble);
    };
    const double m = double(x.numel()) / double(x.size(1));
    const Tensor weight = of_channels(saved[2]), mean = of_channels(saved[3]),
                 rstd = of_channels(saved[4]), mean_gx = of_channels(saved[5]) / m,
                 mean_g = of_channels(saved[6]) / m, a = of_channels(cotangents[1]),
                 b = of_channels(cotangents[2]);

    const Tensor means = sib::pass<Sums<T>>({v, g, x}, saved[3].to(x.scalar_type()), {}) / m;
    const Tensor mean_v = means[0], mean_vx = means[1] * rstd, mean_vg = means[2];
    const Tensor q = mean_vg - mean_v * mean_g - mean_vx * mean_gx;

    const Tensor scale = weight * rstd, curve = scale * rstd;
    const Tensor g_x = (a - scale * mean_vx) * rstd;
    const Tensor x_x = (curve * (2 * mean_vx * mean_gx - q) - a * rstd * mean_gx) * rstd;
    const Tensor coefficients = at::stack({
        scale,
        g_x,
        b - scale * mean_v - g_x * mean,
        -curve * mean_gx,
        a * rstd - curve * mean_vx,
        x_x,
        curve * (mean_vx * mean_g + mean_gx * mean_v) - a * rstd * mean_g - x_x * mean,
    });
    const Tensor dg = at::empty_like(x), dx = at::empty_like(x);
    sib::pass<Derivatives<T>>({v, g, x}, coefficients.to(x.scalar_type()), {dg, dx});
    return {dg, dx, (rstd * m * q).to(saved[2].scalar_type()), {}, {}, {}};
  }
};

struct BatchNorm : Function<BatchNorm> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
      const Tensor& running_mean, const Tensor& running_var, double momentum, double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [y, mean, rstd] = at::native_batch_norm(
        x, weight, bias, running_mean, running_var, /*train=*/true, momentum, eps);
    ctx->save_for_backward({x, weight, mean, rstd});
    ctx->saved_data["eps"] = eps;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    auto gradients = BatchNormBackward::apply(
        g[0], saved[0], saved[1], saved[2], saved[3], ctx->saved_data["eps"].toDouble());
    return {gradients[0], gradients[1], gradients[2], {}, {}, {}, {}};
  }
};

}  // namespace

extern "C" char* sib_batch_norm(
    Tensor** out, const Tensor* x, const Tensor* weight, const Tensor* bias,
    const Tensor* running_mean, const Tensor* running_var, double momentum, double eps) {
  return sib::caught([&] {
    *out = new Tensor(
        BatchNorm::apply(*x, *weight, *bias, *running_mean, *running_var, momentum, eps));
  });
}
