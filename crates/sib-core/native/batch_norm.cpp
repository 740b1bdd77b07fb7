// Batch normalisation whose second derivative is one reduction and one elementwise pass. libtorch's
// is a composite of some thirty passes over memory.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "border.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// The best vector instructions of the machine are chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), flatten))
#else
#define FOR_EACH_CPU
#endif

// Batch normalisation in train mode. With x̂ = (x − μ)r, r = 1/σ and means over N·H·W:
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

// Channel sums that the coefficients need: Σ v, Σ v(x − μ), Σ vg.
struct Sums {
  double v = 0, vx = 0, vg = 0;
};

// ∂/∂g = gv·v + gx·x + g1 and ∂/∂x = xv·v + xg·g + xx·x + x1.
struct Coefficients {
  double gv, gx, g1, xv, xg, xx, x1;
};

template <typename T>
inline Sums sums_of_run(const T* v, const T* g, const T* x, int64_t n, T mean) {
  T sum_v = 0, sum_vx = 0, sum_vg = 0;
#pragma omp simd reduction(+ : sum_v, sum_vx, sum_vg)
  for (int64_t i = 0; i < n; ++i) {
    sum_v += v[i];
    sum_vx += v[i] * (x[i] - mean);
    sum_vg += v[i] * g[i];
  }
  return {double(sum_v), double(sum_vx), double(sum_vg)};
}

template <typename T>
inline void derivatives_of_run(
    const T* v, const T* g, const T* x, T* dg, T* dx, int64_t n, const Coefficients& c) {
  const T gv = T(c.gv), gx = T(c.gx), g1 = T(c.g1);
  const T xv = T(c.xv), xg = T(c.xg), xx = T(c.xx), x1 = T(c.x1);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    dg[i] = gv * v[i] + gx * x[i] + g1;
    dx[i] = xv * v[i] + xg * g[i] + xx * x[i] + x1;
  }
}

// The same with channels last: rows of one value a channel, sums[3][C].
template <typename T>
inline void sums_of_rows(
    const T* v, const T* g, const T* x, int64_t rows, int64_t channels, const T* mean, T* sums) {
  T *sum_v = sums, *sum_vx = sums + channels, *sum_vg = sums + 2 * channels;
  for (int64_t row = 0; row < rows; ++row, v += channels, g += channels, x += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      sum_v[c] += v[c];
      sum_vx[c] += v[c] * (x[c] - mean[c]);
      sum_vg[c] += v[c] * g[c];
    }
  }
}

// coefficients[7][C], in the order of the struct.
template <typename T>
inline void derivatives_of_rows(
    const T* v, const T* g, const T* x, T* dg, T* dx, int64_t rows, int64_t channels,
    const T* coefficients) {
  const T *gv = coefficients, *gx = gv + channels, *g1 = gx + channels, *xv = g1 + channels,
          *xg = xv + channels, *xx = xg + channels, *x1 = xx + channels;
  for (int64_t row = 0; row < rows; ++row) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      dg[c] = gv[c] * v[c] + gx[c] * x[c] + g1[c];
      dx[c] = xv[c] * v[c] + xg[c] * g[c] + xx[c] * x[c] + x1[c];
    }
    v += channels, g += channels, x += channels, dg += channels, dx += channels;
  }
}

// A template cannot be compiled once a CPU; its uses can.
#define KERNELS(T)                                                                               \
  FOR_EACH_CPU Sums run_sums(const T* v, const T* g, const T* x, int64_t n, T mean) {            \
    return sums_of_run(v, g, x, n, mean);                                                        \
  }                                                                                              \
  FOR_EACH_CPU void run_derivatives(                                                             \
      const T* v, const T* g, const T* x, T* dg, T* dx, int64_t n, const Coefficients& c) {      \
    derivatives_of_run(v, g, x, dg, dx, n, c);                                                   \
  }                                                                                              \
  FOR_EACH_CPU void row_sums(                                                                    \
      const T* v, const T* g, const T* x, int64_t rows, int64_t channels, const T* mean,         \
      T* sums) {                                                                                 \
    sums_of_rows(v, g, x, rows, channels, mean, sums);                                           \
  }                                                                                              \
  FOR_EACH_CPU void row_derivatives(                                                             \
      const T* v, const T* g, const T* x, T* dg, T* dx, int64_t rows, int64_t channels,          \
      const T* coefficients) {                                                                   \
    derivatives_of_rows(v, g, x, dg, dx, rows, channels, coefficients);                          \
  }
KERNELS(float)
KERNELS(double)

// Of one channel: everything but the sums is known from the forward pass and the first backward.
Coefficients coefficients(
    const Sums& sums, double m, double weight, double mean, double rstd, double sum_gx_hat,
    double sum_g, double a, double b, double* weight_gradient) {
  const double mean_v = sums.v / m, mean_vx = sums.vx * rstd / m, mean_vg = sums.vg / m;
  const double mean_gx = sum_gx_hat / m, mean_g = sum_g / m;
  const double q = mean_vg - mean_v * mean_g - mean_vx * mean_gx;
  *weight_gradient = rstd * m * q;
  const double scale = weight * rstd, curve = weight * rstd * rstd;
  const double on_x_hat = a - scale * mean_vx;
  const double on_x_hat_2 = -curve * (q - 2 * mean_vx * mean_gx) - a * rstd * mean_gx;
  Coefficients c;
  c.gv = scale;
  c.gx = on_x_hat * rstd;
  c.g1 = b - scale * mean_v - c.gx * mean;
  c.xv = -curve * mean_gx;
  c.xg = a * rstd - curve * mean_vx;
  c.xx = on_x_hat_2 * rstd;
  c.x1 = curve * (mean_vx * mean_g + mean_gx * mean_v) - a * rstd * mean_g - c.xx * mean;
  return c;
}

