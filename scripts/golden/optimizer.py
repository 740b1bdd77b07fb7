"""Five steps of torch.optim's AdamW and SGD on one parameter."""

import torch
from safetensors.torch import save_file

from formula import formula_tensor


def make(out, seed):
    del seed  # the formula is the input
    tensors = {}
    for name, optimizer_of in {
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1),
    }.items():
        parameter = torch.nn.Parameter(formula_tensor("parameter", (4, 5)))
        optimizer = optimizer_of([parameter])
        for step in range(5):
            parameter.grad = formula_tensor(f"gradient.{step}", (4, 5))
            optimizer.step()
        tensors[name] = parameter.detach().clone()
    save_file(tensors, out / "optimizer.safetensors", metadata={"torch": torch.__version__})
