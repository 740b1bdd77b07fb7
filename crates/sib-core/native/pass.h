// One pass over the pixels of a batch [N,C,H,W], with constants and sums of each channel, in either
// memory layout. What happens at a pixel is an operation:
//
//   struct Op {
//     using Stored = at::BFloat16;  // float, double
//     using T = sib::Computed<Stored>;
//     static constexpr int kIn, kOut, kConstants, kSums;
//     static void at(const T* in, const T* constants, T* out, T* terms);
//   };
//   SIB_COMPILE(Op)
//
// `terms` are what the pixel adds to the channel's sums. Pixels are stored in one kind of numbers, and computed in
// T: bfloat16 in f32.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

// The best vector instructions of the machine are chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define SIB_EACH_CPU \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), flatten))
#else
#define SIB_EACH_CPU
#endif

// A template cannot be compiled once a CPU; its uses can.
#define SIB_COMPILE(...)                                                               \
  SIB_EACH_CPU void compute(                                                           \
      __VA_ARGS__, const sib::Pixels<__VA_ARGS__>& pixels, int64_t rows, int64_t width, \
      const sib::Channels<__VA_ARGS__>& channels) {                                    \
    using Op = __VA_ARGS__;                                                            \
    sib::compute_rows<Op>(                                                             \
        pixels, rows, width, channels, std::make_index_sequence<Op::kIn>(),            \
        std::make_index_sequence<Op::kOut>(), std::make_index_sequence<Op::kConstants>(), \
        std::make_index_sequence<Op::kSums>());                                        \
  }

namespace sib {

using at::Tensor;

// What numbers stored as S are computed in.
template <typename S>
using Computed = std::conditional_t<std::is_same_v<S, at::BFloat16>, float, S>;

inline at::ScalarType computed_in(at::ScalarType stored) {
  return stored == at::kBFloat16 ? at::kFloat : stored;
}

// `f.operator()<Stored>()` for numbers of this kind.
template <typename F>
auto with_numbers(at::ScalarType stored, const F& f) {
  switch (stored) {
    case at::kDouble:
      return f.template operator()<double>();
    case at::kBFloat16:
      return f.template operator()<at::BFloat16>();
    default:
      return f.template operator()<float>();
  }
}

template <typename S>
inline Computed<S> loaded(S x) {
  if constexpr (std::is_same_v<S, at::BFloat16>) {
    return std::bit_cast<float>(uint32_t(x.x) << 16);
  } else {
    return x;
  }
}

// Rounded to the nearest, ties to even. Without a branch, which c10's own has.
template <typename S>
inline S stored(Computed<S> x) {
  if constexpr (std::is_same_v<S, at::BFloat16>) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    const uint32_t nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return at::BFloat16(uint16_t(x == x ? nearest : 0x7fc0), at::BFloat16::from_bits());
  } else {
    return x;
  }
}

template <class Op>
struct Pixels {
  std::array<const typename Op::Stored*, Op::kIn> in;
  std::array<typename Op::Stored*, Op::kOut> out;

  Pixels from(int64_t first) const {
    Pixels rest = *this;
    for (auto& data : rest.in) data += first;
    for (auto& data : rest.out) data += first;
    return rest;
  }
};

// Constants [kConstants][stride] and sums [kSums][stride].
template <class Op>
struct Channels {
  const typename Op::T* constants;
  typename Op::T* sums;
  int64_t stride;
};

// `rows` rows of `width` pixels that lie one after the other, each with a channel of its own.
template <class Op, size_t... I, size_t... O, size_t... C, size_t... S>
inline void compute_rows(
    const Pixels<Op>& pixels, int64_t rows, int64_t width, const Channels<Op>& channels,
    std::index_sequence<I...>, std::index_sequence<O...>, std::index_sequence<C...>,
    std::index_sequence<S...>) {
  using T = typename Op::T;
  using Stored = typename Op::Stored;
  // An array has to have an element. Where all indices are constants none of these is left, and the
  // loop is vectorised.
  const Stored* from[] = {pixels.in[I]..., nullptr};
  Stored* to[] = {pixels.out[O]..., nullptr};
  const T* constants[] = {channels.constants + C * channels.stride..., nullptr};
  T* sums[] = {channels.sums + S * channels.stride..., nullptr};
  for (int64_t row = 0; row < rows; ++row) {
    // Outputs and sums overlap nothing. `omp simd` would say so too, but keeps the arrays.
#pragma GCC ivdep
    for (int64_t c = 0; c < width; ++c) {
      const T in[] = {loaded(from[I][c])..., 0}, of_channel[] = {constants[C][c]..., 0};
      T out[Op::kOut + 1], terms[Op::kSums + 1];
      Op::at(in, of_channel, out, terms);
      ((to[O][c] = stored<Stored>(out[O])), ...);
      ((sums[S][c] += terms[S]), ...);
    }
    ((from[I] += width), ...);
    ((to[O] += width), ...);
  }
}

