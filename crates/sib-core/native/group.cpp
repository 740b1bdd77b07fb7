// Several processes as one, by libtorch's c10d: a store to meet at, and collective operations on Gloo (CPU) or NCCL.

#include "group.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <dlfcn.h>

#include "border.h"

namespace {

using at::Tensor;
using c10::intrusive_ptr;
using c10d::Backend;
using std::chrono::milliseconds;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Members : sib::Group {
  intrusive_ptr<c10d::Store> store;
  intrusive_ptr<Backend> backend;
  // A collective operation has failed: the others are not where this process is.
  mutable std::atomic<bool> broken{false};

  template <typename F>
  void together(F&& start) const {
    try {
      TORCH_CHECK(backend, "the group has been left");
      std::vector<intrusive_ptr<c10d::Work>> works;
      start(works);
      for (const auto& work : works) work->wait();
    } catch (...) {
      broken = true;
      throw;
    }
  }

  void sum(std::vector<Tensor> tensors) const override {
    together([&](auto& works) {
      for (Tensor& tensor : tensors) {
        std::vector<Tensor> one{tensor};
        works.push_back(backend->allreduce(one));
      }
    });
  }

  // Each tensor becomes that of its root.
  void broadcast(std::vector<Tensor> tensors, const int64_t* roots) const {
    together([&](auto& works) {
      for (size_t i = 0; i < tensors.size(); ++i) {
        std::vector<Tensor> one{tensors[i]};
        c10d::BroadcastOptions options;
        options.rootRank = roots[i];
        works.push_back(backend->broadcast(one, options));
      }
    });
  }
};

std::vector<Tensor> listed(const Tensor* const* tensors, int64_t count) {
  std::vector<Tensor> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(*tensors[i]);
  return all;
}

const Members& members(const void* group) {
  return *static_cast<const Members*>(static_cast<const sib::Group*>(group));
}

// ProcessGroupNCCL lies in libtorch_cuda, which the program loads when it needs it, and its header needs CUDA's. Its
// two constructors are called by name; the rest is virtual functions of Backend.
struct NcclOptions : Backend::Options {
  using Backend::Options::Options;
};

// More than either of the two has (libtorch 2.13: 1152 bytes).
constexpr size_t kNcclRoom = 8192;

template <typename F>
F* of_libtorch_cuda(const char* name) {
  void* found = dlsym(RTLD_DEFAULT, name);
  TORCH_CHECK(found, "this libtorch has no NCCL that is known here: no ", name);
  return reinterpret_cast<F*>(found);
}

template <typename T, typename F>
intrusive_ptr<T> constructed(F&& construct) {
  void* room = ::operator new(kNcclRoom);
  try {
    construct(room);
  } catch (...) {
    ::operator delete(room);
    throw;
  }
  return intrusive_ptr<T>::unsafe_steal_from_new(static_cast<T*>(room));
}

intrusive_ptr<Backend> on_nccl(
    const intrusive_ptr<c10d::Store>& store, int rank, int size, milliseconds timeout) {
  auto* make_options = of_libtorch_cuda<void(void*, bool)>("_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb");
  auto* make_group = of_libtorch_cuda<void(
      void*, intrusive_ptr<c10d::Store>, int, int, intrusive_ptr<NcclOptions>)>(
      "_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_"
      "target_default_null_typeIS3_EEEEiiNS2_INS0_7OptionsENS5_IS8_EEEE");
  auto options = constructed<NcclOptions>([&](void* room) { make_options(room, false); });
  options->timeout = timeout;
  return constructed<Backend>([&](void* room) { make_group(room, store, rank, size, options); });
}

intrusive_ptr<Backend> on_gloo(
    const intrusive_ptr<c10d::Store>& store, int rank, int size, milliseconds timeout,
    const char* address) {
  using c10d::ProcessGroupGloo;
  intrusive_ptr<ProcessGroupGloo::Options> options;
  if (address) {
    options = ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(ProcessGroupGloo::createDeviceForHostname(address));
  } else {
    options = ProcessGroupGloo::Options::create_default(timeout);  // of GLOO_SOCKET_IFNAME
  }
  return c10::make_intrusive<ProcessGroupGloo>(store, rank, size, options);
}

// The sum over the members. Its adjoint is the same sum, so it can be differentiated any number of times.
struct Sum : Function<Sum> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const sib::GroupPtr& group) {
    ctx->saved_data["group"] = sib::kept(group);
    at::AutoDispatchBelowADInplaceOrView guard;
    return sib::summed(group, x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    return {Sum::apply(g[0], sib::group_of(ctx->saved_data["group"])), {}};
  }
};

}  // namespace

extern "C" {

// The member `rank` of `size` that meet at `host`:`port`, where this process `serves` or not. Peers reach it at
// `address`, or where that is null on the interface of GLOO_SOCKET_IFNAME.
char* sib_group_join(
    void** out, const char* host, uint16_t port, bool serves, const char* prefix, int64_t rank,
    int64_t size, int64_t timeout_ms, const char* address, bool on_gpus) {
  return sib::caught([&] {
    // c10d warns with a stack trace of all that it then throws.
    if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = 2;
    const milliseconds timeout(timeout_ms);
    c10d::TCPStoreOptions of;
    of.port = port;
    of.isServer = serves;
    of.numWorkers = size;
    of.timeout = timeout;
    // The members wait for each other when their group comes together, not here.
    of.waitWorkers = false;
    auto group = c10::make_intrusive<Members>();
    group->store = c10::make_intrusive<c10d::PrefixStore>(
        prefix, c10::make_intrusive<c10d::TCPStore>(host, of));
    group->backend = on_gpus ? on_nccl(group->store, int(rank), int(size), timeout)
                             : on_gloo(group->store, int(rank), int(size), timeout, address);
    *out = static_cast<sib::Group*>(group.release());
  });
}

// Closes the connections to the other members, but not the one to the store.
void sib_group_leave(const void* group) { const_cast<Members&>(members(group)).backend.reset(); }

void sib_group_free(void* group) {
  sib::GroupPtr::reclaim(static_cast<sib::Group*>(group));
}

bool sib_group_is_broken(const void* group) { return members(group).broken; }

// Adds to a number that the members share; 0 at first.
char* sib_group_add(int64_t* sum, const void* group, const char* key, int64_t amount) {
  return sib::caught([&] { *sum = members(group).store->add(key, amount); });
}

char* sib_group_sum(const void* group, const Tensor* const* tensors, int64_t count) {
  return sib::caught([&] { members(group).sum(listed(tensors, count)); });
}

char* sib_group_broadcast(
    const void* group, const Tensor* const* tensors, const int64_t* roots, int64_t count) {
  return sib::caught([&] { members(group).broadcast(listed(tensors, count), roots); });
}

char* sib_group_sum_of(Tensor** out, const void* group, const Tensor* x) {
  return sib::caught([&] {
    *out = new Tensor(Sum::apply(*x, sib::group_at(group)));
  });
}

}
