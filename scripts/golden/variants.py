"""The S-IB objective with R at a feature map, on a part of the batch, on smaller images, by contributions, with masks of the
image: networks and digests as in models.py."""

import torch
import torchvision
from models import BATCH, CLASSES, LAMBDA_BG, LAMBDA_FG, SIZE_PX
from models import build, digest, gradients, hsic, images_of, logits_of, mask_of
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from torchvision.models.vision_transformer import EncoderBlock

# What `layer2` and `layer3` stand for: modules, or how many blocks of a transformer lie before their ends.
STAGES = {
    "resnet18": {"layer2": "layer2", "layer3": "layer3"},
    "densenet121": {"layer2": "features.denseblock2", "layer3": "features.denseblock3"},
    "vgg16_bn": {"layer2": "features.23", "layer3": "features.33"},
    "vit_b_32": {"layer2": 6, "layer3": 9},
}
# Stage, images of the batch of 4, scale.
VARIANTS = {
    "layer2": ("layer2", 4, 1.0),
    "layer3": ("layer3", 4, 1.0),
    "images": (None, 2, 1.0),
    "scale": (None, 4, 0.5),
    # Eight values a channel in the last normalisation: of two, PyTorch's own derivatives are mostly round-off.
    "all": ("layer2", 2, 0.75),
    "contribution": ("layer3", 4, 1.0),
    "image_mask": ("layer3", 4, 1.0),
}


def kept(model, place):
    """A hook that appends the output of the place to the list that comes with it."""
    outputs, blocks = [], []

    def keep(module, _, output):
        if isinstance(place, str):
            if module is model.get_submodule(place):
                outputs.append(output)
        elif isinstance(module, EncoderBlock):
            blocks.append(module)
            if len(blocks) == place:
                outputs.append(output)

    return register_module_forward_hook(keep), outputs


def maps(tokens):
    """`[B,1+n*n,C]` as `[B,C,n,n]`, without the class token."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).reshape(tokens.shape[0], -1, side, side)


def decoded(arch, model, images, stage):
    """R and X, and R of the images as a constant."""
    images.requires_grad_(True)
    hook, outputs = kept(model, STAGES[arch][stage]) if stage else (None, [images])
    logits = logits_of(arch, model, images, train=True)
    if hook:
        hook.remove()
    (x,) = outputs
    phi = logits.softmax(dim=1).square().sum() / 2
    (r,) = torch.autograd.grad(phi, x, create_graph=True)
    (of_images,) = torch.autograd.grad(phi, images, retain_graph=True)
    if stage is None:
        return r, x.detach(), of_images
    return (maps(r), maps(x), of_images) if x.dim() == 3 else (r, x, of_images)


def terms_of(arch, model, images, labels, name, stage, count, scale):
    sample = images[:: BATCH // count]
    if scale != 1.0:
        side = round(SIZE_PX * scale)
        sample = F.interpolate(sample, (side, side), mode="bilinear", antialias=True)
    r, x, of_images = decoded(arch, model, sample.clone(), stage)
    if name in ("contribution", "image_mask"):
        r = r * x
    if name == "image_mask":
        mask = F.adaptive_avg_pool2d(mask_of(of_images), r.shape[2:])
    else:
        mask = mask_of(r)
    terms = {
        "cross_entropy": F.cross_entropy(logits_of(arch, model, images, train=True), labels),
        "foreground": -hsic(r * mask, x * mask),
        "background": (r * (1 - mask)).flatten(1).var(dim=1).mean(),
    }
    weighted = LAMBDA_BG * terms["background"] + LAMBDA_FG * terms["foreground"]
    return {**terms, "total": terms["cross_entropy"] + weighted, "vjp": r, "mask": mask}


def make(out, seed) -> None:
    images = images_of(seed, BATCH, (SIZE_PX, SIZE_PX))
    labels = torch.arange(BATCH) % CLASSES
    for arch in STAGES:
        tensors = {"seed": torch.tensor(seed)}
        for name, (stage, count, scale) in VARIANTS.items():
            if name == "all" and arch in ("vit_b_32", "densenet121"):
                scale = 1.0  # 48 px are one patch and a half; a last map of one cell
            model = build(arch)
            terms = terms_of(arch, model, images, labels, name, stage, count, scale)
            for term in ["cross_entropy", "foreground", "background", "total"]:
                tensors[f"{name}.{term}"] = terms[term].detach().clone()
            for term in ["vjp", "mask"]:
                tensors[f"{name}.{term}"] = digest(term, terms[term])
            for term, value in gradients(terms, model).items():
                tensors[f"{name}.{term}"] = value
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        save_file(tensors, out / f"variants_{arch}.safetensors", metadata=versions)