// What [C] double tensors of the first backward and the cotangents hold.
struct PerChannel {
  const double *weight, *mean, *rstd, *sum_gx_hat, *sum_g, *a, *b;

  Coefficients at(int64_t c, const Sums& sums, double m, double* weight_gradient) const {
    return coefficients(
        sums, m, weight[c], mean[c], rstd[c], sum_gx_hat[c], sum_g[c], a[c], b[c],
        weight_gradient + c);
  }
};

// Planes of pixels: a channel is N runs of H·W values.
template <typename T>
void second_derivative_of_planes(
    const Tensor& v, const Tensor& g, const Tensor& x, const PerChannel& known, Tensor& dg,
    Tensor& dx, double* weight_gradient) {
  const int64_t batch = x.size(0), channels = x.size(1), pixels = x.numel() / (batch * channels);
  const T *v_data = v.const_data_ptr<T>(), *g_data = g.const_data_ptr<T>(),
          *x_data = x.const_data_ptr<T>();
  T *dg_data = dg.data_ptr<T>(), *dx_data = dx.data_ptr<T>();
  at::parallel_for(0, channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      Sums sums;
      for (int64_t n = 0; n < batch; ++n) {
        const int64_t at = (n * channels + c) * pixels;
        const Sums run =
            run_sums(v_data + at, g_data + at, x_data + at, pixels, T(known.mean[c]));
        sums.v += run.v, sums.vx += run.vx, sums.vg += run.vg;
      }
      const Coefficients of_c = known.at(c, sums, double(batch * pixels), weight_gradient);
      for (int64_t n = 0; n < batch; ++n) {
        const int64_t at = (n * channels + c) * pixels;
        run_derivatives(
            v_data + at, g_data + at, x_data + at, dg_data + at, dx_data + at, pixels, of_c);
      }
    }
  });
}

// Channels last: N·H·W rows of C values.
template <typename T>
void second_derivative_of_rows(
    const Tensor& v, const Tensor& g, const Tensor& x, const PerChannel& known, Tensor& dg,
    Tensor& dx, double* weight_gradient) {
  const int64_t channels = x.size(1), rows = x.numel() / channels;
  const T *v_data = v.const_data_ptr<T>(), *g_data = g.const_data_ptr<T>(),
          *x_data = x.const_data_ptr<T>();
  T *dg_data = dg.data_ptr<T>(), *dx_data = dx.data_ptr<T>();
  const std::vector<T> mean(known.mean, known.mean + channels);
  // Sums of at most so many rows are kept in T, then added up in double.
  constexpr int64_t kRows = 256;
  const int64_t chunks = (rows + kRows - 1) / kRows;
  std::vector<T> partial(chunks * 3 * channels, T(0));
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kRows, at = first * channels;
      row_sums(
          v_data + at, g_data + at, x_data + at, std::min(kRows, rows - first), channels,
          mean.data(), partial.data() + chunk * 3 * channels);
    }
  });
  std::vector<T> folded(7 * channels);
  for (int64_t c = 0; c < channels; ++c) {
    Sums sums;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const T* of_chunk = partial.data() + chunk * 3 * channels + c;
      sums.v += of_chunk[0], sums.vx += of_chunk[channels], sums.vg += of_chunk[2 * channels];
    }
    const Coefficients of_c = known.at(c, sums, double(rows), weight_gradient);
    const double values[7] = {of_c.gv, of_c.gx, of_c.g1, of_c.xv, of_c.xg, of_c.xx, of_c.x1};
    for (int64_t i = 0; i < 7; ++i) folded[i * channels + c] = T(values[i]);
  }
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kRows, at = first * channels;
    row_derivatives(
        v_data + at, g_data + at, x_data + at, dg_data + at, dx_data + at,
        std::min(end * kRows, rows) - first, channels, folded.data());
  });
}

Tensor channel_values(const Tensor& values, const Tensor& like) {
  return values.defined() ? values.to(at::kDouble).contiguous()
                          : at::zeros({like.size(0)}, at::kDouble);
}

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
    const Tensor &x = saved[1], &weight = saved[2];
    const auto format = x.suggest_memory_format();
    const Tensor x_dense = x.contiguous(format), g = saved[0].contiguous(format);
    const Tensor v = cotangents[0].defined() ? cotangents[0].contiguous(format)
                                             : at::zeros_like(x_dense);
    const Tensor mean = channel_values(saved[3], weight), rstd = channel_values(saved[4], weight),
                 sum_gx_hat = channel_values(saved[5], weight),
                 sum_g = channel_values(saved[6], weight), a = channel_values(cotangents[1], weight),
                 b = channel_values(cotangents[2], weight), gamma = channel_values(weight, weight);
    const PerChannel known{
        gamma.const_data_ptr<double>(), mean.const_data_ptr<double>(),
        rstd.const_data_ptr<double>(),  sum_gx_hat.const_data_ptr<double>(),
        sum_g.const_data_ptr<double>(), a.const_data_ptr<double>(),
        b.const_data_ptr<double>()};
    Tensor dg = at::empty_like(x_dense), dx = at::empty_like(x_dense),
           dweight = at::empty_like(gamma);
    const bool rows = format == at::MemoryFormat::ChannelsLast;
    if (x.scalar_type() == at::kDouble) {
      (rows ? second_derivative_of_rows<double> : second_derivative_of_planes<double>)(
          v, g, x_dense, known, dg, dx, dweight.data_ptr<double>());
    } else {
      (rows ? second_derivative_of_rows<float> : second_derivative_of_planes<float>)(
          v, g, x_dense, known, dg, dx, dweight.data_ptr<double>());
    }
    return {dg, dx, dweight.to(weight.scalar_type()), {}, {}, {}};
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
