// The device's kernels: for every operator that libtorch_cuda has one of, the CPU's over the same memory, and by
// formula those that the CPU has none of.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/op_registration/adaption.h>
#include <torch/library.h>

#include <shared_mutex>
#include <unordered_map>
#include <unordered_set>

#include "borrowed.h"
#include "counts.h"
#include "device.h"

namespace simcuda {

namespace {

using at::Device;
using at::IValue;
using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

// What libtorch checks before a kernel runs.
enum class Check { kOneDevice, kIterator, kNone };

const std::unordered_map<std::string, Check>& known_operators() {
  static const auto* const known = new std::unordered_map<std::string, Check>{
#include "operators.inc"
      // Not CUDA's alone, but each ends in a choice by the device.
      {"aten::copy_", Check::kNone},
      {"aten::convolution", Check::kOneDevice},
  };
  return *known;
}

struct Operator {
  std::string name;
  Check check = Check::kOneDevice;
  Kind kind = Kind::kKernel;
  bool copies = false;
  // The second argument is a list of indices, which may be on the CPU.
  bool indexes = false;
  bool floats_only = false;
  // The argument that is a generator, or -1.
  int generator = -1;
  std::vector<bool> written;
};

bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* one) { return name == one; });
}

Operator described(const c10::OperatorHandle& handle) {
  const auto& [name, overload] = handle.operator_name();
  Operator op;
  op.name = overload.empty() ? name : name + "." + overload;
  const auto known = known_operators().find(op.name);
  if (known != known_operators().end()) op.check = known->second;
  if (is_one_of(name, {"aten::view", "aten::as_strided", "aten::as_strided_", "aten::_reshape_alias",
                       "aten::unfold", "aten::alias", "aten::resize_",
                       "aten::view_as_real", "aten::view_as_complex"})) {
    op.kind = Kind::kView;
  } else if (name == "aten::_local_scalar_dense") {
    op.kind = Kind::kScalar;
  } else if (is_one_of(name, {"aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2",
                              "aten::unique_dim", "aten::unique_consecutive", "aten::bincount",
                              "aten::histc", "aten::repeat_interleave", "aten::multinomial",
                              "aten::_linalg_eigh", "aten::_linalg_svd"})) {
    // Their results have a size or a form that the host must know.
    op.kind = Kind::kSynchronising;
  }
  op.copies = name == "aten::copy_";
  op.indexes = is_one_of(
      name, {"aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"});
  op.floats_only = is_one_of(
      name, {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addmv", "aten::dot",
             "aten::avg_pool2d", "aten::max_pool2d_with_indices", "aten::convolution"});
  const auto& arguments = handle.schema().arguments();
  for (size_t i = 0; i < arguments.size(); ++i) {
    op.written.push_back(arguments[i].alias_info() && arguments[i].alias_info()->isWrite());
    if (arguments[i].type()->str() == "Generator?") op.generator = static_cast<int>(i);
  }
  return op;
}

const Operator& description_of(const c10::OperatorHandle& handle) {
  static std::shared_mutex mutex;
  static std::unordered_map<c10::OperatorName, Operator> known;
  {
    const std::shared_lock<std::shared_mutex> lock(mutex);
    const auto found = known.find(handle.operator_name());
    if (found != known.end()) return found->second;
  }
  Operator op = described(handle);
  const std::unique_lock<std::shared_mutex> lock(mutex);
  return known.emplace(handle.operator_name(), std::move(op)).first->second;
}

bool is_list_of_optional_tensors(const IValue& value) {
  if (!value.isList() || value.isTensorList()) return false;
  for (const IValue& element : value.toListRef()) {
    if (element.isTensor()) return true;
  }
  return false;
}

template <typename F>
IValue with_tensors(const IValue& value, const F& f) {
  if (value.isTensor()) return f(value.toTensor());
  if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor& tensor : value.toTensorVector()) list.push_back(f(tensor));
    return list;
  }
  if (is_list_of_optional_tensors(value)) {
    c10::List<OptionalTensor> list;
    for (const IValue& element : value.toListRef()) {
      list.push_back(element.isTensor() ? OptionalTensor(f(element.toTensor())) : std::nullopt);
    }
    return list;
  }
  return value;
}

