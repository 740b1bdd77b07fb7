// Batch normalisation in train mode, with the shortcut and the ReLU that follow, in as few passes
// over memory as sums before maps allow: two for the output, two for each derivative. libtorch takes
// four to seven for the output, and its second derivative is a composite of some thirty.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "affine.h"
#include "batch_norm_device.h"
#include "border.h"
#include "group.h"
#include "pass.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// With r = 1/σ, s = γr, d = x − μ, m = [y > 0] or 1 without ReLU, G = mg, and means over the M
// pixels of a channel:
//
//   y = relu(sd + β + z),
//   dx = s(G − mean(G) − r²d·mean(Gd)),  dγ = r·Σ Gd,  dβ = Σ G,  dz = G.
//
// For the cotangents v of dx, a of dγ, b of dβ, w of dz, and with
// q = mean(vG) − mean(v)mean(G) − r²·mean(vd)mean(Gd):
//
//   ∂/∂g = m(s(v − mean(v) − r²d·mean(vd)) + ard + b + w)
//   ∂/∂γ = rMq
//   ∂/∂x = −sr²(dq + mean(vd)(G − mean(G) − r²d·mean(Gd)) + mean(Gd)(v − mean(v) − r²d·mean(vd)))
//          + ar(G − mean(G) − r²d·mean(Gd))
//
// Pixel by pixel all of this is linear in v, G, d and w, with coefficients for each channel.
//
// Where a batch is spread over a group, M counts the pixels of all, and means are of sums over all; but dγ, dβ and ∂/∂γ
// are the member's own parts, with its own sums for Σ G, Σ Gd and for the v in q: what is added up over the
// members are the gradients of the variables.

// Where m comes from. Without shortcut x says it, and y need not be read.
enum class Mask { kNone, kOfX, kOfY };

// G of the gradient g at a pixel of input x.
template <Mask kMask, typename T>
inline T masked(T g, T x, const T* of) {
  return kMask == Mask::kOfX ? sib::unless_negative(of[0] * (x - of[1]) + of[2], g) : g;
}

// x; some k → Σ(x − k), Σ(x − k)².
template <typename Number>
struct Moments {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 1, kOut = 0, kConstants = 1, kSums = 2;
  static void at(const T* in, const T* of, T*, T* terms) {
    const T d = in[0] - of[0];
    terms[0] = d;
    terms[1] = d * d;
  }
};

// g, x; s, μ, β → Σ G, Σ Gd.
template <typename Number, Mask kMask>
struct GradientSums {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 2, kOut = 0, kConstants = 3, kSums = 2;
  static void at(const T* in, const T* of, T*, T* terms) {
    const T g = masked<kMask>(in[0], in[1], of);
    terms[0] = g;
    terms[1] = g * (in[1] - of[1]);
  }
};

// The same with a shortcut: g, x, y; s, μ, β → G, Σ G, Σ Gd.
template <typename Number>
struct GradientSums<Number, Mask::kOfY> {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 3, kOut = 1, kConstants = 3, kSums = 2;
  static void at(const T* in, const T* of, T* out, T* terms) {
    const T g = sib::unless_negative(in[2], in[0]);
    out[0] = g;
    terms[0] = g;
    terms[1] = g * (in[1] - of[1]);
  }
};

// g, x; s, μ, β, and what d and 1 count → dx.
template <typename Number, Mask kMask>
struct InputGradient {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 2, kOut = 1, kConstants = 5, kSums = 0;
  static void at(const T* in, const T* of, T* out, T*) {
    out[0] = of[0] * masked<kMask>(in[0], in[1], of) + of[3] * (in[1] - of[1]) + of[4];
  }
};

// g, x, v; s, μ, β → Σ v, Σ vd, Σ vG.
template <typename Number, Mask kMask>
struct SecondSums {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = 3, kOut = 0, kConstants = 3, kSums = 3;
  static void at(const T* in, const T* of, T*, T* terms) {
    const T v = in[2];
    terms[0] = v;
    terms[1] = v * (in[1] - of[1]);
    terms[2] = v * masked<kMask>(in[0], in[1], of);
  }
};

