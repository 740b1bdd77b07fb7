"""From an image to a network's input, with the same numbers as the program."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from PIL import Image

# Those whose `convert("RGB")` is what the program reads. It clips 16-bit greyscale to white, and rounds floating point.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, scale to [0, 1], normalise; called with an image, it gives a network's input."""

    resize_px: int
    """Length of the short side after resizing (Pillow's antialiased bilinear filter)."""
    crop_px: int
    """Side of the central square, at most `resize_px`."""
    mean: tuple[float, float, float]
    """Subtracted from R, G and B in [0, 1]."""
    std: tuple[float, float, float]
    """Divides R, G and B after the mean is subtracted; more than 0."""

    def __post_init__(self) -> None:
        """Raises ValueError where a number is out of its range."""
        sizes = (self.resize_px, self.crop_px)
        if not all(type(size) is int for size in sizes) or not 1 <= self.crop_px <= self.resize_px:
            raise ValueError(f"crop_px {self.crop_px!r}, expected 1 to resize_px, which is {self.resize_px!r}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} {values!r}, expected 3 numbers")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std!r}, expected numbers above 0")

    def __call__(self, image: Image.Image | str | os.PathLike[str], *, upright: bool = True) -> torch.Tensor:
        """The normalised input [3, crop_px, crop_px], float32, of a Pillow image or an image file.

        `upright` turns it as its EXIF orientation says, as the program does with photographs and with `folder`
        datasets; the benchmarks (`imagenet`, `cub200`, `pets`, `dogs`) it reads as stored.

        Raises FileNotFoundError where there is no such file, ValueError where it is no image or its pixels are
        of a kind that Pillow does not convert to 8-bit RGB as the program does (16 bits, floating point).
        """
        import numpy as np
        import torch
        from PIL import Image

        if isinstance(image, (str, os.PathLike)):
            with _opened(image) as opened:
                return self(opened, upright=upright)
        if not isinstance(image, Image.Image):
            raise ValueError(f"got {type(image).__name__}, expected a Pillow image or the path of an image file")
        cropped = self._cropped(_rgb(image, upright))
        # Arrays, not numbers: a division by a number may be a multiplication with its reciprocal.
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (np.asarray(cropped).astype(np.float32) / np.float32(255) - mean) / std
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))

    def _cropped(self, image: Image.Image) -> Image.Image:
        """The part that the network sees, `crop_px` squared."""
        from PIL import Image

        short = min(image.size)
        width, height = (self.resize_px * side // short for side in image.size)  # truncated, as torchvision's
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (round((side - self.crop_px) / 2) for side in resized.size)
        return resized.crop((left, top, left + self.crop_px, top + self.crop_px))


def _opened(path: str | os.PathLike[str]) -> Image.Image:
    """The image file at `path`."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise ValueError(f"{os.fspath(path)}: unreadable, expected an image file") from None


def _rgb(image: Image.Image, upright: bool) -> Image.Image:
    """The image in 8-bit RGB."""
    from PIL import ImageOps

    name = getattr(image, "filename", "") or "image"
    if min(image.size) < 1:
        raise ValueError(f"{name}: an image of {image.width}x{image.height} pixels, expected at least one")
    if image.mode not in _MODES:
        raise ValueError(f"{name}: pixels of Pillow's mode {image.mode}, expected one of {', '.join(_MODES)}")
    try:
        turned = ImageOps.exif_transpose(image) if upright else image
        return turned.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow's of damaged files
        raise ValueError(f"{name}: unreadable, expected a whole image: {error}") from None
