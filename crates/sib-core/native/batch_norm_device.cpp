// Batch normalisation in train mode on devices other than the CPU: libtorch's kernels for the output and the
// first derivative, and a second derivative of a dozen of them, where libtorch's is a composite of many
// small ones. A GPU spends more time on starting small kernels than on running them.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <tuple>

#include "batch_norm_device.h"
#include "border.h"

// Its own, since files are compiled together.
namespace sib::batch_norm_device {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// In the words of batch_norm.cpp: r = 1/σ, s = γr, d = x − μ, G = mg, sums over the M pixels of a channel.
// Both dx and its derivative P for a cotangent v have the form
//
//   B(u) = s(u − mean(u) − r²d·mean(ud)),  dx = B(G),  P = B(v),
//
// of libtorch's kernel, which also gives Σ u and r·Σ ud. With Mq = Σ vG − Σ v·Σ G/M − r²·Σ vd·Σ Gd/M
//
//   ∂/∂g = m(P + ard + b + w)
//   ∂/∂γ = rMq
//   ∂/∂x = −(r²·Σ vd·dx + r²·Σ Gd·P + sr²·Mq·d)/M + ar(G − mean(G) − r²d·mean(Gd))

struct Known {
  Tensor x;
  // The output where a ReLU made it, else undefined.
  Tensor y;
  Tensor weight, mean, rstd;

  // B(u) with γ = `weight`, r·Σ ud and Σ u.
  std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& u, const Tensor& weight) const {
    // ε is part of r already.
    return at::native_batch_norm_backward(
        u, x, weight, {}, {}, mean, rstd, /*train=*/true, /*eps=*/0, {true, true, true});
  }

  Tensor masked(const Tensor& u) const { return y.defined() ? at::threshold_backward(u, y, 0) : u; }

  double pixels() const { return double(x.numel()) / double(x.size(1)); }
};

// [C] as it is multiplied with pixels.
Tensor by_channel(const Tensor& of) { return of.view({1, -1, 1, 1}); }

Tensor sum(const Tensor& one, const Tensor& other) {
  if (!one.defined()) return other;
  return other.defined() ? one + other : one;
}

struct DeviceBatchNormBackward : Function<DeviceBatchNormBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g, const Tensor& x, const std::optional<Tensor>& y,
      const Tensor& weight, const Tensor& mean, const Tensor& rstd) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Known known{x, y.value_or(Tensor()), weight, mean, rstd};
    const Tensor masked = known.masked(g);
    const auto [dx, dweight, dbias] = known.backward(masked, weight);
    ctx->save_for_backward({masked, x, known.y, weight, mean, rstd, dx, dweight, dbias});
    ctx->set_materialize_grads(false);
    // An output must be no input.
    return {dx, dweight, dbias, y ? masked : at::empty({0}, x.options())};
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("batch normalisation");
    const auto saved = ctx->get_saved_variables();
    const Tensor &g = saved[0], &dx = saved[6], &gd = saved[7], &g_sum = saved[8];
    const Known known{saved[1], saved[2], saved[3], saved[4], saved[5]};
    const Tensor &v = cotangents[0], &a = cotangents[1], &b = cotangents[2], &w = cotangents[3];
    const double m = known.pixels();
    Tensor of_g, of_x, of_weight;
    if (v.defined()) {
      const auto [p, vd, v_sum] = known.backward(v, known.weight);
      // Σ v(G − mean(G)), a reduction of the same kind.
      const Tensor covered = std::get<1>(at::batch_norm_backward_reduce(
          v, g, g_sum / m, known.rstd, {}, /*input_g=*/true, false, false));
      // The first three times r, and −s/M, in one kernel.
      const Tensor &r = known.rstd, q = covered.addcmul(vd, gd, -1 / m);
      const auto scaled = at::_foreach_mul({q, vd, gd, known.weight}, {r, r, r, r * (-1 / m)});
      of_weight = scaled[0];
      of_x = at::batch_norm_elemt(known.x, scaled[3] * of_weight, {}, known.mean, r, 0)
                 .addcmul_(dx, by_channel(scaled[1]), -1 / m)
                 .addcmul_(p, by_channel(scaled[2]), -1 / m);
      of_g = p;
    }
    if (a.defined() || b.defined()) {
      const Tensor slope = a.defined() ? a : at::zeros_like(b);
      const Tensor offset = b.defined() ? b : at::zeros_like(a);
      of_g = sum(of_g, at::batch_norm_elemt(known.x, slope, offset, known.mean, known.rstd, 0));
      if (a.defined()) of_x = sum(of_x, std::get<0>(known.backward(g, a)));
    }
    if (known.y.defined()) of_g = sum(of_g, w);
    if (of_g.defined()) of_g = known.masked(of_g);
    return {of_g, of_x, {}, of_weight, {}, {}};
  }
};

struct DeviceBatchNorm : Function<DeviceBatchNorm> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x, const std::optional<Tensor>& shortcut,
      const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
      const Tensor& running_var, double momentum, double eps, bool relu) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [y, mean, rstd] = at::native_batch_norm(
        x, weight, bias, running_mean, running_var, /*training=*/true, momentum, eps);
    if (shortcut) y.add_(*shortcut);
    if (relu) y.relu_();
    ctx->save_for_backward({x, relu ? y : Tensor(), weight, mean, rstd});
    ctx->saved_data["shortcut"] = shortcut.has_value();
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    // An argument that may be undefined has to be optional.
    std::optional<Tensor> y;
    if (saved[1].defined()) y = saved[1].detach();
    const auto gradients =
        DeviceBatchNormBackward::apply(g[0], saved[0], y, saved[2], saved[3], saved[4]);
    const bool has_shortcut = ctx->saved_data["shortcut"].toBool();
    return {
        gradients[0], has_shortcut ? gradients[3] : Tensor(), gradients[1], gradients[2],
        {}, {}, {}, {}, {}};
  }
};

}  // namespace sib::batch_norm_device

at::Tensor sib::batch_norm_on_device(
    const at::Tensor& x, const std::optional<at::Tensor>& shortcut, const at::Tensor& weight,
    const at::Tensor& bias, const at::Tensor& running_mean, const at::Tensor& running_var,
    double momentum, double eps, bool relu) {
  return sib::batch_norm_device::DeviceBatchNorm::apply(
      x, shortcut, weight, bias, running_mean, running_var, momentum, eps, relu);
}