// g, x, v[, y, w]; s, μ, β, what d and 1 count in ∂/∂g, what v, G, d and 1 count in ∂/∂x.
template <typename Number, Mask kMask>
struct SecondDerivatives {
  using Stored = Number;
  using T = sib::Computed<Number>;
  static constexpr int kIn = kMask == Mask::kOfY ? 5 : 3, kOut = 2, kConstants = 9, kSums = 0;
  static void at(const T* in, const T* of, T* out, T*) {
    const T v = in[2], d = in[1] - of[1];
    T dg = of[0] * v + of[3] * d + of[4];
    if constexpr (kMask == Mask::kOfY) dg = sib::unless_negative(in[3], dg + in[4]);
    out[0] = masked<kMask>(dg, in[1], of);
    out[1] = of[5] * v + of[6] * masked<kMask>(in[0], in[1], of) + of[7] * d + of[8];
  }
};

#define COMPILE(T)                                   \
  SIB_COMPILE(Moments<T>)                            \
  SIB_COMPILE(GradientSums<T, Mask::kNone>)          \
  SIB_COMPILE(GradientSums<T, Mask::kOfX>)           \
  SIB_COMPILE(GradientSums<T, Mask::kOfY>)           \
  SIB_COMPILE(InputGradient<T, Mask::kNone>)         \
  SIB_COMPILE(InputGradient<T, Mask::kOfX>)          \
  SIB_COMPILE(SecondSums<T, Mask::kNone>)            \
  SIB_COMPILE(SecondSums<T, Mask::kOfX>)             \
  SIB_COMPILE(SecondDerivatives<T, Mask::kNone>)     \
  SIB_COMPILE(SecondDerivatives<T, Mask::kOfX>)      \
  SIB_COMPILE(SecondDerivatives<T, Mask::kOfY>)
COMPILE(float)
COMPILE(double)
COMPILE(at::BFloat16)

// What the derivatives start from.
struct Known {
  Tensor x;
  // The output where there is a shortcut, else undefined.
  Tensor y;
  Tensor weight, bias;
  // Of the pixels, f64 [C].
  Tensor mean, rstd;
  bool relu;
  // A channel's, of all members.
  double pixels;
  sib::GroupPtr group;

  Tensor scale() const { return weight.to(at::kDouble) * rstd; }

  // `[s, μ, β, more...]`.
  Tensor constants(const variable_list& more = {}) const {
    const Tensor s = scale();
    variable_list all{s, mean, sib::shift_of(bias.to(at::kDouble), s)};
    all.insert(all.end(), more.begin(), more.end());
    return at::stack(all).to(sib::computed_in(x.scalar_type()));
  }

  // Without gaps, in the layout of x.
  Tensor dense(const Tensor& pixels) const { return pixels.contiguous(x.suggest_memory_format()); }

  // `f.operator()<Number, kMask>()`.
  template <typename F>
  auto dispatch(const F& f) const {
    return sib::with_numbers(x.scalar_type(), [&]<typename Number>() {
      if (!relu) return f.template operator()<Number, Mask::kNone>();
      return y.defined() ? f.template operator()<Number, Mask::kOfY>()
                         : f.template operator()<Number, Mask::kOfX>();
    });
  }
};

// dx, G where there is a shortcut, and f64 Σ G, Σ Gd, the member's own and of all.
struct First {
  Tensor dx, g, own, sums;
};

template <typename Number, Mask kMask>
First first_derivatives(const Known& known, const Tensor& g_, const Tensor& x) {
  First result;
  Tensor g = g_;
  if constexpr (kMask == Mask::kOfY) {
    result.g = at::empty_like(x);
    result.own = sib::pass<GradientSums<Number, kMask>>(
        {g, x, known.dense(known.y)}, known.constants(), {result.g});
    g = result.g;
  } else {
    result.own = sib::pass<GradientSums<Number, kMask>>({g, x}, known.constants(), {});
  }
  result.sums = sib::summed(known.group, result.own);
  const Tensor means = result.sums / known.pixels, scale = known.scale();
  const Tensor constants =
      known.constants({-scale * known.rstd.square() * means[1], -scale * means[0]});
  result.dx = at::empty_like(x);
  constexpr Mask kLeft = kMask == Mask::kOfX ? Mask::kOfX : Mask::kNone;
  sib::pass<InputGradient<Number, kLeft>>({g, x}, constants, {result.dx});
  return result;
}

// ∂/∂g, ∂/∂x, and f64 ∂/∂γ.
struct Second {
  Tensor dg, dx, dweight;
};

