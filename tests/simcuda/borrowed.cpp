#include "borrowed.h"

#include <c10/core/CPUAllocator.h>

#include <cstdlib>
#include <mutex>
#include <set>

#include "memory.h"

namespace simcuda {

namespace {

using at::DataPtr;
using at::Device;
using at::Storage;
using at::Tensor;

const Device kCpu(at::kCPU), kGpu(at::kCUDA, 0);

struct OfDevice final : at::Allocator {
  static void free(void* address) { Memory::get().give_back(address); }

  DataPtr allocate(size_t bytes) override {
    void* address = Memory::get().take(bytes);
    return {address, address, &free, kGpu};
  }
  at::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    memcpy(Memory::get().host(to), Memory::get().host(from), bytes);
  }
};

// The CPU's own, but within kernels: results then need not be copied.
struct OfCpu final : at::Allocator {
  inline static at::Allocator* usual = nullptr;

  static void free(void* address) {
    Memory& memory = Memory::get();
    if (address && memory.is_host(address)) {
      memory.give_back(memory.device(address));
    } else if (address) {
      usual->raw_deleter()(address);
    }
  }

  DataPtr allocate(size_t bytes) override {
    void* address;
    if (InKernel::now()) {
      address = Memory::get().take(bytes);
      if (address) address = Memory::get().host(address);
    } else {
      address = usual->allocate(bytes).release_context();
    }
    return {address, address, &free, kCpu};
  }
  at::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, size_t bytes) const override { memcpy(to, from, bytes); }
};

// Memory of the host that a GPU could reach by itself.
struct Pinned final : at::Allocator {
  inline static std::mutex mutex;
  inline static std::set<std::pair<const char*, const char*>> blocks;

  static void free(void* address) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto begin = static_cast<const char*>(address);
    blocks.erase(blocks.lower_bound({begin, nullptr}));
    std::free(address);
  }

  DataPtr allocate(size_t bytes) override {
    void* address = std::aligned_alloc(64, (bytes + 64) / 64 * 64);
    const auto begin = static_cast<const char*>(address);
    const std::lock_guard<std::mutex> lock(mutex);
    blocks.insert({begin, begin + bytes});
    return {address, address, &free, kCpu};
  }
  at::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, size_t bytes) const override { memcpy(to, from, bytes); }
};

OfDevice of_device;
OfCpu of_cpu;
Pinned pinned;

void* address_of(const Storage& storage) {
  return storage.unsafeGetStorageImpl()->_mutable_data_ptr_no_checks().get();
}

Storage storage_of(size_t bytes, DataPtr data, at::Allocator* allocator) {
  return Storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), bytes, std::move(data), allocator, /*resizable=*/true));
}

// The bytes of a storage of the CPU as the device's: the same memory where a kernel has allocated it.
DataPtr as_device_memory(const Storage& storage) {
  void* address = address_of(storage);
  if (address && Memory::get().is_host(address)) {
    const auto let_go = [](void* held) { delete static_cast<Storage*>(held); };
    return {Memory::get().device(address), new Storage(storage), let_go, kGpu};
  }
  DataPtr data = of_device.allocate(storage.nbytes());
  if (storage.nbytes()) memcpy(Memory::get().host(data.get()), address, storage.nbytes());
  return data;
}

Tensor like(const Tensor& tensor, Storage storage, c10::DispatchKey key) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(key), tensor.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(
      tensor.sizes(), tensor.strides(), tensor.storage_offset());
  made._set_conj(tensor.is_conj());
  made._set_neg(tensor.is_neg());
  return made;
}

}  // namespace

thread_local int InKernel::depth = 0;

void install_allocators() {
  OfCpu::usual = c10::GetCPUAllocator();
  c10::SetAllocator(at::kCPU, &of_cpu, /*priority=*/255);
  c10::SetAllocator(at::kCUDA, &of_device, /*priority=*/255);
}

at::Allocator* device_allocator() { return &of_device; }
at::Allocator* pinned_allocator() { return &pinned; }

bool is_pinned(const void* address) {
  const std::lock_guard<std::mutex> lock(Pinned::mutex);
  const auto at = static_cast<const char*>(address);
  auto after = Pinned::blocks.upper_bound({at, reinterpret_cast<const char*>(~uintptr_t(0))});
  return after != Pinned::blocks.begin() && at < (--after)->second;
}

Tensor Borrowed::to_cpu(const Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  if (!tensor.is_cuda()) {
    from_cpu_.insert(tensor.unsafeGetTensorImpl());
    return tensor;
  }
  for (const auto& [original, alias] : tensors_) {
    if (original.is_same(tensor)) return alias;
  }
  TORCH_CHECK(tensor.layout() == at::kStrided, "simcuda: strided tensors only");
  Tensor alias = like(tensor, cpu_storage(tensor.storage()), c10::DispatchKey::CPU);
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
    alias.unsafeGetTensorImpl()->set_wrapped_number(true);
  }
  tensors_.emplace_back(tensor, alias);
  return alias;
}

Tensor Borrowed::to_device(const Tensor& result) {
  if (!result.defined() || result.is_cuda()) return result;
  if (from_cpu_.count(result.unsafeGetTensorImpl())) return result;
  for (const auto& [original, alias] : tensors_) {
    if (alias.is_same(result)) return original;
  }
  return like(result, device_storage(result.storage()), c10::DispatchKey::CUDA);
}

void Borrowed::finish() {
  for (const auto& [original, alias] : borrowed_) {
    auto* storage = original.unsafeGetStorageImpl();
    void *before = address_of(original), *now = address_of(alias);
    if (now && (!before || Memory::get().host(before) != now)) {
      storage->set_data_ptr_noswap(as_device_memory(alias));
    }
    if (storage->nbytes() != alias.nbytes()) storage->set_nbytes(alias.nbytes());
  }
  for (const auto& [original, alias] : tensors_) {
    if (original.sizes() != alias.sizes() || original.strides() != alias.strides() ||
        original.storage_offset() != alias.storage_offset()) {
      original.unsafeGetTensorImpl()->set_sizes_and_strides(
          alias.sizes(), alias.strides(), alias.storage_offset());
    }
  }
}

Storage Borrowed::cpu_storage(const Storage& storage) {
  for (const auto& [original, alias] : borrowed_) {
    if (original.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl()) return alias;
  }
  void* address = address_of(storage);
  TORCH_CHECK(
      !address || Memory::get().is_device(address), "simcuda: memory that is not the device's");
  // Without a deleter: the original keeps it.
  DataPtr data(address ? Memory::get().host(address) : nullptr, kCpu);
  borrowed_.emplace_back(storage, storage_of(storage.nbytes(), std::move(data), &of_cpu));
  return borrowed_.back().second;
}

Storage Borrowed::device_storage(const Storage& storage) {
  for (const auto* pairs : {&borrowed_, &made_}) {
    for (const auto& [original, alias] : *pairs) {
      if (alias.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl()) return original;
    }
  }
  made_.emplace_back(storage_of(storage.nbytes(), as_device_memory(storage), &of_device), storage);
  return made_.back().first;
}

}  // namespace simcuda
