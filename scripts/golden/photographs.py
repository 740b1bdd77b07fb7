"""Logits and heatmaps of the four backbones for a JPEG file, decoded and cropped by Pillow as
torchvision's loaders do it.

The networks are those of explain.py, weights by formula, in f64. What stands between the file and the
network is what photographs meet and tensors by formula do not.
"""

import io

import explain
import numpy as np
import torch
import torchvision
from models import soft_quantile
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

# The files have this short side: nothing is resized, so that what is read decides alone.
RESIZE_PX, CROP_PX = 71, 64
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Name of each file and how it is saved; the first is the one that is explained.
FILES = {
    "420": {"subsampling": 2},
    "422-progressive": {"subsampling": 1, "progressive": True},
    "444": {"subsampling": 0},
    "grey": {},
}


def scene() -> Image.Image:
    """A disc on a texture, both in strong colours, whose chroma subsampling shows."""
    y, x = np.mgrid[0:RESIZE_PX, 0:85].astype(np.float64)
    texture = [128 + 90 * np.sin(x / a + y / b) for a, b in ((3.0, 7.0), (5.0, -4.0), (-9.0, 2.5))]
    disc = (x - 52) ** 2 + (y - 37) ** 2 < 23**2
    colours = [230 - y, 40 + x, 60 + 2.0 * (x - y).clip(0, 90)]
    planes = [np.where(disc, colour, plane) for colour, plane in zip(colours, texture)]
    return Image.fromarray(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8))


def encoded(name: str) -> bytes:
    image = scene().convert("L") if name == "grey" else scene()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **FILES[name])
    return buffer.getvalue()


def pixels(jpeg: bytes) -> Image.Image:
    """What is left of the file for the network, 64 × 64."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return Compose([Resize(RESIZE_PX), CenterCrop(CROP_PX)])(image)


def s_ib_map(net, x: torch.Tensor) -> torch.Tensor:
    """The density of the mask head for R at the scale of its largest magnitude."""
    x = x.clone().requires_grad_(True)
    (vjp,) = torch.autograd.grad(0.5 * net(x).softmax(1).square().sum(), x)
    vjp = vjp / vjp.abs().amax((1, 2, 3), keepdim=True)
    batch, _, height, width = vjp.shape
    window = 2 * round((31 * height / 224 - 1) / 2) + 1
    g = vjp.mean(1).abs().flatten(1)
    low, high = soft_quantile(g, 0.05), soft_quantile(g, 0.95)
    g = (g - low) / (high - low + 1e-8)
    strong = torch.sigmoid(10 * (g - soft_quantile(g, 0.8))).reshape(batch, 1, height, width)
    return F.avg_pool2d(strong, window, stride=1, padding=window // 2)[:, 0]


def maps_of(name: str, x: torch.Tensor) -> dict[str, torch.Tensor]:
    if name == "vit_b_32":
        net = explain.vit(CROP_PX)
        layer, reshape = net.encoder.layers[-1].ln_1, explain.patch_map
    elif name == "densenet121":
        net = torchvision.models.densenet121(num_classes=explain.CLASSES).double().eval()
        explain.fill_by_formula(net)
        net = explain.out_of_place(explain.DenseNetWithModules(net))
        layer, reshape = net.relu5, None
    else:
        net = explain.resnet(getattr(torchvision.models, name))
        layer, reshape = net.layer4, None
    maps = {"logits": net(x)}
    # The most probable class that every class-activation map has something to say of.
    for target in maps["logits"][0].argsort(descending=True).tolist():
        explain.TARGETS[0] = target
        cams = explain.cam_maps(net, layer, x, reshape)
        if all(cam.any() for cam in cams.values()):
            break
    maps |= cams | explain.gradient_maps(net, x)
    maps["s-ib-map"] = s_ib_map(net, x)
    if name != "vit_b_32":
        maps["guided-grad-cam"] = explain.guided_grad_cam(net, layer, x)
    if name != "densenet121":  # whose channels nearly cancel
        net, x = net.float(), x.float()
    maps |= explain.score_maps(net, layer, x, reshape, which=("probability",))
    del maps["completeness_error"], maps["grad-cam.final"]
    return maps


def make(out, seed) -> None:
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    tensors = {}
    for name in FILES:
        jpeg = encoded(name)
        tensors[f"{name}.jpeg"] = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
        tensors[f"{name}.pixels"] = torch.from_numpy(np.array(pixels(jpeg)))
    x = Compose([ToTensor(), Normalize(MEAN, STD)])(pixels(encoded("420")))[None]
    tensors["420.input"] = x
    save_file(tensors, out / "photographs_inputs.safetensors", metadata=versions)
    for name in ["resnet18", "resnet50", "densenet121", "vit_b_32"]:
        maps = maps_of(name, x.double())
        maps = {key: value.detach().float().contiguous() for key, value in maps.items()}
        empty = [key for key, value in maps.items() if not value.any()]
        assert not empty, f"{name}: {empty} are zero everywhere and would prove nothing"
        maps["targets"] = torch.tensor([explain.TARGETS[0]])
        save_file(maps, out / f"photographs_{name}.safetensors", metadata=versions)