// `g` is G where there is a shortcut; `sums` are those of the first derivative.
template <typename Number, Mask kMask>
Second second_derivatives(
    const Known& known, const Tensor& g, const Tensor& x, const Tensor& sums, const Tensor& v,
    const Tensor& a, const Tensor& b, const Tensor& w) {
  constexpr Mask kLeft = kMask == Mask::kOfX ? Mask::kOfX : Mask::kNone;
  const double m = known.pixels;
  const Tensor own = sib::pass<SecondSums<Number, kLeft>>({g, x, v}, known.constants(), {});
  const Tensor means = sib::summed(known.group, own) / m;
  const Tensor v_mean = means[0], vd = means[1], g_mean = sums[0] / m, gd = sums[1] / m;
  const Tensor scale = known.scale(), rr = known.rstd.square(), ar = a * known.rstd;
  const auto q_of = [&](const Tensor& v, const Tensor& vd, const Tensor& vg) {
    return vg - v * g_mean - rr * vd * gd;
  };
  const Tensor q = q_of(v_mean, vd, means[2]);
  const Tensor cross = ar - scale * rr * vd;
  const Tensor constants = known.constants({
      cross,
      b - scale * v_mean,
      -scale * rr * gd,
      cross,
      scale * rr * (2 * rr * vd * gd - q) - ar * rr * gd,
      scale * rr * (vd * g_mean + gd * v_mean) - ar * g_mean,
  });
  const Tensor own_q = known.group ? q_of(own[0], own[1], own[2]) : m * q;
  const Second result{at::empty_like(x), at::empty_like(x), known.rstd * own_q};
  if constexpr (kMask == Mask::kOfY) {
    sib::pass<SecondDerivatives<Number, kMask>>(
        {g, x, v, known.dense(known.y), w}, constants, {result.dg, result.dx});
  } else {
    sib::pass<SecondDerivatives<Number, kMask>>({g, x, v}, constants, {result.dg, result.dx});
  }
  return result;
}

struct BatchNormBackward : Function<BatchNormBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g, const Tensor& x, const std::optional<Tensor>& y,
      const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& rstd, bool relu,
      double pixels, const sib::GroupPtr& group) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Known known{x, y.value_or(Tensor()), weight, bias, mean, rstd, relu, pixels, group};
    const auto [dx, masked_g, own, sums] = known.dispatch([&]<typename Number, Mask kMask>() {
      return first_derivatives<Number, kMask>(known, known.dense(g), known.dense(x));
    });
    ctx->save_for_backward({y ? masked_g : g, x, known.y, weight, bias, mean, rstd, sums});
    ctx->saved_data["relu"] = relu;
    ctx->saved_data["pixels"] = pixels;
    ctx->saved_data["group"] = sib::kept(group);
    ctx->set_materialize_grads(false);
    const auto kind = weight.scalar_type();
    // An output must be a tensor, also where there is none.
    return {
        dx, (own[1] * rstd).to(kind), own[0].to(kind, /*non_blocking=*/false, /*copy=*/true),
        y ? masked_g : at::empty({0}, x.options())};
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("batch normalisation");
    const auto saved = ctx->get_saved_variables();
    const auto group = sib::group_of(ctx->saved_data["group"]);
    const Known known{saved[1], saved[2], saved[3], saved[4], saved[5], saved[6],
                      ctx->saved_data["relu"].toBool(), ctx->saved_data["pixels"].toDouble(),
                      group};
    TORCH_CHECK(
        !group || !(cotangents[1].defined() || cotangents[2].defined()),
        "derivatives of the gradients of batch normalisation's variables are not implemented over several processes");
    const auto of_pixels = [&](const Tensor& cotangent) {
      return known.dense(cotangent.defined() ? cotangent : at::zeros_like(known.x));
    };
    const auto of_channels = [&](const Tensor& cotangent) {
      return cotangent.defined() ? cotangent.to(at::kDouble) : at::zeros_like(known.mean);
    };
    const auto [dg, dx, dweight] = known.dispatch([&]<typename Number, Mask kMask>() {
      const Tensor w = kMask == Mask::kOfY ? of_pixels(cotangents[3]) : Tensor();
      return second_derivatives<Number, kMask>(
          known, known.dense(saved[0]), known.dense(known.x), saved[7], of_pixels(cotangents[0]),
          of_channels(cotangents[1]), of_channels(cotangents[2]), w);
    });
    return {dg, dx, {}, dweight.to(known.weight.scalar_type()), {}, {}, {}, {}, {}, {}};
  }
};

