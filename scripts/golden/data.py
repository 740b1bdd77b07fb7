"""Resize and crop by torchvision and Pillow, image decoding, colour operations, MAT files."""

import base64
import io
import pathlib
import struct
import zlib

import cv2
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


# waves(17, 31) by `cjpeg -arithmetic -quality 60 -sample 2x2`: no package here writes such files.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZG"
    "NywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT09PT09PT0//yQARCAAfABEDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIR"
    "AxEAPwDSaZDAnJhESdIJQH1ZoT8SXIK/XIiBiK+5SUKoEImPaXitm/0celAVhIPL1LeY6YbgFczBVXkmA+QFj3JF"
    "XPHfRCmnm6i29zOI1J7/AG+809yn3ixy1WIOKtfiEX/yRyU2OTN0WighIEXX0x48RkW/nj78wKLcDJdGVcWD4yaW"
    "b1R8P14WFHiqKrYQPWaaG+4cDJpU9P4UGh0o919guL3EX050EdZq/Ep+sP/Z"
)

# The sampling of colours: ratios of the three channels' factors, by OpenCV's codes.
SAMPLING = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(
        ">I", zlib.crc32(kind + content)
    )


def deep_png(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG file of 16-bit values `[H, W, channels]`."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*it) for it in chunks)


def corner_gif(transparent: bool) -> bytes:
    """A GIF file whose only frame leaves a border of its canvas open."""
    buffer = io.BytesIO()
    waves(5, 4).quantize(4).save(buffer, "GIF")
    encoded = bytearray(buffer.getvalue())
    encoded[6:10] = struct.pack("<HH", 10, 8)
    frame = encoded.index(b",\0\0\0\0\5\0\4\0")
    encoded[frame + 1 : frame + 5] = struct.pack("<HH", 2, 3)
    if transparent:
        encoded[frame:frame] = b"!\xf9\x04\x01\0\0\x02\0"
    return bytes(encoded)


def decode(out: pathlib.Path) -> None:
    """Encoded files as bytes, and what Pillow makes of them."""
    tensors = {}

    def add(name: str, encoded: bytes, expected=None) -> None:
        if expected is None:
            expected = Image.open(io.BytesIO(encoded)).convert("RGB")
        tensors[f"{name}.bytes"] = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        tensors[f"{name}.rgb"] = pixels(expected)

    def save(name: str, image: Image.Image, kind: str, expected=None, **options) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        add(name, buffer.getvalue(), expected)

    def jpegs() -> None:
        for number, (sampling, factors) in enumerate(SAMPLING.items()):
            for width, height, quality in [(1, 1, 50), (7, 13, 100), (17, 31, 60), (33, 18, 5)]:
                image = cv2.cvtColor(np.array(waves(width, height)), cv2.COLOR_RGB2BGR)
                options = {
                    cv2.IMWRITE_JPEG_SAMPLING_FACTOR: factors,
                    cv2.IMWRITE_JPEG_QUALITY: quality,
                    cv2.IMWRITE_JPEG_PROGRESSIVE: (number + height) % 2,
                    cv2.IMWRITE_JPEG_OPTIMIZE: width % 2,
                    cv2.IMWRITE_JPEG_RST_INTERVAL: 2 if width == 33 else 0,
                }
                flat = [value for option in options.items() for value in option]
                done, encoded = cv2.imencode(".jpg", image, flat)
                assert done
                add(f"jpeg-{sampling}-{width}x{height}", encoded.tobytes())
        image = waves(40, 28)
        save("jpeg-rgb", image, "JPEG", quality=95, subsampling=0)
        save("jpeg-progressive", image, "JPEG", quality=95, subsampling=0, progressive=True)
        save("jpeg-restarts", image, "JPEG", quality=75, restart_marker_rows=1, progressive=True)
        save("jpeg-not-ycbcr", image, "JPEG", quality=90, keep_rgb=True)
        save("jpeg-grey", image.convert("L"), "JPEG", quality=95)
        save("jpeg-grey-progressive", waves(7, 13).convert("L"), "JPEG", progressive=True)
        save("jpeg-cmyk", image.convert("CMYK"), "JPEG", quality=95)
        inks = (formula_tensor("data.inks", (13, 9, 4)) + 1.0) * 128.0
        save("jpeg-inks", Image.fromarray(inks.numpy().astype(np.uint8), "CMYK"), "JPEG")
        add("jpeg-arithmetic", ARITHMETIC)
        exif = Image.Exif()
        exif[0x0112] = 6
        save("jpeg-exif", image, "JPEG", quality=95, subsampling=0, exif=exif)

    def pngs() -> None:
        image = waves(40, 28)
        save("png-rgb", image, "PNG")
        save("png-grey", image.convert("L"), "PNG")
        save("png-palette", image.quantize(16), "PNG")
        save("png-palette-2-bit", image.quantize(4), "PNG", bits=2)
        save("png-bilevel", image.convert("1"), "PNG")
        rgba = image.copy()
        rgba.putalpha(image.convert("L"))
        save("png-alpha", rgba, "PNG")
        values = ((formula_tensor("data.deep", (5, 7, 4)) + 1.0) * 32768.0).numpy()
        add("png-16-bit-rgb", deep_png(values[:, :, :3], 2))
        add("png-16-bit-alpha", deep_png(values, 6))
        add("png-16-bit-grey-alpha", deep_png(values[:, :, :2], 4))
        # Pillow clips 16-bit grey at 255: the expectation is what it makes of 16-bit colours.
        high = np.repeat((values[:, :, :1].astype(np.uint16) >> 8).astype(np.uint8), 3, axis=2)
        add("png-16-bit", deep_png(values[:, :, :1], 0), expected=Image.fromarray(high))

    def others() -> None:
        image = waves(20, 15)
        grey, few = image.convert("L"), image.quantize(8)
        rgba = image.copy()
        rgba.putalpha(grey)
        save("bmp-rgb", image, "BMP")
        save("bmp-palette", few, "BMP")
        save("bmp-bilevel", image.convert("1"), "BMP")
        save("gif-palette", few, "GIF")
        save("gif-transparent", few, "GIF", transparency=2)
        save("gif-animated", few, "GIF", save_all=True, append_images=[few.rotate(90)])
        add("gif-corner", corner_gif(False))
        add("gif-corner-transparent", corner_gif(True))
        save("webp-lossy", waves(41, 29), "WEBP", quality=60)
        save("webp-lossless", image, "WEBP", lossless=True)
        save("webp-alpha", rgba, "WEBP", quality=70)
        save("webp-animated", image, "WEBP", save_all=True, append_images=[image.rotate(90)])
        save("tiff-rgb", image, "TIFF")
        save("tiff-lzw", rgba, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
        save("tiff-deflate", grey, "TIFF", compression="tiff_adobe_deflate")
        save("tiff-fax", image.convert("1"), "TIFF", compression="group4")
        save("tiff-cmyk", image.convert("CMYK"), "TIFF")
        save("tiff-white-is-0", grey, "TIFF", tiffinfo={262: 0})
        save("tiff-pages", image, "TIFF", save_all=True, append_images=[image.rotate(90)])
        save("pnm-bits", image.convert("1"), "PPM")
        save("pnm-grey", grey, "PPM")
        save("pnm-rgb", image, "PPM")
        add("pnm-text", b"P3\n# three\n1 3 100\n0 50 100  1 2 3  99 7 8\n")
        add("pnm-16-bit", b"P6\n1 1\n65535\n" + bytes([0, 200, 128, 100, 255, 255]))

    jpegs()
    pngs()
    others()
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