// Channels last: pixels are rows of C values.
template <class Op>
void pass_over_rows(
    const Pixels<Op>& pixels, int64_t n, int64_t c, const typename Op::T* constants, double* sums) {
  using T = typename Op::T;
  // Sums of so many rows are kept in T, then added up in double.
  constexpr int64_t kRows = 256;
  const int64_t chunks = (n + kRows - 1) / kRows, size = Op::kSums * c;
  std::vector<T> partial(chunks * size, T(0));
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kRows;
      compute(
          Op{}, pixels.from(first * c), std::min(kRows, n - first), c,
          {constants, partial.data() + chunk * size, c});
    }
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (int64_t i = 0; i < size; ++i) sums[i] += partial[chunk * size + i];
  }
}

// Planes of H·W pixels of one channel, cut into rows as long as a few registers.
template <class Op>
void pass_over_planes(
    const Pixels<Op>& pixels, int64_t batch, int64_t c, int64_t plane,
    const typename Op::T* constants, double* sums) {
  using T = typename Op::T;
  constexpr int64_t kWidth = 64;
  at::parallel_for(0, c, 1, [&](int64_t begin, int64_t end) {
    std::array<T, (Op::kConstants + 1) * kWidth> same;
    std::array<T, (Op::kSums + 1) * kWidth> partial;
    for (int64_t channel = begin; channel < end; ++channel) {
      for (int i = 0; i < Op::kConstants; ++i) {
        std::fill_n(same.begin() + i * kWidth, kWidth, constants[i * c + channel]);
      }
      for (int64_t n = 0; n < batch; ++n) {
        partial.fill(T(0));
        const Channels<Op> of_row{same.data(), partial.data(), kWidth};
        const auto of_plane = pixels.from((n * c + channel) * plane);
        const int64_t rows = plane / kWidth, rest = plane % kWidth;
        compute(Op{}, of_plane, rows, kWidth, of_row);
        compute(Op{}, of_plane.from(rows * kWidth), 1, rest, of_row);
        for (int64_t i = 0; i < Op::kSums * kWidth; ++i) {
          sums[i / kWidth * c + channel] += partial[i];
        }
      }
    }
  });
}

// `Op` at every pixel of `in`, into `out`, all of them without gaps in the memory layout of the first.
// `constants` are [kConstants,C] of the kind that is computed in. Returns the sums, f64 [kSums,C].
template <class Op>
Tensor pass(
    const std::array<Tensor, Op::kIn>& in, const Tensor& constants,
    const std::array<Tensor, Op::kOut>& out) {
  using Stored = typename Op::Stored;
  const Tensor& x = in[0];
  const int64_t batch = x.size(0), c = x.size(1);
  for (const Tensor& other : in) {
    TORCH_CHECK(other.sizes() == x.sizes(), "expected ", x.sizes(), ", got ", other.sizes());
  }
  TORCH_CHECK(
      constants.size(1) == c, "expected ", c, " channels, got parameters of ", constants.size(1));
  const int64_t plane = batch * c > 0 ? x.numel() / (batch * c) : 0;
  Pixels<Op> pixels;
  for (int i = 0; i < Op::kIn; ++i) pixels.in[i] = in[i].template const_data_ptr<Stored>();
  for (int i = 0; i < Op::kOut; ++i) pixels.out[i] = out[i].template data_ptr<Stored>();
  Tensor sums = at::zeros({Op::kSums, c}, at::kDouble);
  const auto* of_channels = constants.const_data_ptr<typename Op::T>();
  if (x.suggest_memory_format() == at::MemoryFormat::ChannelsLast) {
    pass_over_rows<Op>(pixels, batch * plane, c, of_channels, sums.data_ptr<double>());
  } else {
    pass_over_planes<Op>(pixels, batch, c, plane, of_channels, sums.data_ptr<double>());
  }
  return sums;
}

}  // namespace sib
