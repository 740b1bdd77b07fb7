// What concerns the process, not tensors.

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <climits>
#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

extern "C" {

void sib_free_message(char* message) { free(message); }

// Whether convolutions and matrix products on CUDA round operands of f32 to 10 bits (TF32). By default cuDNN would, and
// cuBLAS would not.
void sib_round_operands(bool round) {
  const auto precision = round ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
  for (const auto op : {at::Float32Op::CONV, at::Float32Op::MATMUL}) {
    at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, op, precision);
  }
}

// Algorithms that give the same bits each time, where libtorch has them on CUDA (elsewhere it warns, once), or those
// that cuDNN finds to be the fastest for the sizes at hand.
void sib_choose_algorithms(bool deterministic) {
  auto& context = at::globalContext();
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/true);
  context.setDeterministicCuDNN(deterministic);
  context.setDeterministicFillUninitializedMemory(false);
  context.setBenchmarkCuDNN(!deterministic);
  // Read when cuBLAS is first used.
  if (deterministic) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
}

// The most bytes that tensors on GPU `index` have held at a time; -1 where nobody counts them.
int64_t sib_peak_cuda_bytes(int64_t index) {
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::kCUDA));
  if (!allocator || !allocator->initialized()) return -1;
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return allocator->getDeviceStats(static_cast<c10::DeviceIndex>(index)).allocated_bytes[all].peak;
}

void sib_keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 256 << 20);
#endif
}

}
