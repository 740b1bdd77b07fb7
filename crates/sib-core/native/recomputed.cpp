// Activation checkpointing (Chen et al. 2016, arXiv:1604.06174) that can be differentiated twice.
//
// Of a function y = f(x) only x is kept; f is run again for each derivative. PyTorch's own
// checkpointing forgets what the forward pass computed, but the second derivative's graph then keeps
// all that the first backward pass computed anew: more, in a step that differentiates an input
// gradient. Here the backward pass is itself a function of (g, x) that keeps nothing else.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "border.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Node;
using torch::autograd::variable_list;

// The other side's function: leaves a new tensor in the last argument, or returns a message to be
// freed. `again` tells the first run from the others.
using Call = char* (*)(const void* closure, const Tensor* x, bool again, Tensor** y);
using Drop = void (*)(void* closure);

// Lets random numbers of a device start from an earlier state, then go on where they were.
class RandomState {
 public:
  explicit RandomState(at::Device device)
      : generator_(at::globalContext().defaultGenerator(device)), state_(get()) {}

  template <typename F>
  auto replayed(F&& f) {
    struct Restore {
      RandomState* of;
      Tensor present;
      ~Restore() { of->set(present); }
    } restore{this, get()};
    set(state_);
    return f();
  }

 private:
  Tensor get() {
    std::lock_guard<std::mutex> lock(generator_.mutex());
    return generator_.get_state();
  }
  void set(const Tensor& state) {
    std::lock_guard<std::mutex> lock(generator_.mutex());
    generator_.set_state(state);
  }

  at::Generator generator_;
  Tensor state_;
};

// f, shared by the nodes of the graph that need it.
struct Recomputable : torch::CustomClassHolder {
  Recomputable(Call call, Drop drop, void* closure, at::Device device)
      : call(call), closure(closure, drop), random(device) {}

  Tensor run(const Tensor& x) { return checked(x, /*again=*/false); }
  Tensor run_again(const Tensor& x) {
    return random.replayed([&] { return checked(x, /*again=*/true); });
  }

  // The first run's result, on its way into the graph.
  Tensor result;

 private:
  Tensor checked(const Tensor& x, bool again) {
    // The closure may be sent to another thread, not shared; two threads may hold the graph.
    const std::lock_guard<std::mutex> lock(mutex);
    Tensor* y = nullptr;
    if (char* message = call(closure.get(), &x, again, &y)) {
      const std::string text = message;
      free(message);
      TORCH_CHECK(false, text);
    }
    return *std::unique_ptr<Tensor>(y);
  }

  Call call;
  std::unique_ptr<void, Drop> closure;
  std::mutex mutex;
  RandomState random;
};

using Shared = c10::intrusive_ptr<Recomputable>;

c10::IValue kept(const Shared& f) { return c10::IValue::make_capsule(f); }

Shared taken(AutogradContext* ctx) {
  return c10::static_intrusive_pointer_cast<Recomputable>(ctx->saved_data["f"].toCapsule());
}

// The variables that y was computed from, apart from x.
variable_list leaves_of(const Tensor& y, const Tensor& x) {
  variable_list leaves;
  std::unordered_set<Node*> seen;
  std::vector<Node*> open{y.grad_fn().get()};
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    if (!node || !seen.insert(node).second) continue;
    if (auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) {
      if (!leaf->variable.is_same(x)) leaves.push_back(leaf->variable);
    }
    for (const auto& edge : node->next_edges()) open.push_back(edge.function.get());
  }
  return leaves;
}

// x by itself, where a graph begins.
Tensor as_leaf(const Tensor& x) { return x.detach().requires_grad_(); }

