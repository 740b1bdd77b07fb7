// What goes to a device.

#include <ATen/ATen.h>

#include "border.h"

// `x` of the CPU on the GPU `index`, by a copy that the host does not wait for: from pinned memory, which libtorch
// keeps until the copy is made.
extern "C" char* sib_sent(at::Tensor** out, const at::Tensor* x, int64_t index) {
  return sib::caught([&] {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(index));
    *out = new at::Tensor(x->pin_memory().to(device, x->scalar_type(), /*non_blocking=*/true));
  });
}
