"""Resize and crop by torchvision and Pillow, image decoding, colour operations, MAT files."""

import io
import pathlib

import numpy as np
import PIL
import scipy.io
import torch
import torchvision
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms import v2

from formula import formula_tensor

VERSIONS = {
    "torchvision": torchvision.__version__,
    "pillow": PIL.__version__,
    "scipy": scipy.__version__,
}

# (width, height, short side after resizing, side of the crop)
SIZES = [(53, 37, 24, 16), (37, 53, 23, 22), (20, 31, 48, 47), (64, 64, 33, 32), (90, 31, 30, 29)]


def noise(name: str, width: int, height: int) -> Image.Image:
    """White noise: the hardest input for a resampling filter."""
    values = (formula_tensor(name, (height, width, 3)) + 1.0) * 128.0
    return Image.fromarray(values.numpy().astype(np.uint8))


def waves(width: int, height: int) -> Image.Image:
    """Smooth colours, the same as `waves` in the tests."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [np.sin(0.31 * x + 0.2 * y), np.cos(0.17 * x - 0.23 * y), np.sin(0.05 * x * y)]
    return Image.fromarray((127.5 + 100.0 * np.stack(channels, -1)).astype(np.uint8))


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


def resize(out: pathlib.Path) -> None:
    tensors = {}
    for width, height, short, crop in SIZES:
        image = noise(f"data.{width}x{height}", width, height)
        image = F.resize(image, short, InterpolationMode.BILINEAR)
        tensors[f"{width}x{height}.resized"] = pixels(image)
        tensors[f"{width}x{height}.cropped"] = pixels(F.center_crop(image, [crop, crop]))
    save_file(tensors, out / "data_resize.safetensors", VERSIONS)


def random_resized_crop(out: pathlib.Path, seed: int) -> None:
    """Quantiles of what torchvision draws: 0.5, 1.5, ... 99.5 %."""
    torch.manual_seed(seed)
    tensors = {}
    levels = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    for width, height in [(500, 375), (90, 400)]:
        image = torch.empty(3, height, width)
        draws = torch.tensor(
            [
                torchvision.transforms.RandomResizedCrop.get_params(
                    image, [0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0]
                )
                for _ in range(20_000)
            ],
            dtype=torch.float64,
        )
        y, x, h, w = draws.unbind(1)
        drawn = {"x": x, "y": y, "width": w, "height": h, "area": w * h, "aspect": w / h}
        for name, values in drawn.items():
            tensors[f"{width}x{height}.{name}"] = torch.quantile(values, levels)
    save_file(tensors, out / "data_crops.safetensors", VERSIONS)


def decode(out: pathlib.Path) -> None:
    """Encoded files as bytes, and what Pillow makes of them."""
    tensors = {}

    def add(name: str, image: Image.Image, kind: str, expected=None, **options) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        encoded = buffer.getvalue()
        if expected is None:
            expected = Image.open(io.BytesIO(encoded)).convert("RGB")
        tensors[f"{name}.bytes"] = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        tensors[f"{name}.rgb"] = pixels(expected)

    image = waves(40, 28)
    add("jpeg-rgb", image, "JPEG", quality=95, subsampling=0)
    add("jpeg-420", image, "JPEG", quality=95, subsampling=2)
    add("jpeg-progressive", image, "JPEG", quality=95, subsampling=0, progressive=True)
    add("jpeg-grey", image.convert("L"), "JPEG", quality=95)
    add("jpeg-cmyk", image.convert("CMYK"), "JPEG", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    add("jpeg-exif", image, "JPEG", quality=95, subsampling=0, exif=exif)
    add("png-rgb", image, "PNG")
    add("png-grey", image.convert("L"), "PNG")
    add("png-palette", image.quantize(16), "PNG")
    add("png-bilevel", image.convert("1"), "PNG")
    rgba = image.copy()
    rgba.putalpha(image.convert("L"))
    add("png-alpha", rgba, "PNG")
    # Pillow clips 16-bit grey instead of scaling it: the expectation is the scaled image.
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    add("png-16-bit", Image.fromarray(deep), "PNG", expected=image.convert("L").convert("RGB"))
    save_file(tensors, out / "data_decode.safetensors", VERSIONS)


def colour(out: pathlib.Path) -> None:
    image = waves(40, 28)
    # A reduced range, so that stretching has something to do.
    dull = image.point(lambda value: 40 + value // 2)
    tensors = {}
    for factor in (0.01, 0.4, 1.6, 1.99):
        tensors[f"brightness.{factor}"] = pixels(ImageEnhance.Brightness(image).enhance(factor))
        tensors[f"saturation.{factor}"] = pixels(ImageEnhance.Color(image).enhance(factor))
        tensors[f"contrast.{factor}"] = pixels(ImageEnhance.Contrast(image).enhance(factor))
        tensors[f"sharpness.{factor}"] = pixels(ImageEnhance.Sharpness(image).enhance(factor))
    for bits in (2, 5, 8):
        tensors[f"posterize.{bits}"] = pixels(ImageOps.posterize(image, bits))
    for threshold in (0, 100, 255):
        tensors[f"solarize.{threshold}"] = pixels(ImageOps.solarize(image, threshold))
    tensors["autocontrast"] = pixels(ImageOps.autocontrast(dull))
    tensors["equalize"] = pixels(ImageOps.equalize(dull))
    # As v2.TrivialAugmentWide applies them: about the centre, nearest neighbour, black outside.
    augment = v2.TrivialAugmentWide()
    for name, kind, magnitude in [
        ("rotate", "Rotate", 30.0),
        ("rotate-back", "Rotate", -110.0),
        ("translate-x", "TranslateX", 7.0),
        ("translate-y", "TranslateY", -5.0),
        ("shear-x", "ShearX", 0.3),
        ("shear-y", "ShearY", -0.45),
    ]:
        moved = augment._apply_image_or_video_transform(
            image, kind, magnitude, InterpolationMode.NEAREST, {Image.Image: None}
        )
        tensors[name] = pixels(moved)
    save_file(tensors, out / "data_colour.safetensors", VERSIONS)


def mat(out: pathlib.Path) -> None:
    """Lists as Stanford Dogs has them, as bytes."""
    files = np.empty((3, 1), dtype=object)
    files[:, 0] = ["n1-a/n1_1.jpg", "n1-a/n1_2.jpg", "n2-bé/n2_1.jpg"]
    variables = {
        "file_list": files,
        "labels": np.array([[1], [1], [2]], dtype=np.uint8),
        "doubles": np.array([[0.5, -2.0], [3.0, 1e300]]),
        "record": {"a": 1.0},
        "empty": np.empty((0, 1), dtype=object),
    }
    tensors = {}
    for name, compress in [("plain", False), ("compressed", True)]:
        buffer = io.BytesIO()
        scipy.io.savemat(buffer, variables, do_compression=compress)
        encoded = bytearray(buffer.getvalue())
        # The header's text carries the time of writing.
        encoded[:116] = b"MATLAB 5.0 MAT-file".ljust(116)
        tensors[name] = torch.frombuffer(encoded, dtype=torch.uint8)
    save_file(tensors, out / "data_mat.safetensors", VERSIONS)


def make(out: pathlib.Path, seed: int) -> None:
    resize(out)
    random_resized_crop(out, seed)
    decode(out)
    colour(out)
    mat(out)
