// What concerns the process, not tensors.

#include <ATen/Context.h>

#include <climits>
#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

extern "C" {

void sib_free_message(char* message) { free(message); }

// f32 is f32 in convolutions too: by default cuDNN rounds their operands to 10 bits (TF32), and R is
// a small difference of large numbers.
void sib_exact_convolutions() {
  at::globalContext().setFloat32Precision(
      at::Float32Backend::CUDA, at::Float32Op::CONV, at::Float32Precision::IEEE);
}

void sib_keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 256 << 20);
#endif
}

}
