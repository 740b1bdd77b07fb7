"""torchvision's networks: state-dict keys, initialisation, logits, running statistics, and for one of each
kind the gradient of the S-IB objective, in plain PyTorch, with respect to every parameter.

Weights and images are by formula, so the files hold outputs only. Of a gradient or a running
statistic two numbers are kept: its norm and its dot product with the formula's tensor of its name.
"""

import math

import torch
import torchvision
from formula import fill_by_formula, formula_tensor
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models.vision_transformer import interpolate_embeddings

F64, F32 = ("f64", torch.float64), ("f32", torch.float32)
# The kinds of numbers in which the objective's gradients are taken. At this size PyTorch's own f32 gradients
# of the networks with ReLU and batch normalisation are up to half their norm away from its f64 gradients:
# there is nothing to agree with in f32.
ARCHS = {
    "resnet18": [F64],
    "resnet34": [],
    "resnet50": [F64],
    "resnet101": [],
    "resnet152": [],
    "wide_resnet50_2": [],
    "resnext50_32x4d": [F64],
    "densenet121": [F64],
    "densenet161": [],
    "densenet169": [],
    "densenet201": [],
    "vgg16": [F64],
    "vgg16_bn": [F64],
    "vit_b_16": [],
    "vit_b_32": [F64, F32],
    "vit_l_16": [],
    "vit_l_32": [],
}
CLASSES = 10
BATCH = 4
SIZE_PX = 64
LAMBDA_FG = 0.01
LAMBDA_BG = 1000.0


def eval_sizes(arch: str) -> list[tuple[int, int]]:
    """Besides 64 px: the size of the position embeddings, or one that does not halve evenly."""
    if arch == "vit_b_32":
        return [(64, 64), (224, 224), (96, 96)]
    return [(64, 64), (96, 96)] if arch.startswith("vit") else [(64, 64), (75, 50)]


def images_of(seed: int, batch: int, size: tuple[int, int]) -> torch.Tensor:
    return formula_tensor(f"models.images.{seed}.{size[0]}x{size[1]}", (batch, 3, *size))


def build(arch: str) -> torch.nn.Module:
    options = {"dropout": 0.0} if arch.startswith("vgg") else {}
    model = getattr(torchvision.models, arch)(weights=None, num_classes=CLASSES, **options).double()
    fill_by_formula(model)
    return model


