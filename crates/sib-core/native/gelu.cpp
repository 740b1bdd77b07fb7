// The Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415), with a second derivative of
// fewer passes than libtorch's composite of it.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "border.h"

// Its own, since files are compiled together.
namespace sib::gelu {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// y = xΦ(x), y' = Φ(x) + xφ(x), y'' = (2 − x²)φ(x).

// y''(x), in f32 where x is bfloat16: 2 − x² is a small difference.
Tensor curvature(const Tensor& x_) {
  const Tensor x = x_.scalar_type() == at::kBFloat16 ? x_.to(at::kFloat) : x_, square = x * x;
  const double density_at_0 = 1 / std::sqrt(2 * M_PI);
  return (square * -0.5).exp_().mul_(square.neg_().add_(2)).mul_(density_at_0);
}

struct GeluBackward : Function<GeluBackward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& g, const Tensor& x) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({g, x});
    return at::gelu_backward(g, x, "none");
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("GELU");
    const auto saved = ctx->get_saved_variables();
    const Tensor &g = saved[0], &x = saved[1], &v = cotangents[0];
    return {at::gelu_backward(v, x, "none"), curvature(x).mul_(g).mul_(v).to(x.scalar_type())};
  }
};

struct Gelu : Function<Gelu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x});
    return at::gelu(x, "none");
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    return {GeluBackward::apply(g[0], ctx->get_saved_variables()[0])};
  }
};

}  // namespace sib::gelu

extern "C" char* sib_gelu(at::Tensor** out, const at::Tensor* x) {
  return sib::caught([&] { *out = new at::Tensor(sib::gelu::Gelu::apply(*x)); });
}
