#pragma once

#include <ATen/core/Generator.h>

namespace simcuda {

// The device's random numbers: a stream of its own, seeded as the CPU's.
const at::Generator& generator();

}  // namespace simcuda
