// Layer normalisation over the last dimension, with a second derivative of fewer passes than libtorch's
// composite of it.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "border.h"

// Its own, since files are compiled together.
namespace sib::layer_norm {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// With n = (x − μ)r, h = γg, and means over the D features of a row, both dx and its derivative P for a
// cotangent v have the form
//
//   L(u) = r(u − mean(u) − n·mean(un)),  dx = L(h),  P = L(v),
//
// and for the cotangents v of dx, a of dγ = Σ gn and b of dβ = Σ g (sums over the rows)
//
//   ∂/∂g = γP + an + b
//   ∂/∂γ = Σ gP
//   ∂/∂x = −r(n·mean(v·dx) + mean(vn)·dx + mean(hn)·P) + L(ag)

struct Known {
  Tensor x, weight, mean, rstd;

  at::IntArrayRef features() const { return weight.sizes(); }

  Tensor normalised() const { return (x - mean) * rstd; }

  // L(γu), where there is a γ.
  Tensor backward(const Tensor& u, const std::optional<Tensor>& weight) const {
    return std::get<0>(at::native_layer_norm_backward(
        u.contiguous(), x, features(), mean, rstd, weight, {}, {true, false, false}));
  }
};

// mean(one·other) of each row.
Tensor mean_product(const Tensor& one, const Tensor& other) {
  return (one * other).mean(-1, /*keepdim=*/true);
}

Tensor over_rows(const Tensor& x) { return x.flatten(0, -2).sum(0); }

struct LayerNormBackward : Function<LayerNormBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g_, const Tensor& x, const Tensor& weight,
      const Tensor& bias, const Tensor& mean, const Tensor& rstd) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Tensor g = g_.contiguous();
    auto [dx, dweight, dbias] = at::native_layer_norm_backward(
        g, x, weight.sizes(), mean, rstd, weight, bias, {true, true, true});
    ctx->save_for_backward({g, x, weight, mean, rstd, dx});
    ctx->set_materialize_grads(false);
    return {dx, dweight, dbias};
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("layer normalisation");
    const auto saved = ctx->get_saved_variables();
    const Tensor &g = saved[0], &dx = saved[5];
    const Known known{saved[1], saved[2], saved[3], saved[4]};
    const Tensor &v = cotangents[0], &a = cotangents[1], &b = cotangents[2];
    const Tensor n = known.normalised();
    Tensor of_g, of_x, of_weight;
    if (v.defined()) {
      const Tensor p = known.backward(v, {}), h = g * known.weight, shrunk = -known.rstd;
      of_g = p * known.weight;
      of_weight = over_rows(g * p);
      of_x = (n * (shrunk * mean_product(v, dx)))
                 .addcmul_(dx, shrunk * mean_product(v, n))
                 .addcmul_(p, shrunk * mean_product(h, n));
    }
    const auto add = [](const Tensor& to, const Tensor& more) {
      return to.defined() ? to + more : more;
    };
    if (a.defined()) {
      of_g = add(of_g, n * a);
      of_x = add(of_x, known.backward(g, a));
    }
    if (b.defined()) of_g = add(of_g, b.expand_as(known.x));
    return {of_g, of_x, of_weight, {}, {}, {}};
  }
};

struct LayerNorm : Function<LayerNorm> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto [y, mean, rstd] = at::native_layer_norm(x, weight.sizes(), weight, bias, eps);
    ctx->save_for_backward({x, weight, bias, mean, rstd});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    const auto gradients =
        LayerNormBackward::apply(g[0], saved[0], saved[1], saved[2], saved[3], saved[4]);
    return {gradients[0], gradients[1], gradients[2], {}};
  }
};

}  // namespace sib::layer_norm

extern "C" char* sib_layer_norm(
    at::Tensor** out, const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, double eps) {
  return sib::caught([&] {
    // libtorch's kernel saves statistics of contiguous rows.
    *out = new at::Tensor(sib::layer_norm::LayerNorm::apply(x->contiguous(), *weight, *bias, eps));
  });
}
