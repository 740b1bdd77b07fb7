"""Weights and inputs by formula, the same as in crates/sib-core/src/testing.rs."""

import math

import numpy as np
import torch


def _fnv1a64(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _splitmix64(state: np.ndarray) -> np.ndarray:
    z = state + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def formula_tensor(name: str, shape) -> torch.Tensor:
    """The f64 tensor `name`, uniform on [-1, 1)."""
    numel = math.prod(shape)
    with np.errstate(over="ignore"):
        state = np.uint64(_fnv1a64(name)) + np.arange(numel, dtype=np.uint64)
        bits = _splitmix64(state) >> np.uint64(40)
    return torch.from_numpy(bits.astype(np.float64) / 2**23 - 1.0).reshape(tuple(shape))


@torch.no_grad()
def fill_by_formula(module: torch.nn.Module) -> None:
    """Sets every parameter and buffer of `module` by formula."""
    for name, tensor in module.state_dict().items():
        u = formula_tensor(name, tensor.shape)
        fan_in = math.prod(tensor.shape[1:])
        if name.endswith("num_batches_tracked"):
            value = torch.zeros_like(u)
        elif name.endswith("running_var"):
            value = u * 0.25 + 1.0
        elif name.endswith("running_mean"):
            value = u * 0.1
        elif tensor.dim() >= 2:
            value = u * math.sqrt(3.0 / fan_in)
        elif name.endswith("weight"):
            value = u * 0.1 + 1.0
        else:
            value = u * 0.05
        tensor.copy_(value)
