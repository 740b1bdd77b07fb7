// AdamW in one pass over memory for each parameter.

#include <ATen/ATen.h>

#include <vector>

#include "border.h"

namespace {

using at::Tensor;

std::vector<Tensor> listed(const Tensor* const* tensors, int64_t n) {
  std::vector<Tensor> list;
  for (int64_t i = 0; i < n; ++i) list.push_back(*tensors[i]);
  return list;
}

}  // namespace

// `step` counts from 1. Parameters and moments, which are laid out alike, are changed in place.
extern "C" char* sib_adamw(
    const Tensor* const* parameters, const Tensor* const* gradients, const Tensor* const* first,
    const Tensor* const* second, int64_t n, int64_t step, double learning_rate, double beta1,
    double beta2, double weight_decay, double epsilon) {
  return sib::caught([&] {
    if (n == 0) return;
    const at::NoGradGuard no_grad;
    const auto moved = listed(parameters, n);
    auto g = listed(gradients, n);
    for (int64_t i = 0; i < n; ++i) {
      // The kernel goes through memory, whatever the strides.
      if (g[i].strides() != moved[i].strides()) g[i] = at::empty_like(moved[i]).copy_(g[i]);
    }
    const Tensor count = at::full({}, double(step), moved[0].options().dtype(at::kFloat));
    const std::vector<Tensor> counts(n, count);
    at::_fused_adamw_(
        moved, g, listed(first, n), listed(second, n), {}, counts, learning_rate, beta1, beta2,
        weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
  });
}