def resized_positions(positions: torch.Tensor, side: int) -> torch.Tensor:
    """interpolate_embeddings for one tensor, in a differentiable way."""
    old = math.isqrt(positions.shape[1] - 1)
    grid = positions[:, 1:].transpose(1, 2).reshape(1, -1, old, old)
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=True)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def logits_of(arch: str, model: torch.nn.Module, images: torch.Tensor, train: bool) -> torch.Tensor:
    if not arch.startswith("vit"):
        return model.train(train)(images)
    # torchvision builds a ViT for one image size: another model, called with this one's parameters.
    size = images.shape[-1]
    make = getattr(torchvision.models, arch)
    twin = make(weights=None, num_classes=CLASSES, image_size=size)
    twin = twin.to(images.dtype).train(train)
    parameters = dict(model.named_parameters())
    key = "encoder.pos_embedding"
    if size != 224:
        parameters[key] = resized_positions(parameters[key], size // model.patch_size)
        expected = interpolate_embeddings(size, model.patch_size, model.state_dict())[key]
        torch.testing.assert_close(parameters[key], expected)
    # The fused kernels have no double backward.
    with sdpa_kernel(SDPBackend.MATH):
        return torch.func.functional_call(twin, parameters, (images,))


def soft_quantile(values: torch.Tensor, q: float) -> torch.Tensor:
    """Of each row, at temperature 0.1 over the order statistics."""
    ordered = values.sort(dim=1).values
    index = torch.arange(ordered.shape[1], dtype=values.dtype)
    weights = torch.softmax(-(index - q * (ordered.shape[1] - 1)).abs() / 0.1, dim=0)
    return (ordered * weights).sum(dim=1, keepdim=True)


def mask_of(vjp: torch.Tensor) -> torch.Tensor:
    batch, _, height, width = vjp.shape
    window = max(3, 2 * round((31 * height / 224 - 1) / 2) + 1)
    slope = 10.0
    g = vjp.mean(dim=1).abs().flatten(1)
    low, high = soft_quantile(g, 0.05), soft_quantile(g, 0.95)
    g = (g - low) / (high - low + 1e-8)
    hi = torch.sigmoid(slope * (g - soft_quantile(g, 0.8))).reshape(batch, 1, height, width)
    density = F.avg_pool2d(hi, window, stride=1, padding=window // 2).flatten(1)
    mask = torch.sigmoid(slope * (density - soft_quantile(density, 0.8)))
    return mask.reshape(batch, 1, height, width)


def hsic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    n = a.shape[0]
    a, b = F.normalize(a.flatten(1), dim=1), F.normalize(b.flatten(1), dim=1)
    centre = torch.eye(n, dtype=a.dtype) - 1.0 / n
    return ((centre @ (a @ a.T) @ centre) * (centre @ (b @ b.T) @ centre)).sum() / (n - 1) ** 2


def objective(arch, model, images, labels) -> dict[str, torch.Tensor]:
    """The S-IB objective at its default settings, one forward pass for all terms."""
    images = images.requires_grad_(True)
    logits = logits_of(arch, model, images, train=True)
    posterior = logits.softmax(dim=1)
    (vjp,) = torch.autograd.grad(0.5 * posterior.square().sum(), images, create_graph=True)
    mask = mask_of(vjp)
    terms = {
        "cross_entropy": F.cross_entropy(logits, labels),
        "foreground": -hsic(vjp * mask, images * mask),
        "background": (vjp * (1 - mask)).flatten(1).var(dim=1).mean(),
    }
    terms["total"] = (
        terms["cross_entropy"]
        + LAMBDA_BG * terms["background"]
        + LAMBDA_FG * terms["foreground"]
    )
    return {**terms, "logits": logits, "vjp": vjp, "mask": mask}


def digest(name: str, value: torch.Tensor) -> torch.Tensor:
    value = value.detach().double()
    return torch.stack([value.norm(), (value * formula_tensor(name, value.shape)).sum()])


def digests(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """`[n,2]`, in the order of the sorted names."""
    return torch.stack([digest(name, tensors[name]) for name in sorted(tensors)])


def gradients(terms, model) -> dict[str, torch.Tensor]:
    names, parameters = zip(*model.named_parameters())
    out = {}
    for term in ["cross_entropy", "foreground", "background", "total"]:
        grads = torch.autograd.grad(terms[term], parameters, retain_graph=True, allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters)]
        out[f"grad.{term}"] = digests(dict(zip(names, grads)))
    return out


def network(arch: str, seed: int) -> dict[str, torch.Tensor]:
    model = build(arch)
    out = {"seed": torch.tensor(seed)}
    for size in eval_sizes(arch):
        with torch.no_grad():
            logits = logits_of(arch, model, images_of(seed, 2, size), train=False)
        out[f"eval.{size[0]}x{size[1]}"] = logits.contiguous()

    images = images_of(seed, BATCH, (SIZE_PX, SIZE_PX))
    if not ARCHS[arch] and not arch.startswith("vit"):
        with torch.no_grad():
            out["f64.logits"] = logits_of(arch, model, images, train=True)
        out["f64.buffers"] = digests(dict(model.named_buffers()))
    labels = torch.arange(BATCH) % CLASSES
    for kind, dtype in ARCHS[arch]:
        model = build(arch).to(dtype)
        terms = objective(arch, model, images.detach().to(dtype), labels)
        for name in ["cross_entropy", "foreground", "background", "total", "logits"]:
            out[f"{kind}.{name}"] = terms[name].detach().clone()
        out[f"{kind}.vjp"] = digest("vjp", terms["vjp"])
        out[f"{kind}.mask"] = digest("mask", terms["mask"])
        for name, value in gradients(terms, model).items():
            out[f"{kind}.{name}"] = value
        buffers = dict(model.named_buffers())
        if buffers:
            out[f"{kind}.buffers"] = digests(buffers)
    return out


def state_dict_keys(arch: str) -> str:
    """One line for each entry of the state dict with 1000 classes: key, element type, shape."""
    with torch.device("meta"):
        state = getattr(torchvision.models, arch)(weights=None).state_dict()
    lines = [
        f"{key} {str(value.dtype).removeprefix('torch.')} {'x'.join(map(str, value.shape))}".strip()
        for key, value in sorted(state.items())
    ]
    return "\n".join(lines) + "\n"


def initialisation(arch: str, seed: int) -> torch.Tensor:
    """Mean, standard deviation and largest magnitude of each tensor of a new network's state dict,
    in the order of the sorted keys."""
    torch.manual_seed(seed)
    state = getattr(torchvision.models, arch)(weights=None).state_dict()
    rows = [
        torch.stack([value.mean(), value.std(correction=0), value.abs().max()])
        for value in (state[name].double() for name in sorted(state))
    ]
    return torch.stack(rows)


def make(out, seed) -> None:
    for arch in ARCHS:
        save_file(
            {"moments": initialisation(arch, seed)}, out / f"models_{arch}_init.safetensors"
        )
        (out / f"models_{arch}_keys.txt").write_text(state_dict_keys(arch))
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        save_file(network(arch, seed), out / f"models_{arch}.safetensors", metadata=versions)