template <typename F>
void each_tensor(const IValue& value, const F& f) {
  with_tensors(value, [&](const Tensor& tensor) {
    if (tensor.defined()) f(tensor);
    return tensor;
  });
}

// libtorch's error where tensors are on two devices.
void expect_one_device(
    const Operator& op, const c10::FunctionSchema& schema, c10::ArrayRef<IValue> arguments) {
  if (op.copies) return;
  std::optional<Device> common;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (op.indexes && i == 1) continue;
    const auto& name = schema.arguments()[i].name();
    each_tensor(arguments[i], [&](const Tensor& tensor) {
      if (op.check == Check::kOneDevice) {
        c10::impl::check_and_update_common_device(
            common, tensor, ("wrapper_CUDA_" + op.name).c_str(), name.c_str());
        return;
      }
      TORCH_CHECK(
          tensor.is_cuda() || (tensor.dim() == 0 && !op.written[i]),
          "Expected all tensors to be on the same device, but found at least two devices, cuda:0 "
          "and cpu! (", op.name, ", argument ", name, ")");
    });
  }
}

void count(const Operator& op, c10::ArrayRef<IValue> arguments) {
  Kind kind = op.kind;
  int64_t bytes = 0;
  if (op.copies && arguments.size() > 1 && arguments[1].isTensor()) {
    const Tensor &to = arguments[0].toTensor(), &from = arguments[1].toTensor();
    if (to.is_cuda() != from.is_cuda()) {
      bytes = static_cast<int64_t>(from.nbytes());
      const bool asynchronous =
          arguments.size() > 2 && arguments[2].toBool() && from.is_cpu() && is_pinned(from.const_data_ptr());
      kind = from.is_cuda() ? Kind::kToHost : asynchronous ? Kind::kToDeviceAsync : Kind::kToDevice;
    }
  }
  if (op.indexes) {
    each_tensor(arguments[1], [&](const Tensor& index) {
      const auto type = index.scalar_type();
      if (type == at::kBool || type == at::kByte) kind = Kind::kSynchronising;
      else if (index.is_cpu()) kind = Kind::kToDevice;
    });
  }
  Counts::get().add(kind, op.name, bytes);
}

void run(const c10::OperatorHandle& handle, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const Operator& op = description_of(handle);
  const auto& schema = handle.schema();
  const size_t n = schema.arguments().size(), first = stack->size() - n;
  const c10::ArrayRef<IValue> arguments(stack->data() + first, n);
  expect_one_device(op, schema, arguments);
  if (op.floats_only) {
    each_tensor(arguments[0], [&](const Tensor& tensor) {
      TORCH_CHECK(
          !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/true), "\"", op.name,
          "\" not implemented for '", tensor.scalar_type(), "'");
    });
  }
  count(op, arguments);

  Borrowed borrowed;
  {
    const InKernel in_kernel;
    const at::AutoDispatchBelowADInplaceOrView below;
    for (size_t i = 0; i < n; ++i) {
      IValue& value = (*stack)[first + i];
      if (value.isDevice()) {
        if (value.toDevice().is_cuda()) value = Device(at::kCPU);
      } else if (static_cast<int>(i) == op.generator && value.isNone()) {
        value = generator();
      } else {
        value = with_tensors(value, [&](const Tensor& tensor) { return borrowed.to_cpu(tensor); });
      }
    }
    handle.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  borrowed.finish();
  for (size_t i = stack->size() - schema.returns().size(); i < stack->size(); ++i) {
    (*stack)[i] =
        with_tensors((*stack)[i], [&](const Tensor& result) { return borrowed.to_device(result); });
  }
  Counts::get().finished(op.name);
}

// ----------------------------------------------------------------------------------------------------------
// Allocation.

at::ScalarType or_default(std::optional<at::ScalarType> type) {
  return type.value_or(c10::typeMetaToScalarType(at::get_default_dtype()));
}

void expect_first(std::optional<Device> device) {
  TORCH_CHECK(!device || device->index() <= 0, "CUDA error: invalid device ordinal");
}

