// Convolution whose second derivative takes ordinary primitives only, and convolution in one pass
// with what follows it. libtorch computes the weights' share of the second derivative as a forward
// convolution with operands swapped, which oneDNN is slow at, and which takes a GPU copies of both.
// The gradient of images comes another way, too: oneDNN takes two (7×7, stride 2) to six times as
// long for three channels.

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "border.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// For the cotangents v of the input gradient and u of the weight gradient:
// ∂/∂g = conv(v, w) + conv(x, u), ∂/∂w is the weight gradient with v in the input's place, ∂/∂x the
// input gradient with u in the weights' place. The gradient of a bias is the sum of the incoming one.

struct Geometry {
  int64_t stride, padding, groups;

  Tensor conv(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b = {}) const {
    return at::conv2d(x, w, b, stride, padding, /*dilation=*/1, groups);
  }

  // Of the input, of the weights: those asked for.
  std::tuple<Tensor, Tensor> gradients(
      const Tensor& g, const Tensor& x, const Tensor& w, bool of_x, bool of_w) const {
    if (of_x && groups == 1 && stride > 1 && x.is_cpu() && x.size(1) <= 4) {
      const Tensor dx = gradient_of_few_channels(g, x, w);
      return {dx, of_w ? std::get<1>(gradients(g, x, w, false, true)) : Tensor()};
    }
    const int64_t s[] = {stride, stride}, p[] = {padding, padding}, one[] = {1, 1}, none[] = {0, 0};
    auto [dx, dw, unused] = at::convolution_backward(
        g, x, w, at::OptionalIntArrayRef(), s, p, one, false, none, groups, {of_x, of_w, false});
    return {dx, dw};
  }

  // The gradient of x [B,C,H,W] as a convolution of g [B,O,h,w] at stride 1: with y + p = s·i + a,
  //   dx[c, y] = Σ_o Σ_u g[o, i − u] · w[o, c, s·u + a],
  // rows and columns alike, so that each of the s·s phases (a, b) of each channel is an output channel,
  // and all lie beside one another in the end (Shi et al. 2016, doi:10.1109/CVPR.2016.207).
  Tensor gradient_of_few_channels(const Tensor& g, const Tensor& x, const Tensor& w) const {
    const int64_t s = stride, p = padding, c = x.size(1), o = w.size(0);
    const int64_t reach[] = {(w.size(2) + s - 1) / s, (w.size(3) + s - 1) / s};
    const int64_t fill[] = {0, s * reach[1] - w.size(3), 0, s * reach[0] - w.size(2)};
    const Tensor kernels = at::constant_pad_nd(w, fill)
                               .reshape({o, c, reach[0], s, reach[1], s})
                               .flip({2, 4})
                               .permute({1, 3, 5, 0, 2, 4})
                               .reshape({c * s * s, o, reach[0], reach[1]});
    const int64_t border[] = {reach[0] - 1, reach[1] - 1};
    Tensor dx = at::pixel_shuffle(at::conv2d(g, kernels, {}, 1, border), s);
    // Where the stride does not come out even, the last pixels have met no kernel.
    const int64_t h = x.size(2), width = x.size(3);
    const int64_t lacking[] = {
        0, std::max<int64_t>(0, p + width - dx.size(3)), 0,
        std::max<int64_t>(0, p + h - dx.size(2))};
    if (lacking[1] > 0 || lacking[3] > 0) dx = at::constant_pad_nd(dx, lacking);
    return dx.narrow(2, p, h).narrow(3, p, width).contiguous(x.suggest_memory_format());
  }
};

Geometry geometry(AutogradContext* ctx) {
  return {
      ctx->saved_data["stride"].toInt(), ctx->saved_data["padding"].toInt(),
      ctx->saved_data["groups"].toInt()};
}

void remember(AutogradContext* ctx, const Geometry& geometry) {
  ctx->saved_data["stride"] = geometry.stride;
  ctx->saved_data["padding"] = geometry.padding;
  ctx->saved_data["groups"] = geometry.groups;
}

Tensor sum_of(const Tensor& a, const Tensor& b) {
  return !a.defined() ? b : !b.defined() ? a : a + b;
}

struct Conv2dBackward : Function<Conv2dBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g, const Tensor& x, const Tensor& w,
      const Geometry& geometry, bool of_x, bool of_w) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [dx, dw] = geometry.gradients(g, x, w, of_x, of_w);
    ctx->save_for_backward({g, x, w});
    ctx->set_materialize_grads(false);
    remember(ctx, geometry);
    // An output must be a tensor, also one that nobody asked for.
    const Tensor nothing = at::empty({0}, g.options());
    return {of_x ? dx : nothing, of_w ? dw : nothing};
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("convolution");
    const auto saved = ctx->get_saved_variables();
    const Tensor &g = saved[0], &x = saved[1], &w = saved[2], &v = cotangents[0],
                 &u = cotangents[1];
    const Geometry of = geometry(ctx);
    Tensor dg, dx, dw;
    if (v.defined()) {
      if (ctx->needs_input_grad(0)) dg = of.conv(v, w);
      if (ctx->needs_input_grad(2)) dw = std::get<1>(of.gradients(g, v, w, false, true));
    }
    if (u.defined()) {
      if (ctx->needs_input_grad(0)) dg = sum_of(dg, of.conv(x, u));
      if (ctx->needs_input_grad(1)) dx = std::get<0>(of.gradients(g, x, u, true, false));
    }
    return {dg, dx, dw, {}, {}, {}};
  }
};

