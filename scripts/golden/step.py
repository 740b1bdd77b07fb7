"""One S-IB training step of torchvision's ResNet-18, written plainly in PyTorch."""

import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from formula import fill_by_formula, formula_tensor
from objective import objective

CLASSES, BATCH, SIDE_PX, WINDOW_PX = 10, 4, 64, 9


def sample(tensor):
    """At most about 512 elements, evenly spaced."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // 256)].clone()


def make(out, seed):
    del seed  # the formula is the input
    tensors = {}
    for name, optimizer_of in {
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=1e-4),
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=1e-4),
    }.items():
        net = resnet18(num_classes=CLASSES).train()
        fill_by_formula(net)
        optimizer = optimizer_of(net.parameters())
        images = formula_tensor("images", (BATCH, 3, SIDE_PX, SIDE_PX)).float()
        terms = objective(net, images, torch.arange(BATCH), WINDOW_PX)
        optimizer.zero_grad()
        terms["total_linear"].backward()
        optimizer.step()
        for key in ["cross_entropy", "hsic_foreground", "background_variance", "total_linear"]:
            tensors[f"{name}.{key}"] = terms[key].detach().clone()
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                tensors[f"{name}.{key}"] = sample(value)
    save_file(tensors, out / "step.safetensors", metadata={"torch": torch.__version__})