Tensor empty(
    at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
    std::optional<Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  expect_first(device);
  Counts::get().add(Kind::kAllocation, "aten::empty.memory_format");
  return at::detail::empty_generic(
      size, device_allocator(), c10::DispatchKeySet(c10::DispatchKey::CUDA), or_default(type), format);
}

Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
    std::optional<at::Layout>, std::optional<Device> device, std::optional<bool>) {
  expect_first(device);
  Counts::get().add(Kind::kAllocation, "aten::empty_strided");
  return at::detail::empty_strided_generic(
      size, stride, device_allocator(), c10::DispatchKeySet(c10::DispatchKey::CUDA), or_default(type));
}

// ----------------------------------------------------------------------------------------------------------
// Kernels that the CPU has none of. `f` computes with tensors of the CPU.

template <typename... Results, typename F>
std::tuple<Results...> kernel(const char* name, const F& f) {
  Counts::get().add(Kind::kKernel, name);
  Borrowed borrowed;
  std::tuple<Results...> results;
  {
    const InKernel in_kernel;
    const at::AutoDispatchBelowADInplaceOrView below;
    results = f([&](const Tensor& tensor) {
      TORCH_CHECK(
          tensor.is_cuda(), "Expected all tensors to be on the same device, but found at least two "
          "devices, cuda:0 and cpu! (", name, ")");
      return borrowed.to_cpu(tensor);
    });
  }
  borrowed.finish();
  return std::apply(
      [&](const auto&... result) { return std::make_tuple(borrowed.to_device(result)...); }, results);
}

std::tuple<Tensor, Tensor> native_dropout(const Tensor& x, double p, std::optional<bool> train) {
  return kernel<Tensor, Tensor>("aten::native_dropout", [&](const auto& cpu) {
    const Tensor of = cpu(x);
    const Tensor kept = train.value_or(true) ? at::empty_like(of).bernoulli_(1 - p, generator())
                                             : at::ones_like(of);
    const double scale = train.value_or(true) && p < 1 ? 1 / (1 - p) : 1;
    return std::make_tuple(of * kept * scale, kept.to(at::kBool));
  });
}

