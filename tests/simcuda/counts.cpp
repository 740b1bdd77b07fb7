#include "counts.h"

#include <execinfo.h>
#include <link.h>

#include <cstdlib>

namespace simcuda {

namespace {

const char* name_of(Kind kind) {
  static const char* const names[] = {
      "kernel", "view", "allocation", "to device", "to device, asynchronous", "to host", "scalar",
      "synchronising"};
  return names[static_cast<int>(kind)];
}

// Where the program itself lies in memory, without its libraries.
struct Program {
  uintptr_t begin = 0, end = 0;

  Program() {
    dl_iterate_phdr(
        [](dl_phdr_info* object, size_t, void* self) {
          // The first object is the program.
          auto& program = *static_cast<Program*>(self);
          program.begin = object->dlpi_addr;
          for (int i = 0; i < object->dlpi_phnum; ++i) {
            const auto& part = object->dlpi_phdr[i];
            if (part.p_type != PT_LOAD) continue;
            program.end = std::max<uintptr_t>(program.end, program.begin + part.p_vaddr + part.p_memsz);
          }
          return 1;
        },
        this);
  }

  // Of the calls under way, those of the program, as addresses within its file.
  std::vector<uintptr_t> stack() const {
    void* frames[128];
    const int n = backtrace(frames, 128);
    std::vector<uintptr_t> own;
    for (int i = 0; i < n; ++i) {
      const auto address = reinterpret_cast<uintptr_t>(frames[i]);
      // A return address is that of the next instruction.
      if (address >= begin && address < end) own.push_back(address - begin - 1);
    }
    return own;
  }
};

}  // namespace

Counts& Counts::get() {
  static Counts* counts = new Counts;
  return *counts;
}

Counts::Counts() {
  if (const char* path = getenv("SIMCUDA_LOG")) log_ = fopen(path, "w");
  traced_ = getenv("SIMCUDA_TRACE") != nullptr;
}

void Counts::add(Kind kind, const std::string& name, int64_t bytes) {
  if (!log_) return;
  static const Program program;
  std::vector<uintptr_t> stack;
  if (traced_ && kind >= Kind::kToDevice) stack = program.stack();
  const std::lock_guard<std::mutex> lock(mutex_);
  Count& count = counts_[{kind, name}];
  ++count.times;
  count.bytes += bytes;
  if (!stack.empty()) ++places_[{kind, name, stack}];
}

void Counts::finished(const std::string& name) {
  if (!log_ || (name != "aten::_fused_adamw_" && name != "aten::_fused_sgd_")) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  write_step();
  ++step_;
}

void Counts::write() {
  if (!log_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  write_step();
}

void Counts::write_step() {
  for (const auto& [key, count] : counts_) {
    fprintf(log_, "step %d\t%s\t%s\t%lld\t%lld\n", step_, name_of(key.first), key.second.c_str(),
            static_cast<long long>(count.times), static_cast<long long>(count.bytes));
  }
  for (const auto& [place, times] : places_) {
    fprintf(log_, "stack %d\t%s\t%s\t%lld\t", step_, name_of(place.kind), place.name.c_str(),
            static_cast<long long>(times));
    for (const uintptr_t address : place.stack) fprintf(log_, " %zx", static_cast<size_t>(address));
    fprintf(log_, "\n");
  }
  counts_.clear();
  places_.clear();
  fflush(log_);
}

}  // namespace simcuda
