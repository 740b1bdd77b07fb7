// What goes to a device.

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "border.h"

// `x` of the CPU on the GPU `index`, by a copy that the host does not wait for: from pinned memory, which libtorch
// keeps until the copy is made.
extern "C" char* sib_sent(at::Tensor** out, const at::Tensor* x, int64_t index) {
  return sib::caught([&] {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(index));
    *out = new at::Tensor(x->pin_memory().to(device, x->scalar_type(), /*non_blocking=*/true));
  });
}

// A queue of a GPU's work beside the ordinary one, of which a thread takes one by its number.

namespace {

const c10::impl::VirtualGuardImpl& cuda() {
  static const c10::impl::VirtualGuardImpl guard(at::kCUDA);
  return guard;
}

c10::Stream stream(int64_t index, int64_t number) {
  return c10::Stream(
      c10::Stream::UNSAFE, at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index)), number);
}

}  // namespace

extern "C" {

char* sib_new_stream(int64_t* number, int64_t index) {
  return sib::caught([&] {
    *number = cuda().getStreamFromGlobalPool(stream(index, 0).device(), /*isHighPriority=*/false).id();
  });
}

// From now on what this thread asks of the GPU goes there.
char* sib_use_stream(int64_t index, int64_t number) {
  return sib::caught([&] {
    cuda().setDevice(stream(index, 0).device());
    cuda().exchangeStream(stream(index, number));
  });
}

// Waits for the queue.
char* sib_wait_for_stream(int64_t index, int64_t number) {
  return sib::caught([&] { cuda().synchronizeStream(stream(index, number)); });
}

// `x` of another queue is going to be used in the ordinary one: its memory is not given away before.
char* sib_lend_to_default_stream(const at::Tensor* x) {
  return sib::caught([&] { x->record_stream(cuda().getDefaultStream(x->device())); });
}

}
