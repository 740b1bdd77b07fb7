// What the simulation promises. `scripts/simcuda.sh --check` builds and runs it.

#include <dlfcn.h>
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>

#include <iostream>

namespace {

using at::Tensor;

int failures = 0;

void expect(const std::string& what, bool holds) {
  std::cout << (holds ? "ok      " : "FAILED  ") << what << "\n";
  failures += !holds;
}

template <typename F>
void refused(const std::string& what, const std::string& words, const F& f) {
  std::string error = "no error";
  try {
    f();
  } catch (const std::exception& thrown) {
    error = thrown.what();
  }
  expect(what + ": " + error.substr(0, error.find('\n')).substr(0, 70), error.find(words) != std::string::npos);
}

bool agree(const Tensor& device, const Tensor& cpu) {
  return device.is_cuda() && at::allclose(device.cpu(), cpu, 1e-9, 1e-12);
}

// The gradient of a functional of a gradient.
Tensor second_derivative(Tensor x, Tensor w) {
  x = x.detach().requires_grad_();
  w = w.detach().requires_grad_();
  const auto ones = torch::ones({3}, x.options()), zeros = torch::zeros({3}, x.options());
  const Tensor y = torch::conv2d(x, w, {}, 1, 1).relu();
  const Tensor z = torch::batch_norm(y, ones, zeros, {}, {}, true, 0.1, 1e-5, true);
  const Tensor first = torch::autograd::grad({z.pow(3).sum()}, {x}, {}, true, true)[0];
  return torch::autograd::grad({first.pow(2).sum()}, {w})[0];
}

void mixing(const Tensor& device, const Tensor& cpu) {
  const auto places = at::zeros({4, 5}, at::kLong);
  const std::string words = "same device";
  refused("an index of the CPU in gather", words, [&] { device.gather(0, places); });
  refused("addition", words, [&] { device + cpu; });
  refused("a matrix product", words, [&] { at::mm(device, cpu.t()); });
  refused("a choice", words, [&] { at::where(device > 0, cpu, device); });
  refused("a list", words, [&] { at::cat({device, cpu}); });
  refused("in place on the CPU", words, [&] { cpu.add_(device); });
  refused("a convolution", words, [&] {
    at::conv2d(device.view({1, 1, 4, 5}), at::randn({1, 1, 3, 3}));
  });
  refused("a kernel by formula", words, [&] {
    const Tensor x = at::randn({2, 3, 4, 4});
    at::batch_norm_elemt(x.to(device.device()), {}, {}, at::zeros({3}), at::ones({3}), 0);
  });
  refused("a product of integers", "not implemented", [&] {
    const Tensor whole = at::ones({2, 2}, device.options().dtype(at::kLong));
    at::mm(whole, whole);
  });
  device + at::ones({});  // a scalar of the CPU
  device.index({at::zeros({2}, at::kLong)});  // indices of the CPU
  expect("scalars and indices of the CPU are taken", true);
}

void memory(const Tensor& device) {
  const Tensor before = device.cpu();
  const Tensor view = device.view({20}).slice(0, 5, 10);
  view.zero_();
  expect("a view writes through", device.cpu()[1].abs().sum().item<float>() == 0 && device.cpu()[0].equal(before[0]));
  Tensor out = at::empty({0}, device.options());
  at::add_out(out, device, device);
  expect("an output is resized", agree(out, device.cpu() * 2));
  const Tensor turned = device.t().unsqueeze(0).expand({3, 5, 4}).permute({2, 0, 1});
  expect("strides of any kind", turned.cpu().equal(device.cpu().t().unsqueeze(0).expand({3, 5, 4}).permute({2, 0, 1})));
  expect("fresh memory is poisoned", std::isnan(at::empty({3}, device.options()).cpu()[0].item<float>()));
  const Tensor pinned = at::ones({8}).pin_memory();
  expect("pinned memory", pinned.is_pinned() && !at::ones({8}).is_pinned());
  expect("an asynchronous copy", agree(pinned.to(device.device(), at::kFloat, true), pinned));
  std::cout.flush();
  if (fork() == 0) {
    ::close(STDERR_FILENO);
    volatile float value = *device.const_data_ptr<float>();
    _exit(value == value ? 0 : 1);
  }
  int status = 0;
  wait(&status);
  expect("the host cannot read the device's memory", WIFEXITED(status) && WEXITSTATUS(status) == 139);
}

void kernels(const at::Device& gpu) {
  const Tensor x = at::randn({2, 3, 6, 6}, at::kDouble), g = at::randn_like(x);
  const Tensor kernels = at::randn({3, 3, 3, 3}, at::kDouble);
  expect("second derivatives", agree(second_derivative(x.to(gpu), kernels.to(gpu)), second_derivative(x, kernels)));

  const Tensor w = at::rand({3}, at::kDouble) + 0.5, b = at::randn({3}, at::kDouble);
  const auto [y, mean, invstd] = at::native_batch_norm(x, w, b, {}, {}, true, 0.1, 1e-5);
  const auto [dx, dw, db] =
      at::native_batch_norm_backward(g, x, w, {}, {}, mean, invstd, true, 1e-5, {true, true, true});
  const Tensor dx_ = x.to(gpu), dg = g.to(gpu), dw_ = w.to(gpu);
  const auto [m, r] = at::batch_norm_stats(dx_, 1e-5);
  expect("batch_norm_stats", agree(m, mean) && agree(r, invstd));
  expect("batch_norm_elemt", agree(at::batch_norm_elemt(dx_, dw_, b.to(gpu), m, r, 1e-5), y));
  const auto [sum, products, of_weight, of_bias] =
      at::batch_norm_backward_reduce(dg, dx_, m, r, dw_, true, true, true);
  expect("batch_norm_backward_reduce", agree(of_weight, dw) && agree(of_bias, db));
  const Tensor count = at::full({1}, 72, at::TensorOptions(at::kInt).device(gpu));
  const Tensor elemt = at::batch_norm_backward_elemt(dg, dx_, m, r, dw_, sum, products, count);
  expect("batch_norm_backward_elemt", agree(elemt, dx));

  torch::manual_seed(3);
  const Tensor first = at::dropout(at::ones({100}, gpu), 0.5, true).cpu(), of_cpu = at::rand({3});
  torch::manual_seed(3);
  expect("a generator of its own, seeded as the CPU's",
         at::rand({3}).equal(of_cpu) && at::dropout(at::ones({100}, gpu), 0.5, true).cpu().equal(first));
}

}  // namespace

int main(int, char** arguments) {
  if (!dlopen(arguments[1], RTLD_LAZY | RTLD_GLOBAL)) {
    std::cerr << dlerror() << "\n";
    return 2;
  }
  const at::Device gpu(at::kCUDA, 0);
  expect("there is a device", torch::cuda::is_available() && torch::cuda::device_count() == 1);
  refused("there is no second one", "invalid device ordinal", [] {
    at::empty({1}, at::Device(at::kCUDA, 1));
  });
  mixing(at::randn({4, 5}).to(gpu), at::randn({4, 5}));
  memory(at::randn({4, 5}).to(gpu));
  kernels(gpu);
  std::cout << (failures ? "FAILED\n" : "all well\n");
  return failures != 0;
}