struct Conv2d : Function<Conv2d> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x, const Tensor& w, const std::optional<Tensor>& b,
      const Geometry& geometry) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, w});
    remember(ctx, geometry);
    if (b) ctx->saved_data["bias"] = true;
    return geometry.conv(x, w, b);
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    const Geometry of = geometry(ctx);
    const bool of_x = ctx->needs_input_grad(0), of_w = ctx->needs_input_grad(1);
    Tensor dx, dw, db;
    if (of_x || of_w) {
      const auto gradients = Conv2dBackward::apply(g[0], saved[0], saved[1], of, of_x, of_w);
      if (of_x) dx = gradients[0];
      if (of_w) dw = gradients[1];
    }
    if (ctx->saved_data.count("bias") && ctx->needs_input_grad(2)) db = g[0].sum({0, 2, 3});
    return {dx, dw, db, {}};
  }
};

// ---------------------------------------------------------------------------------------------
// relu(conv(x, w) + bias + shortcut), where no derivative is asked for. oneDNN adds bias and shortcut
// while a convolution's results are still in registers; libtorch has these calls for its compiler.
// oneDNN's ReLU would come along, but it is max(x, 0) by an instruction that answers 0 for NaN: a
// broken weight or image would give plausible logits. libtorch's ReLU keeps NaN and runs in place, a
// pass that costs a ResNet-50 up to 3 % (decision N5a).

using Attributes = c10::List<std::optional<at::Scalar>>;
using Name = std::optional<std::string_view>;
using WithBias = Tensor(
    const Tensor&, const Tensor&, const std::optional<Tensor>&, at::IntArrayRef, at::IntArrayRef,
    at::IntArrayRef, int64_t, std::string_view, Attributes, Name);
using WithSum = Tensor(
    const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, at::IntArrayRef,
    at::IntArrayRef, at::IntArrayRef, int64_t, std::string_view, std::optional<at::Scalar>, Name,
    Attributes, Name);

template <typename Signature>
c10::TypedOperatorHandle<Signature> mkldnn_operator(const char* overload) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow("mkldnn::_convolution_pointwise", overload)
      .typed<Signature>();
}

Tensor fused(
    const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& shortcut,
    const Geometry& of) {
  const int64_t p[] = {of.padding, of.padding}, s[] = {of.stride, of.stride}, one[] = {1, 1};
  if (shortcut.defined()) {
    static const auto call = mkldnn_operator<WithSum>("binary");
    return call
        .call(
            x, shortcut, w, bias, p, s, one, of.groups, "add", std::nullopt, std::nullopt,
            Attributes(), std::nullopt)
        .relu_();
  }
  static const auto call = mkldnn_operator<WithBias>("");
  return call.call(x, w, bias, p, s, one, of.groups, "none", Attributes(), std::nullopt).relu_();
}

// Whether this libtorch on this processor has the calls for numbers of kind `kind`.
bool can_fuse(at::ScalarType kind) {
  const auto works = [](at::ScalarType kind) {
    try {
      const Tensor x = at::ones({1, 2, 2, 2}, kind).contiguous(at::MemoryFormat::ChannelsLast);
      const Tensor w = at::ones({2, 2, 1, 1}, kind), bias = at::ones({2}, kind);
      const Geometry plain{1, 0, 1};
      return fused(x, w, bias, {}, plain).eq(3).all().item<bool>() &&
             fused(x, w, bias, x, plain).eq(4).all().item<bool>();
    } catch (const c10::Error&) {
      return false;
    }
  };
  static const bool f32 = works(at::kFloat), bf16 = works(at::kBFloat16);
  return kind == at::kFloat ? f32 : kind == at::kBFloat16 && bf16;
}

Tensor conv2d_relu(
    const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& shortcut,
    const Geometry& of) {
  const bool recorded =
      at::GradMode::is_enabled() && (x.requires_grad() || w.requires_grad() ||
                                     (shortcut.defined() && shortcut.requires_grad()));
  // With channels last alone the sum is one with the convolution.
  const bool channels_last = w.suggest_memory_format() == at::MemoryFormat::ChannelsLast ||
                             x.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  if (!recorded && channels_last && x.is_cpu() && can_fuse(x.scalar_type())) {
    return fused(x, w, bias, shortcut, of);
  }
  const Tensor y = recorded ? Conv2d::apply(x, w, bias, of) : of.conv(x, w, bias);
  return at::relu(shortcut.defined() ? y + shortcut : y);
}

}  // namespace

extern "C" {

// `bias` may be null.
char* sib_conv2d(
    Tensor** out, const Tensor* x, const Tensor* w, const Tensor* bias, int64_t stride,
    int64_t padding, int64_t groups) {
  return sib::caught([&] {
    std::optional<Tensor> b;
    if (bias) b = *bias;
    const Geometry geometry{stride, padding, groups};
    *out = new Tensor(Conv2d::apply(*x, *w, b, geometry));
  });
}

// `shortcut` may be null.
char* sib_conv2d_relu(
    Tensor** out, const Tensor* x, const Tensor* w, const Tensor* bias, const Tensor* shortcut,
    int64_t stride, int64_t padding, int64_t groups) {
  return sib::caught([&] {
    const Geometry geometry{stride, padding, groups};
    *out = new Tensor(conv2d_relu(*x, *w, *bias, shortcut ? *shortcut : Tensor(), geometry));
  });
}

}