struct BatchNorm : Function<BatchNorm> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x_, const std::optional<Tensor>& shortcut,
      const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& rstd, bool relu,
      double pixels, const sib::GroupPtr& group) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Known known{x_, {}, weight, bias, mean, rstd, relu, pixels, group};
    const Tensor added = shortcut ? known.dense(*shortcut) : Tensor();
    const Tensor y = sib::affine(known.dense(x_), added, known.constants(), relu);
    ctx->save_for_backward({x_, shortcut ? y : Tensor(), weight, bias, mean, rstd});
    ctx->saved_data["relu"] = relu;
    ctx->saved_data["pixels"] = pixels;
    ctx->saved_data["group"] = sib::kept(group);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    // An argument that may be undefined has to be optional.
    std::optional<Tensor> y;
    if (saved[1].defined()) y = saved[1].detach();
    const auto gradients = BatchNormBackward::apply(
        g[0], saved[0], y, saved[2], saved[3], saved[4], saved[5],
        ctx->saved_data["relu"].toBool(), ctx->saved_data["pixels"].toDouble(),
        sib::group_of(ctx->saved_data["group"]));
    const Tensor of_shortcut = y ? gradients[3] : Tensor();
    return {gradients[0], of_shortcut, gradients[1], gradients[2], {}, {}, {}, {}, {}};
  }
};

// Of each channel's pixels.
struct OfBatch {
  // f64 [C].
  Tensor mean, variance;
  double pixels;
};

// `near` [C] are means that are not far, the same with all members of the group.
OfBatch moments(const Tensor& x_, const Tensor& near, const sib::GroupPtr& group) {
  const Tensor x = x_.contiguous(x_.suggest_memory_format());
  // Sums of the distances from some pixel of the channel lose no digits where the mean is large.
  Tensor some = x.select(0, 0);
  while (some.dim() > 1) some = some.select(-1, 0);
  Tensor k = some.to(sib::computed_in(x.scalar_type())).contiguous().unsqueeze(0);
  Tensor sums = sib::with_numbers(
      x.scalar_type(), [&]<typename Number>() { return sib::pass<Moments<Number>>({x}, k, {}); });
  double pixels = double(x.numel()) / double(x.size(1));
  k = k[0].to(at::kDouble);
  if (group) {
    // From here on distances from the same place, in f64.
    const Tensor further = k - near.to(at::kDouble), count = at::full({1}, pixels, at::kDouble);
    const Tensor of_all = sib::summed(
        group,
        at::cat({sums[0] + further * pixels,
                 sums[1] + 2 * further * sums[0] + further.square() * pixels, count}));
    sums = of_all.narrow(0, 0, 2 * k.size(0)).view({2, -1});
    pixels = of_all[-1].item<double>();
    k = near.to(at::kDouble);
  }
  const Tensor means = sums / pixels;
  // Rounding takes that of a constant channel below zero. The clamp keeps NaN.
  return {means[0] + k, (means[1] - means[0].square()).clamp_min(0), pixels};
}

}  // namespace

// `shortcut` may be null, and is added before the ReLU only. `of` is the group whose batch x is a part of, or null.
extern "C" char* sib_batch_norm(
    Tensor** out, const Tensor* x, const Tensor* shortcut, const Tensor* weight,
    const Tensor* bias, const Tensor* running_mean, const Tensor* running_var, double momentum,
    double eps, bool relu, const void* of) {
  return sib::caught([&] {
    std::optional<Tensor> added;
    if (shortcut) added = *shortcut;
    if (!x->is_cpu()) {
      TORCH_CHECK(!of, "composed on a device");
      *out = new Tensor(sib::batch_norm_on_device(
          *x, added, *weight, *bias, *running_mean, *running_var, momentum, eps, relu));
      return;
    }
    const sib::GroupPtr group = sib::group_at(of);
    OfBatch batch;
    Tensor rstd;
    {
      at::NoGradGuard guard;
      batch = moments(x->detach(), *running_mean, group);
      rstd = (batch.variance + eps).rsqrt();
      const double m = batch.pixels;
      const auto kind = running_mean->scalar_type();
      running_mean->mul_(1 - momentum).add_(batch.mean.to(kind), momentum);
      running_var->mul_(1 - momentum).add_((batch.variance * (m / (m - 1))).to(kind), momentum);
    }
    *out = new Tensor(BatchNorm::apply(
        *x, added, *weight, *bias, batch.mean, rstd, relu, batch.pixels, group));
  });
}
