#include "memory.h"

#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace simcuda {

namespace {

char* mapped(int file, size_t bytes, int protection) {
  void* address = mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
  TORCH_CHECK(address != MAP_FAILED, "simcuda: mmap: ", strerror(errno));
  return static_cast<char*>(address);
}

// Sizes in steps of an eighth at most, so that blocks are used again.
size_t rounded(size_t bytes) {
  size_t step = 512;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// Blocks from this size on are returned to the system when they are given back.
constexpr size_t kLarge = size_t(16) << 20;

}  // namespace

Memory& Memory::get() {
  static Memory* memory = new Memory;  // Tensors may be freed after everything else.
  return *memory;
}

Memory::Memory() {
  const int file = memfd_create("simcuda", MFD_CLOEXEC);
  TORCH_CHECK(file >= 0 && ftruncate(file, kReach) == 0, "simcuda: no memory: ", strerror(errno));
  device_ = mapped(file, kReach, PROT_NONE);
  host_ = mapped(file, kReach, PROT_READ | PROT_WRITE);
  close(file);
  const char* limit = getenv("SIMCUDA_MEMORY_MIB");
  limit_ = limit ? strtoull(limit, nullptr, 10) << 20 : kReach;
}

void* Memory::take(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t size = rounded(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  TORCH_CHECK_WITH(
      OutOfMemoryError, used_ + size <= limit_, "CUDA out of memory. Tried to allocate ",
      size >> 20, ".00 MiB. GPU 0 has a total capacity of ", limit_ >> 20, ".00 MiB of which ",
      (limit_ - used_) >> 20, ".00 MiB is free.");
  void* block;
  auto& idle = idle_[size];
  if (idle.empty()) {
    block = device_ + end_;
    end_ += size;
  } else {
    block = idle.back();
    idle.pop_back();
  }
  used_ += size;
  taken_.emplace(block, size);
  // What fresh memory of a GPU holds is anybody's guess: here it is NaN, in every kind of float.
  memset(host(block), 0xff, size);
  return block;
}

void Memory::give_back(void* address) {
  if (!address) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = taken_.find(address);
  if (found == taken_.end()) abort();  // Freed twice, or not the device's.
  const size_t size = found->second;
  taken_.erase(found);
  used_ -= size;
  if (size >= kLarge) madvise(host(address), size, MADV_REMOVE);
  idle_[size].push_back(address);
}

}  // namespace simcuda