// The statistics of a channel are f32 where pixels have less.
at::ScalarType statistics_of(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

std::vector<int64_t> over_pixels(const Tensor& x) {
  std::vector<int64_t> dims{0};
  for (int64_t dim = 2; dim < x.dim(); ++dim) dims.push_back(dim);
  return dims;
}

// [C] as it is multiplied with pixels.
Tensor by_channel(const Tensor& of, const Tensor& x) {
  std::vector<int64_t> size(x.dim(), 1);
  size[1] = -1;
  return of.to(statistics_of(x)).view(size);
}

std::tuple<Tensor, Tensor> batch_norm_stats(const Tensor& x, double eps) {
  return kernel<Tensor, Tensor>("aten::batch_norm_stats", [&](const auto& cpu) {
    const Tensor of = cpu(x).to(statistics_of(x));
    const Tensor mean = of.mean(over_pixels(x));
    return std::make_tuple(mean, (of.var(over_pixels(x), /*unbiased=*/false) + eps).rsqrt());
  });
}

Tensor batch_norm_elemt(
    const Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, const Tensor& mean,
    const Tensor& invstd, double) {
  return std::get<0>(kernel<Tensor>("aten::batch_norm_elemt", [&](const auto& cpu) {
    Tensor y = (cpu(x) - by_channel(cpu(mean), x)) * by_channel(cpu(invstd), x);
    if (weight && weight->defined()) y = y * by_channel(cpu(*weight), x);
    if (bias && bias->defined()) y = y + by_channel(cpu(*bias), x);
    return std::make_tuple(y.to(x.scalar_type()));
  }));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_backward_reduce(
    const Tensor& g, const Tensor& x, const Tensor& mean, const Tensor& invstd,
    const OptionalTensor& weight, bool input_g, bool weight_g, bool bias_g) {
  const char* name = "aten::batch_norm_backward_reduce";
  return kernel<Tensor, Tensor, Tensor, Tensor>(name, [&](const auto& cpu) {
    const Tensor of = cpu(g).to(statistics_of(x)), sum = of.sum(over_pixels(x));
    const Tensor products = (of * (cpu(x) - by_channel(cpu(mean), x))).sum(over_pixels(x));
    const auto type = weight && weight->defined() ? weight->scalar_type() : statistics_of(x);
    return std::make_tuple(
        input_g ? sum : Tensor(), input_g ? products : Tensor(),
        weight_g ? (products * cpu(invstd)).to(type) : Tensor(),
        bias_g ? sum.to(type, /*non_blocking=*/false, /*copy=*/true) : Tensor());
  });
}

Tensor batch_norm_backward_elemt(
    const Tensor& g, const Tensor& x, const Tensor& mean, const Tensor& invstd,
    const OptionalTensor& weight, const Tensor& sum, const Tensor& products, const Tensor& counts) {
  return std::get<0>(kernel<Tensor>("aten::batch_norm_backward_elemt", [&](const auto& cpu) {
    const Tensor rstd = cpu(invstd), n = cpu(counts).sum().to(statistics_of(x));
    Tensor dx = cpu(g) - by_channel(cpu(sum) / n, x) -
                (cpu(x) - by_channel(cpu(mean), x)) * by_channel(rstd * rstd * cpu(products) / n, x);
    dx = dx * by_channel(rstd, x);
    if (weight && weight->defined()) dx = dx * by_channel(cpu(*weight), x);
    return std::make_tuple(dx.to(x.scalar_type()));
  }));
}

// Not kernels of their own here: cuDNN's batch normalisation is libtorch's.

std::tuple<Tensor, Tensor, Tensor, Tensor> cudnn_batch_norm(
    const Tensor& x, const Tensor& weight, const OptionalTensor& bias, const OptionalTensor& mean,
    const OptionalTensor& var, bool training, double momentum, double eps) {
  const at::AutoDispatchBelowADInplaceOrView below;
  auto [y, save_mean, save_invstd] =
      at::native_batch_norm(x, weight, bias, mean, var, training, momentum, eps);
  return {y, save_mean, save_invstd, at::empty({0}, x.options().dtype(at::kByte))};
}

std::tuple<Tensor, Tensor, Tensor> cudnn_batch_norm_backward(
    const Tensor& x, const Tensor& g, const Tensor& weight, const OptionalTensor& mean,
    const OptionalTensor& var, const OptionalTensor& save_mean, const OptionalTensor& save_invstd,
    double eps, const Tensor&) {
  const at::AutoDispatchBelowADInplaceOrView below;
  return at::native_batch_norm_backward(
      g, x, weight, mean, var, save_mean, save_invstd, /*train=*/true, eps, {true, true, true});
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  std::unordered_set<std::string> own;
  const auto add = [&](const char* name, auto&& function) {
    own.insert(std::string("aten::") + name);
    library.impl(name, function);
  };
  add("empty.memory_format", empty);
  add("empty_strided", empty_strided);
  // Memory that is free is not in use: no stream is ever behind.
  add("record_stream", [](Tensor&, c10::Stream) {});
  add("native_dropout", native_dropout);
  add("batch_norm_stats", batch_norm_stats);
  add("batch_norm_elemt", batch_norm_elemt);
  add("batch_norm_backward_reduce", batch_norm_backward_reduce);
  add("batch_norm_backward_elemt", batch_norm_backward_elemt);
  add("cudnn_batch_norm", cudnn_batch_norm);
  add("cudnn_batch_norm_backward", cudnn_batch_norm_backward);
  for (const auto& [name, check] : known_operators()) {
    const auto dot = name.find('.');
    const c10::OperatorName key(
        name.substr(0, dot), dot == std::string::npos ? "" : name.substr(dot + 1));
    const bool is_known = c10::Dispatcher::singleton().findSchema(key).has_value();
    // Another storage under a tensor is nothing that a loan of it could give back.
    const bool is_refused = key.name == "aten::set_";
    if (is_known && !is_refused && !own.count(name)) {
      library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&run>());
    }
  }
}

}  // namespace

}  // namespace simcuda
