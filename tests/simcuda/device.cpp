// A CUDA device that is none, for libtorch's CPU libraries: allocator, guard, hooks and generator.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <execinfo.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "borrowed.h"
#include "counts.h"
#include "device.h"
#include "memory.h"

namespace simcuda {

namespace {

using at::Device;
using at::DeviceIndex;

const Device kGpu(at::kCUDA, 0);

void expect_known(Device device) {
  TORCH_CHECK(device.index() <= 0, "CUDA error: invalid device ordinal");
}

// One device, whose streams are numbers: none is ever behind.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  Device exchangeDevice(Device device) const override {
    expect_known(device);
    return kGpu;
  }
  Device getDevice() const override { return kGpu; }
  void setDevice(Device device) const override { expect_known(device); }
  void uncheckedSetDevice(Device) const noexcept override {}
  DeviceIndex deviceCount() const noexcept override { return 1; }

  c10::Stream getStream(Device) const override { return stream(current()); }
  c10::Stream getDefaultStream(Device) const override { return stream(0); }
  c10::Stream getStreamFromGlobalPool(Device, bool) const override { return stream(kOther); }
  c10::Stream getNewStream(Device, int) const override { return stream(kOther); }
  c10::Stream exchangeStream(c10::Stream next) const override {
    return stream(std::exchange(current(), next.id()));
  }
  bool queryStream(const c10::Stream&) const override { return true; }
  // Who waits for a stream beside the default one does not wait for a step.
  void synchronizeStream(const c10::Stream& of) const override {
    if (of.id() == 0) waited("stream");
  }
  void synchronizeDevice(const DeviceIndex) const override { waited("device"); }

  void record(void** event, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {
    static char an_event;
    *event = &an_event;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void synchronizeEvent(void*) const override { waited("event"); }

 private:
  static constexpr c10::StreamId kOther = 1;
  // Of this thread.
  static c10::StreamId& current() {
    thread_local c10::StreamId id = 0;
    return id;
  }
  static c10::Stream stream(c10::StreamId id) { return c10::Stream(c10::Stream::UNSAFE, kGpu, id); }
  static void waited(const char* what) {
    Counts::get().add(Kind::kSynchronising, std::string("synchronise ") + what);
  }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

}  // namespace

// The class is the CPU's, since the kernels are.
const at::Generator& generator() {
  static const auto* own = new at::Generator(at::detail::createCPUGenerator());
  return *own;
}

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}

  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  void deviceSynchronize(DeviceIndex) const override {
    Counts::get().add(Kind::kSynchronising, "synchronise device");
  }

  const at::Generator& getDefaultGenerator(DeviceIndex) const override { return generator(); }
  at::Generator getNewGenerator(DeviceIndex) const override {
    return at::detail::createCPUGenerator();
  }

  at::Allocator* getCUDADeviceAllocator() const override { return device_allocator(); }
  at::Allocator* getPinnedMemoryAllocator() const override { return pinned_allocator(); }
  bool isPinnedPtr(const void* address) const override { return is_pinned(address); }
  Device getDeviceFromPtr(void* address) const override {
    TORCH_CHECK(Memory::get().is_device(address), "not an address of the device");
    return kGpu;
  }

  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasMAGMA() const override { return false; }
  bool hasCuDNN() const override { return true; }
  bool hasCuSOLVER() const override { return true; }
  bool hasCuBLASLt() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  long versionCuDNN() const override { return 91900; }
  long versionRuntimeCuDNN() const override { return 91900; }
  long versionCUDART() const override { return 13000; }
  std::string showConfig() const override { return "simulated CUDA"; }
  double batchnormMinEpsilonCuDNN() const override { return 0; }
  bool supportsDilatedConvolutionWithCuDNN() const override { return true; }
  bool supportsDepthwiseConvolutionWithCuDNN() const override { return true; }
  bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
};

namespace {

struct sigaction usual_action;

// The host followed an address of the device: on a GPU the same crash.
void on_fault(int, siginfo_t* fault, void*) {
  if (Memory::get().is_device(fault->si_addr)) {
    static const char text[] = "simcuda: the host reads or writes memory of the device, here:\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    void* frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    _exit(139);
  }
  sigaction(SIGSEGV, &usual_action, nullptr);  // and it comes again
}

struct Loaded {
  Loaded() {
    install_allocators();
    void* frames[1];
    backtrace(frames, 1);  // loads what it needs, which a handler must not
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &usual_action);
  }
  ~Loaded() { Counts::get().write(); }
} loaded;

}  // namespace

}  // namespace simcuda

namespace at {
using SimulatedHooks = simcuda::Hooks;
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, SimulatedHooks)
}  // namespace at
