// libtorch carries gloo, but not its headers. Declared here is what ProcessGroupGloo.hpp names and no more: objects of
// these classes are made, used and destroyed inside libtorch_cpu alone, this side holds them by shared_ptr.
#pragma once

#include <chrono>
#include <memory>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
