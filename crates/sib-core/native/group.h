// Processes that work as one: libtorch's own c10d, on Gloo or NCCL.
#pragma once

#include <ATen/ATen.h>
#include <torch/custom_class.h>

#include <vector>

namespace sib {

// A process's place among those it works with. All of them call the same functions in the same order.
struct Group : torch::CustomClassHolder {
  // Adds up each tensor over the members, in place, to the same bits everywhere.
  virtual void sum(std::vector<at::Tensor> tensors) const = 0;
};

using GroupPtr = c10::intrusive_ptr<Group>;

// The group that the other side of the border holds, or null.
inline GroupPtr group_at(const void* group) {
  auto* held = static_cast<Group*>(const_cast<void*>(group));
  return held ? GroupPtr::reclaim_copy(held) : GroupPtr();
}

// `x` added up over the members of a group, where there is one. Not differentiable.
inline at::Tensor summed(const GroupPtr& group, const at::Tensor& x) {
  if (!group) return x;
  const at::Tensor sum = x.clone(at::MemoryFormat::Contiguous);
  group->sum({sum});
  return sum;
}

// A group, or none, in what a function of the graph keeps for its derivatives.
inline c10::IValue kept(const GroupPtr& group) {
  return group ? c10::IValue::make_capsule(group) : c10::IValue();
}

inline GroupPtr group_of(const c10::IValue& kept) {
  return kept.isNone() ? GroupPtr()
                       : c10::static_intrusive_pointer_cast<Group>(kept.toCapsule());
}

}  // namespace sib