variable_list with(variable_list first, at::TensorList rest) {
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

// Those of `all` that are marked.
variable_list only(const variable_list& all, const std::vector<bool>& marked) {
  variable_list chosen;
  for (size_t i = 0; i < all.size(); ++i) {
    if (marked[i]) chosen.push_back(all[i]);
  }
  return chosen;
}

// The inverse of `only`, with gaps.
variable_list spread(const variable_list& chosen, const std::vector<bool>& marked) {
  variable_list all(marked.size());
  for (size_t i = 0, j = 0; i < all.size(); ++i) {
    if (marked[i]) all[i] = chosen[j++];
  }
  return all;
}

std::vector<bool> needed(AutogradContext* ctx, size_t n) {
  std::vector<bool> marked(n);
  for (size_t i = 0; i < n; ++i) marked[i] = ctx->needs_input_grad(i);
  return marked;
}

// (g, x, leaves) -> the `wanted` ones of g·∂f/∂(x, leaves).
struct RecomputedBackward : Function<RecomputedBackward> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& g, const Tensor& x, at::TensorList leaves,
      const Shared& f, const std::vector<bool>& wanted) {
    ctx->save_for_backward(with({g, x}, leaves));
    ctx->set_materialize_grads(false);
    ctx->saved_data["f"] = kept(f);
    ctx->saved_data["wanted"] = wanted;
    at::AutoGradMode recording(true);
    const Tensor leaf = as_leaf(x);
    const Tensor y = f->run_again(leaf);
    const auto inputs = only(with({leaf}, leaves), wanted);
    auto gradients = torch::autograd::grad({y}, inputs, {g.detach()});
    for (auto& gradient : gradients) gradient = gradient.detach();
    return gradients;
  }

  static variable_list backward(AutogradContext* ctx, variable_list cotangents) {
    sib::expect_last_derivative("recomputed blocks");
    const auto saved = ctx->get_saved_variables();
    const variable_list leaves(saved.begin() + 2, saved.end());
    std::vector<bool> wanted;
    for (bool is : ctx->saved_data["wanted"].toBoolList()) wanted.push_back(is);

    at::AutoGradMode recording(true);
    const Tensor g = as_leaf(saved[0]), x = as_leaf(saved[1]);
    const Tensor y = taken(ctx)->run_again(x);
    const auto inputs = only(with({x}, leaves), wanted);
    const auto gradients = torch::autograd::grad(
        {y}, inputs, {g}, /*retain_graph=*/true, /*create_graph=*/true);
    // What has a cotangent and depends on anything.
    variable_list functions, vectors;
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (cotangents[i].defined() && gradients[i].requires_grad()) {
        functions.push_back(gradients[i]);
        vectors.push_back(cotangents[i]);
      }
    }
    const size_t variables = saved.size();
    const auto asked = needed(ctx, variables);
    variable_list second(variables);
    if (!functions.empty()) {
      second = spread(
          torch::autograd::grad(
              functions, only(with({g, x}, leaves), asked), vectors, /*retain_graph=*/false,
              /*create_graph=*/false, /*allow_unused=*/true),
          asked);
    }
    second.resize(variables + 2);  // f and `wanted`
    return second;
  }
};

// (x, leaves) -> f(x), which the first run has left in `result`.
struct Recomputed : Function<Recomputed> {
  static Tensor forward(
      AutogradContext* ctx, const Tensor& x, at::TensorList leaves, const Shared& f) {
    ctx->save_for_backward(with({x}, leaves));
    ctx->saved_data["f"] = kept(f);
    return std::move(f->result);
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    const auto saved = ctx->get_saved_variables();
    const variable_list leaves(saved.begin() + 1, saved.end());
    const auto wanted = needed(ctx, saved.size());
    auto gradients = spread(
        RecomputedBackward::apply(g[0], saved[0], at::TensorList(leaves), taken(ctx), wanted),
        wanted);
    gradients.emplace_back();  // f
    return gradients;
  }
};

}  // namespace

extern "C" {

char* sib_copied_message(const char* text) { return strdup(text); }

// Takes the closure over, whatever comes of it.
char* sib_recomputed(Tensor** out, const Tensor* x, Call call, Drop drop, void* closure) {
  return sib::caught([&] {
    const auto f = c10::make_intrusive<Recomputable>(call, drop, closure, x->device());
    if (!at::GradMode::is_enabled()) {
      *out = new Tensor(f->run(*x));
      return;
    }
    variable_list leaves;
    {
      const Tensor leaf = x->requires_grad() ? as_leaf(*x) : x->detach();
      const Tensor y = f->run(leaf);
      leaves = leaves_of(y, leaf);
      f->result = y.detach();
    }
    *out = new Tensor(Recomputed::apply(*x, at::TensorList(leaves), f));
  });
}

}
