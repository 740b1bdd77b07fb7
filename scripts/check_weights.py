#!/usr/bin/env python3
"""Takes torchvision's networks through `sib-cli import` and back, at full size.

    scripts/check_weights.py [--sib-cli target/release/sib-cli] [--arch ARCH ...]

For each architecture a randomly initialised state dict is written as PyTorch writes it (zip and
older container, flat and nested as by DataParallel, and with timm's names where timm is installed),
imported, loaded into torchvision's model with `strict=True` and compared bit by bit; then
`sib-cli predict` must give torchvision's logits for an image within 1e-4 of their range. Where timm is
installed, its networks that resemble the four must be refused, without a hint at another of them.
"""

import argparse
import csv
import io
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

ARCHS = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d",
    "densenet121", "densenet161", "densenet169", "densenet201", "vgg16", "vgg16_bn",
    "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32",
]  # fmt: skip
TIMM = {
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "vit_l_32": "vit_large_patch32_224",
}
# Networks with keys much like those of one of them.
STRANGERS = {
    "resnet18": ["resnet34", "resnet18d", "seresnet18", "skresnet18", "resnet50"],
    "resnet50": [
        "resnet18", "resnet26", "resnet101", "resnet50c", "resnet50d", "resnet50t", "resnet50_gn",
        "seresnet50", "legacy_seresnet50", "ecaresnetlight", "resnext50_32x4d", "wide_resnet50_2",
        "resnest50d", "res2net50_26w_4s", "resnetv2_50",
    ],
    "resnext50_32x4d": ["resnet50", "wide_resnet50_2", "resnext50d_32x4d", "seresnext50_32x4d"],
    "densenet121": ["densenet161", "densenet169", "densenet201", "densenetblur121d"],
    "vgg16": ["vgg13", "vgg16_bn", "vgg19"],
    "vgg16_bn": ["vgg13_bn", "vgg16", "vgg19_bn"],
    "vit_b_32": [
        "vit_base_patch16_224", "vit_small_patch32_224", "vit_large_patch32_224",
        "vit_base_patch32_clip_224", "vit_base_patch32_plus_256", "deit_base_distilled_patch16_224",
        "deit3_base_patch16_224", "beit_base_patch16_224", "mixer_b32_224",
    ],
}  # fmt: skip
CLASSES = 37
SIZE_PX = 224


def new_network(arch: str) -> torch.nn.Module:
    torch.manual_seed(1)
    model = getattr(torchvision.models, arch)(weights=None, num_classes=CLASSES).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif name.endswith("num_batches_tracked"):
                tensor.fill_(17)
            elif tensor.ndim == 1 or name.startswith("heads.head"):
                tensor.add_(0.02 * torch.randn_like(tensor))
    return model


def timm_names(arch: str, model: torch.nn.Module) -> dict | None:
    """The state dict under timm's names: of a timm model whose logits are this one's."""
    try:
        import timm
    except ImportError:
        return None
    twin = timm.create_model(TIMM.get(arch, arch), pretrained=False, num_classes=CLASSES).eval()
    # Both libraries register their modules in the same order, but for the tokens at the start.
    ours = model.state_dict()
    order = sorted(ours, key=lambda key: (key != "class_token", key != "encoder.pos_embedding"))
    names = list(twin.state_dict())
    assert len(order) == len(names)
    state = {}
    for name, key in zip(names, order if arch in TIMM else ours):
        # VGG's linear layers are convolutions there.
        state[name] = ours[key].reshape(twin.state_dict()[name].shape)
    twin.load_state_dict(state)
    x = torch.randn(2, 3, SIZE_PX, SIZE_PX)
    with torch.no_grad():
        torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-4)
    return state


def forms(arch: str, model: torch.nn.Module):
    state = model.state_dict()
    nested = {"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    yield "zip", state, {}
    yield "legacy", state, {"_use_new_zipfile_serialization": False}
    yield "nested", nested, {}
    named = timm_names(arch, model)
    if named is None:
        print(f"{arch}: timm is not installed: its names are skipped")
    else:
        yield "timm", {"model": named}, {}


def check(arch: str, sib_cli: pathlib.Path, folder: pathlib.Path) -> None:
    model = new_network(arch)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    image = folder / "image.png"
    Image.fromarray(pixels).save(image)
    x = (torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.no_grad():
        logits = model(x)[0]

    for form, value, options in forms(arch, model):
        weights, checkpoint = folder / "weights.pth", folder / "checkpoint.safetensors"
        torch.save(value, weights, **options)
        subprocess.run(
            [sib_cli, "import", weights, "--arch", arch, "--output", checkpoint, "--overwrite",
             "--resize-px", str(SIZE_PX), "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"],
            check=True, capture_output=True,
        )  # fmt: skip
        back = getattr(torchvision.models, arch)(weights=None, num_classes=CLASSES)
        back.load_state_dict(load_file(checkpoint), strict=True)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, back.state_dict()[name]), (arch, form, name)

        out = subprocess.run(
            [sib_cli, "predict", "--checkpoint", checkpoint, "--image", image],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        rows = list(csv.DictReader(io.StringIO(out.stdout)))
        ours = torch.tensor([float(row["logit"]) for row in rows])
        theirs = logits[[int(row["class_index"]) for row in rows]]
        difference = (ours - theirs).abs().max() / logits.abs().max()
        assert rows and difference < 1e-4, (arch, form, difference)
        print(f"{arch} {form}: {len(model.state_dict())} tensors equal, logits {difference:.1e}")


def check_strangers(arch: str, sib_cli: pathlib.Path, folder: pathlib.Path) -> None:
    try:
        import timm
    except ImportError:
        return
    for name in STRANGERS.get(arch, []):
        with torch.device("meta"):
            shapes = {k: v.shape for k, v in timm.create_model(name).state_dict().items()}
        weights = folder / "weights.pth"
        # Keys and shapes tell: one number stands for all.
        torch.save({k: torch.zeros(()).expand(shape) for k, shape in shapes.items()}, weights)
        out = subprocess.run(
            [sib_cli, "import", weights, "--arch", arch, "--output", folder / "none"],
            capture_output=True, text=True,
        )  # fmt: skip
        hint = f"(it may be {name})" if name in ARCHS else ""
        assert out.returncode == 1, (arch, name, out.stderr)
        assert ": not " in out.stderr or "has no place" in out.stderr, (arch, name, out.stderr)
        assert out.stderr.count("it may be") == bool(hint) and hint in out.stderr, out.stderr
        print(f"{arch}: {name} is refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parents[1]
    parser.add_argument("--sib-cli", type=pathlib.Path, default=root / "target/release/sib-cli")
    parser.add_argument("--arch", nargs="*", choices=ARCHS, default=ARCHS)
    arguments = parser.parse_args()
    for arch in arguments.arch:
        with tempfile.TemporaryDirectory() as folder:
            check(arch, arguments.sib_cli, pathlib.Path(folder))
            check_strangers(arch, arguments.sib_cli, pathlib.Path(folder))


if __name__ == "__main__":
    main()
