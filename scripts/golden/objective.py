"""The objective on a small random net, written plainly in PyTorch."""

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


def soft_quantile(v, q, temperature=0.1):
    v, _ = v.sort(dim=-1)
    n = v.shape[-1]
    ranks = torch.arange(n, dtype=torch.float64)
    weights = torch.softmax(-(ranks - q * (n - 1)).abs() / temperature, 0).to(v.dtype)
    return (v * weights).sum(-1, keepdim=True)


def magnitude(r):
    return r.mean(1).abs().flatten(1)


def density(strong, r, window):
    b, _, h, w = r.shape
    return F.avg_pool2d(strong.view(b, 1, h, w), window, 1, window // 2).flatten(1)


def soft_mask(r, window):
    g = magnitude(r)
    low, high = soft_quantile(g, 0.05), soft_quantile(g, 0.95)
    g = (g - low) / (high - low + 1e-8)
    d = density(torch.sigmoid(10 * (g - soft_quantile(g, 0.8))), r, window)
    return torch.sigmoid(10 * (d - soft_quantile(d, 0.8))).view_as(r[:, :1])


def hard_mask(r, window):
    g = magnitude(r)
    d = density((g > g.quantile(0.8, -1, keepdim=True)).to(r.dtype), r, window)
    return (d >= d.quantile(0.8, -1, keepdim=True)).to(r.dtype).view_as(r[:, :1])


def hsic(x, y):
    b = x.shape[0]
    x, y = F.normalize(x.flatten(1), dim=1), F.normalize(y.flatten(1), dim=1)
    h = torch.eye(b, dtype=x.dtype) - 1.0 / b
    return torch.trace(x @ x.T @ h @ (y @ y.T) @ h) / (b - 1) ** 2


def objective(net, images, labels, window, lambda_bg=1000.0, lambda_fg=0.01):
    """All terms in a dict; the last four can be differentiated."""
    images = images.clone().requires_grad_(True)
    logits = net(images)
    p = logits.softmax(-1)
    (r,) = torch.autograd.grad((p**2).sum() / 2, images, create_graph=True)
    x = images.detach()
    m = soft_mask(r, window)
    out = {
        "logits": logits,
        "posterior": p,
        "vjp": r,
        "mask": m,
        "hard_mask": hard_mask(r.detach(), window),
        "hsic_foreground": hsic(r * m, x * m),
        "hsic_background": hsic(r * (1 - m), x * (1 - m)),
        "hsic_fg_bg": hsic(r * (1 - m), x * m),
        "hsic_bg_fg": hsic(r * m, x * (1 - m)),
        "cross_entropy": F.cross_entropy(logits, labels),
        "background_variance": (r * (1 - m)).flatten(1).var(1).mean(),
    }
    fg, bg = -out["hsic_foreground"], out["background_variance"]
    out["total_linear"] = out["cross_entropy"] + lambda_bg * bg + lambda_fg * fg
    out["total_exponential"] = out["cross_entropy"] + lambda_bg * bg.exp() + lambda_fg * fg.exp()
    return out


def small_net(classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )


def make(out, seed):
    for dtype, suffix in [(torch.float64, "f64"), (torch.float32, "f32")]:
        torch.manual_seed(seed)
        net = small_net(4).double()
        with torch.no_grad():
            net[8].weight *= 8  # a posterior that is not uniform
        images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
        net, images = net.to(dtype), images.to(dtype)
        labels = torch.randint(4, (4,))
        tensors = {f"net.{k}": v.clone() for k, v in net.named_parameters()}
        tensors |= {"images": images, "labels": labels}
        terms = objective(net, images, labels, window=5)
        tensors |= {k: v.detach().clone() for k, v in terms.items()}
        names = [name for name, _ in net.named_parameters()]
        for prefix, loss in [
            ("grad_cross_entropy", terms["cross_entropy"]),
            ("grad_foreground", -terms["hsic_foreground"]),
            ("grad_background_variance", terms["background_variance"]),
            ("grad_total_linear", terms["total_linear"]),
            ("grad_total_exponential", terms["total_exponential"]),
        ]:
            gradients = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
            tensors |= {f"{prefix}.{n}": g for n, g in zip(names, gradients)}
        save_file(
            {k: v.contiguous() for k, v in tensors.items()},
            out / f"objective_{suffix}.safetensors",
            metadata={"torch": torch.__version__, "seed": str(seed)},
        )
