// Tensors of the device as tensors of the CPU over the same memory, for the time of one kernel.
#pragma once

#include <ATen/ATen.h>

#include <unordered_set>
#include <utility>
#include <vector>

namespace simcuda {

// While one lives, what this thread allocates on the CPU lies in the device's memory.
class InKernel {
 public:
  InKernel() { ++depth; }
  ~InKernel() { --depth; }
  static bool now() { return depth > 0; }

 private:
  static thread_local int depth;
};

void install_allocators();
at::Allocator* device_allocator();
at::Allocator* pinned_allocator();
bool is_pinned(const void* address);

class Borrowed {
 public:
  at::Tensor to_cpu(const at::Tensor& tensor);
  // A result of the kernel: an argument itself, a view of one, or a tensor of its own.
  at::Tensor to_device(const at::Tensor& result);
  // Takes over that an argument was resized.
  void finish();

 private:
  template <typename T>
  using Pairs = std::vector<std::pair<T, T>>;  // of the device, of the CPU

  at::Storage cpu_storage(const at::Storage& storage);
  at::Storage device_storage(const at::Storage& storage);

  Pairs<at::Tensor> tensors_;
  Pairs<at::Storage> borrowed_, made_;
  // Scalars and indices that were on the CPU before.
  std::unordered_set<const c10::TensorImpl*> from_cpu_;
};

}  // namespace simcuda
