"""Heatmaps that `sib-cli explain` wrote, and those that `sib-cli evaluate --heatmaps` reads."""

from __future__ import annotations

import csv
import os
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import ArrayLike, NDArray

# Files of an explanation. The description is written last: where it is, the explanation is whole.
_DESCRIPTION, _MANIFEST = "explanation.toml", "manifest.csv"


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A heatmap of `sib-cli explain`: of one image, by one method, of one network."""

    image: str
    """Path of the image, as it was named."""
    stem: str
    """What the names of the image's files begin with."""
    method: str
    """The method, as on the command line."""
    network: Literal["checkpoint", "baseline"]
    """Of `--checkpoint`, or of the network that it was compared with."""
    target_index: int
    """The class that is explained."""
    target_name: str
    """Its name, its index where it has none."""
    probability: float
    """What the network gives that class, in [0, 1]."""
    array: NDArray[np.float32]
    """[S, S], finite, not scaled, over the central square of the image that the network sees."""


def heatmaps(folder: str | os.PathLike[str]) -> list[Heatmap]:
    """All heatmaps of the explanation in `folder`, in the order of its manifest: by image, network, method.

    Raises FileNotFoundError where a file is missing (the explanation is not finished, or not one), ValueError where one
    is damaged or is not what the manifest says.
    """
    folder = Path(folder)
    description = _description(folder)
    try:
        images = [(image["path"], image["stem"]) for image in description["images"]]
        methods = description["methods"]
        side = description["preprocessing"]["crop_px"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / _DESCRIPTION}: lacks {error}, expected what sib-cli explain writes") from None
    networks = ["checkpoint", "baseline"] if "baseline" in description else ["checkpoint"]
    expected = [(*image, network, method) for image in images for network in networks for method in methods]
    rows = _rows(folder / _MANIFEST)
    if len(rows) != len(expected):
        raise ValueError(f"{folder / _MANIFEST}: {len(rows)} heatmaps, expected the {len(expected)} of {_DESCRIPTION}")
    return [_heatmap(folder, row, *of, side) for row, of in zip(rows, expected, strict=True)]


def save_heatmap(folder: str | os.PathLike[str], image_id: str, array: ArrayLike | torch.Tensor) -> Path:
    """Writes a heatmap for `sib-cli evaluate --heatmaps folder`, in place of a former one; returns the file's path.

    `image_id` is the image's id in the dataset: column `image` of an evaluation's `per_image.csv`, and of a `folder`
    dataset the path from its root with slashes. `array` [S, S], of NumPy or PyTorch, holds a real number for each pixel
    of the network's input (S = `preprocess.crop_px`, which `evaluate` checks), higher where it matters more, on any
    scale. It is stored as float32.

    Raises ValueError where the id leaves the folder, or the array is not square, not real or not finite.
    """
    import numpy as np

    path = Path(folder) / _relative(image_id)
    values = _as_numpy(array)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{image_id}: elements of type {values.dtype}, expected real numbers or booleans")
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        hint = "; reduce the channels first, for example by array.sum(axis=0)" if values.ndim > 2 else ""
        raise ValueError(f"{image_id}: shape {list(values.shape)}, expected a square [S, S]{hint}")
    with np.errstate(over="ignore"):  # to infinity, which is refused
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{image_id}: holds NaN, infinity or a number beyond float32, expected finite numbers")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, values)
    return path


def _description(folder: Path) -> dict[str, Any]:
    """What `explanation.toml` says."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    path = folder / _DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there, expected a finished explanation of sib-cli explain")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable, expected TOML: {error}") from None


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of the manifest by column."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there, expected the manifest of sib-cli explain")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _heatmap(folder: Path, row: dict[str, str], image: str, stem: str, network: str, method: str, side: int) -> Heatmap:
    """The heatmap of one row of the manifest, which must be the expected one."""
    import numpy as np

    manifest = folder / _MANIFEST
    of = (row.get("image"), row.get("checkpoint"), row.get("method"))
    if of != (image, network, method):
        raise ValueError(f"{manifest}: a row of {of}, expected {(image, network, method)} as in {_DESCRIPTION}")
    path = folder / f"{stem}.{method}{'' if network == 'checkpoint' else '.baseline'}.npy"
    array = _read(path, side)
    try:
        noted = [np.float32(row[column]) for column in ("min", "max")]
        target, probability = int(row["target_index"]), float(row["probability"])
        name = row["target_name"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{manifest}: a damaged row of {image}: {error}") from None
    if noted != [array.min(), array.max()]:
        # Of another run of the program, or of another program.
        have, want = f"{array.min()} to {array.max()}", f"{noted[0]} to {noted[1]}"
        raise ValueError(f"{path}: values from {have}, expected {want} as in {_MANIFEST}")
    kind: Literal["checkpoint", "baseline"] = "checkpoint" if network == "checkpoint" else "baseline"
    return Heatmap(image, stem, method, kind, target, name, probability, array)


def _read(path: Path, side: int) -> NDArray[np.float32]:
    """The array of a heatmap's file."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there, expected a heatmap of sib-cli explain")
    try:
        array: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path}: not readable, expected an .npy file: {error}") from None
    have, want = f"{array.dtype} {list(array.shape)}", f"float32 {[side, side]}"
    if have != want:
        raise ValueError(f"{path}: {have}, expected {want}")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: holds NaN or infinity, expected finite numbers")
    return array


def _relative(image_id: str) -> str:
    """The name of an image's file in a folder of heatmaps."""
    parts = PurePosixPath(image_id).parts
    if not image_id or image_id.endswith("/") or image_id.startswith("/") or ".." in parts or "\0" in image_id:
        raise ValueError(f"image id {image_id!r}, expected a path within the dataset such as 'test/cat/1.jpg'")
    return f"{image_id}.npy"


def _as_numpy(array: ArrayLike | torch.Tensor) -> NDArray[Any]:
    """The array, of a tensor that may have a gradient or lie on a GPU as well."""
    import numpy as np

    detach = getattr(array, "detach", None)
    if detach is not None:
        tensor = detach().cpu()
        # NumPy has no bfloat16.
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return np.asarray(array)


def _write(path: Path, values: NDArray[np.float32]) -> None:
    """Writes the file so that it is there whole or not at all."""
    import numpy as np

    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("xb") as file:
            np.save(file, values)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
