// What a GPU would be asked to do, counted by operator.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace simcuda {

enum class Kind {
  kKernel,
  // Work of the host alone.
  kView,
  kAllocation,
  kToDevice,
  kToDeviceAsync,
  // These make the host wait.
  kToHost,
  kScalar,
  kSynchronising,
};

// With SIMCUDA_LOG=FILE a line `step N, kind, operator, count, bytes` (tab-separated) for each kind and operator
// of each step, which ends with the fused update of the optimizer; with SIMCUDA_TRACE also a line `stack N, kind,
// operator, count, addresses…` for each place of the program that makes the host wait.
class Counts {
 public:
  static Counts& get();
  void add(Kind kind, const std::string& name, int64_t bytes = 0);
  void finished(const std::string& name);
  void write();

 private:
  struct Count {
    int64_t times = 0, bytes = 0;
  };
  struct Place {
    Kind kind;
    std::string name;
    std::vector<uintptr_t> stack;
    bool operator<(const Place& other) const {
      return std::tie(kind, name, stack) < std::tie(other.kind, other.name, other.stack);
    }
  };

  Counts();
  void write_step();

  std::mutex mutex_;
  FILE* log_ = nullptr;
  bool traced_ = false;
  int step_ = 0;
  std::map<std::pair<Kind, std::string>, Count> counts_;
  std::map<Place, int64_t> places_;
};

}  // namespace simcuda
