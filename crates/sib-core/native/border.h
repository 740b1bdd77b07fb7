// What both sides of the border to Rust agree on: tensors cross it by pointer, and an exception
// comes back as its message.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <exception>

namespace sib {

// The message of an exception, to be freed by `sib_free_message`; null where there was none.
template <typename F>
char* caught(F&& call) {
  try {
    call();
    return nullptr;
  } catch (const c10::Error& error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

inline void expect_last_derivative(const char* of) {
  TORCH_CHECK(!at::GradMode::is_enabled(), "third derivatives of ", of, " are not implemented");
}

}  // namespace sib
