// What is done to all parameters at once: one pass over memory each on the CPU, a few kernels on a GPU.

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "border.h"

namespace sib::optimizer {

using at::Tensor;

std::vector<Tensor> listed(const Tensor* const* tensors, int64_t n) {
  std::vector<Tensor> list;
  for (int64_t i = 0; i < n; ++i) list.push_back(*tensors[i]);
  return list;
}

// The gradients laid out as the parameters: the kernels go through memory, whatever the strides.
std::vector<Tensor> laid_out(
    const Tensor* const* gradients, const std::vector<Tensor>& parameters, int64_t n) {
  auto g = listed(gradients, n);
  for (int64_t i = 0; i < n; ++i) {
    if (g[i].strides() != parameters[i].strides()) {
      g[i] = at::empty_like(parameters[i]).copy_(g[i]);
    }
  }
  return g;
}

std::optional<Tensor> where_given(const Tensor* tensor) {
  return tensor ? std::optional<Tensor>(*tensor) : std::nullopt;
}

}  // namespace sib::optimizer

// `step` counts from 1. Parameters and moments, which are laid out alike, are changed in place; not where
// `held`, which may be null, is 1.
extern "C" char* sib_adamw(
    const at::Tensor* const* parameters, const at::Tensor* const* gradients,
    const at::Tensor* const* first, const at::Tensor* const* second, int64_t n,
    const at::Tensor* held, int64_t step, double learning_rate, double beta1, double beta2,
    double weight_decay, double epsilon) {
  using namespace sib::optimizer;
  return sib::caught([&] {
    if (n == 0) return;
    const at::NoGradGuard no_grad;
    const auto moved = listed(parameters, n);
    const Tensor count = at::full({}, double(step), moved[0].options().dtype(at::kFloat));
    const std::vector<Tensor> counts(n, count);
    at::_fused_adamw_(
        moved, laid_out(gradients, moved, n), listed(first, n), listed(second, n), {}, counts,
        learning_rate, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false,
        /*grad_scale=*/{}, where_given(held));
  });
}

// Stochastic gradient descent, in PyTorch's form of it, as above; `first` holds the momentum.
extern "C" char* sib_sgd(
    const at::Tensor* const* parameters, const at::Tensor* const* gradients,
    const at::Tensor* const* first, int64_t n, const at::Tensor* held, int64_t step,
    double learning_rate, double momentum, double weight_decay) {
  using namespace sib::optimizer;
  return sib::caught([&] {
    if (n == 0) return;
    const at::NoGradGuard no_grad;
    const auto moved = listed(parameters, n);
    const auto buffers = momentum == 0 ? std::vector<Tensor>() : listed(first, n);
    at::_fused_sgd_(
        moved, laid_out(gradients, moved, n), buffers, weight_decay, momentum, learning_rate,
        /*dampening=*/0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/step == 1,
        /*grad_scale=*/{}, where_given(held));
  });
}

// The Euclidean norm of all tensors together, f64: squares of f32 underflow below 1e-19, which gradients of
// the background term may reach.
extern "C" char* sib_norm(at::Tensor** out, const at::Tensor* const* tensors, int64_t n) {
  using namespace sib::optimizer;
  return sib::caught([&] {
    const at::NoGradGuard no_grad;
    const auto norms = at::_foreach_norm(listed(tensors, n), 2, at::kDouble);
    *out = new Tensor(at::linalg_vector_norm(at::stack(norms)));
  });
}

// The tensors times `factor`, an f64 scalar, as new ones in `out`.
extern "C" char* sib_scaled(
    at::Tensor** out, const at::Tensor* const* tensors, int64_t n, const at::Tensor* factor) {
  using namespace sib::optimizer;
  return sib::caught([&] {
    if (n == 0) return;
    const at::NoGradGuard no_grad;
    const auto list = listed(tensors, n);
    const auto scaled = at::_foreach_mul(list, factor->to(list[0].scalar_type()));
    for (int64_t i = 0; i < n; ++i) out[i] = new Tensor(scaled[i]);
  });
}

// Moves `tensors` towards `ends` by `weight` of the way, in place.
extern "C" char* sib_lerp(
    const at::Tensor* const* tensors, const at::Tensor* const* ends, int64_t n, double weight) {
  using namespace sib::optimizer;
  return sib::caught([&] {
    if (n == 0) return;
    const at::NoGradGuard no_grad;
    at::_foreach_lerp_(listed(tensors, n), listed(ends, n), weight);
  });
}
