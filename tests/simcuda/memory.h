// The device's memory: every block is mapped twice. Tensors hold addresses of the mapping that nobody may read,
// so that host code that follows one of them faults; kernels use the other.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

namespace simcuda {

class Memory {
 public:
  static Memory& get();

  // A device address; throws libtorch's error of a GPU that is full beyond SIMCUDA_MEMORY_MIB.
  void* take(size_t bytes);
  void give_back(void* device_address);

  bool is_device(const void* address) const { return lies_in(device_, address); }
  bool is_host(const void* address) const { return lies_in(host_, address); }
  // The same byte in the other mapping.
  void* host(const void* device_address) const {
    return host_ + (static_cast<const char*>(device_address) - device_);
  }
  void* device(const void* host_address) const {
    return device_ + (static_cast<const char*>(host_address) - host_);
  }

 private:
  // Of addresses, not of memory.
  static constexpr size_t kReach = size_t(1) << 38;

  Memory();
  static bool lies_in(const char* mapping, const void* address) {
    return address >= mapping && address < mapping + kReach;
  }

  std::mutex mutex_;
  char* device_;
  char* host_;
  size_t limit_, end_ = 0, used_ = 0;
  std::map<void*, size_t> taken_;
  std::map<size_t, std::vector<void*>> idle_;
};

}  // namespace simcuda
