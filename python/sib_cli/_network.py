"""Checkpoints as torchvision's models."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sib_cli._preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    class Network(torch.nn.Module):
        """What `load` returns: the class is torchvision's, with two attributes more."""

        classes: list[str]
        preprocess: Preprocessing


# torchvision's names of the networks that the program trains, and the keys of their last layers' weights.
_HEADS = {
    "resnet18": "fc.weight",
    "resnet34": "fc.weight",
    "resnet50": "fc.weight",
    "resnet101": "fc.weight",
    "resnet152": "fc.weight",
    "wide_resnet50_2": "fc.weight",
    "resnext50_32x4d": "fc.weight",
    "densenet121": "classifier.weight",
    "densenet161": "classifier.weight",
    "densenet169": "classifier.weight",
    "densenet201": "classifier.weight",
    "vgg16": "classifier.6.weight",
    "vgg16_bn": "classifier.6.weight",
    "vit_b_16": "heads.head.weight",
    "vit_b_32": "heads.head.weight",
    "vit_l_16": "heads.head.weight",
    "vit_l_32": "heads.head.weight",
}

# Key and value that mark a file as a checkpoint of the program's.
_LAYOUT = ("sib_checkpoint", "1")


def load(checkpoint: str | os.PathLike[str]) -> Network:
    """The network of a checkpoint as torchvision's model of that architecture, in evaluation mode, on the CPU, float32.

    `checkpoint` is a .safetensors file of `sib-cli train` or `sib-cli import`, or the folder of a run, which stands for
    its `checkpoints/best.safetensors`. The model maps inputs [B, 3, S, S] with S = `preprocess.crop_px` to logits
    [B, K], the program's own up to rounding, and has two attributes more: `classes`, the K names in the order of the
    logits (empty where the checkpoint has none), and `preprocess`, which makes an input [3, S, S] of an image. The
    position embeddings of a vision transformer are resized for S.

    Raises FileNotFoundError where there is no such file, ValueError where it is not a whole checkpoint of a known
    architecture with finite float32 weights, ImportError where torchvision is not installed.
    """
    path = _file(Path(checkpoint))
    try:
        import torch
        import torchvision
    except ModuleNotFoundError as error:
        raise ImportError(f"sib_cli.load needs {error.name}: pip install 'sib-cli[load]'") from None

    header, state = _read(path)
    arch, classes, preprocess = _description(path, header)
    if _HEADS[arch] not in state:
        raise ValueError(f"{path}: lacks the tensor {_HEADS[arch]!r}, expected the state dict of {arch}")
    logits = len(state[_HEADS[arch]])
    if classes and len(classes) != logits:
        raise ValueError(f"{path}: {len(classes)} classes, expected as many as its {logits} logits")
    options = {}
    if arch.startswith("vit_"):
        options["image_size"] = preprocess.crop_px
        state = _resized_positions(path, arch, preprocess.crop_px, state)
    # No memory and no random numbers for weights that are replaced at once.
    with torch.device("meta"):
        model = torchvision.models.get_model(arch, weights=None, num_classes=logits, **options)
    _expect_tensors(path, arch, model.state_dict(), state)
    model.load_state_dict(state, strict=True, assign=True)
    network = cast("Network", model.eval())
    network.classes = classes
    network.preprocess = preprocess
    return network


def _file(path: Path) -> Path:
    """The checkpoint that `path` means."""
    if path.is_dir():
        path = path / "checkpoints" / "best.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there, expected a checkpoint of sib-cli")
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The strings of the header and the tensors."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise ImportError(f"sib_cli.load needs {error.name}: pip install safetensors") from None

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file: {error}") from None


def _description(path: Path, header: dict[str, str]) -> tuple[str, list[str], Preprocessing]:
    """Architecture, class names and preprocessing."""
    key, layout = _LAYOUT
    if header.get(key) != layout:
        raise ValueError(f"{path}: {key} is {header.get(key)!r}, expected {layout!r} as in checkpoints of sib-cli")
    arch = header.get("arch", "")
    if arch not in _HEADS:
        raise ValueError(f"{path}: architecture {arch!r}, expected one of {', '.join(_HEADS)}")
    classes = _json(path, header, "classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{path}: classes {classes!r}, expected a list of names")
    values = _json(path, header, "preprocessing")
    try:
        preprocess = Preprocessing(
            resize_px=values.pop("resize_px"),
            crop_px=values.pop("crop_px"),
            mean=tuple(values.pop("mean")),
            std=tuple(values.pop("std")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: preprocessing: {error}, expected resize_px, crop_px, mean and std") from None
    if values:
        # A step that is not known here would be left out.
        raise ValueError(f"{path}: preprocessing: {', '.join(values)}, expected resize_px, crop_px, mean and std only")
    return arch, classes, preprocess


def _json(path: Path, header: dict[str, str], key: str) -> Any:
    """A value of the header that is JSON."""
    try:
        return json.loads(header[key])
    except (KeyError, ValueError):
        raise ValueError(f"{path}: {key} is {header.get(key)!r} in its header, expected JSON") from None


def _resized_positions(path: Path, arch: str, image_px: int, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict with position embeddings for images of `image_px`: bicubic, as in the program."""
    from torchvision.models.vision_transformer import interpolate_embeddings

    patch_px = int(arch.rsplit("_", 1)[1])
    if image_px % patch_px:
        raise ValueError(f"{path}: inputs of {image_px} px, expected a multiple of {arch}'s patches of {patch_px} px")
    try:
        return cast("dict[str, torch.Tensor]", interpolate_embeddings(image_px, patch_px, state))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: position embeddings: {error}, expected those of {arch}") from None


def _expect_tensors(path: Path, arch: str, expected: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    """Checks names, shapes and types of all tensors, and that their numbers are finite."""
    import torch

    differing = sorted(expected.keys() ^ state.keys())
    if differing:
        what = "lacks" if differing[0] in expected else "also holds"
        raise ValueError(f"{path}: {what} the tensor {differing[0]!r}, expected the state dict of {arch}")
    for key, tensor in state.items():
        have, want = (f"{list(t.shape)} {t.dtype}" for t in (tensor, expected[key]))
        if have != want:
            raise ValueError(f"{path}: {key!r} is {have}, expected {want}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {key!r} holds NaN or infinity, expected finite numbers")
