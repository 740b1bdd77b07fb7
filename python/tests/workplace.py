"""What the tests share: the installed program, a network that it trained, images, and what may be missing."""

import atexit
import contextlib
import functools
import importlib
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# ResNet-18 at 64 px, whose last feature map has more than one place.
CONFIG = """\
[model]
arch = "resnet18"
[data]
name = "synthetic"
[data.preprocessing]
resize_px = 72
crop_px = 64
[data.synthetic]
side_px = 64
train_images = 16
test_images = 10
[train]
epochs = 1
batch_size = 8
[sib]
"""


def needs(*modules):
    """Leaves a class of tests out, and says so, where one of the modules cannot be imported."""
    missing = [module for module in modules if not can_import(module)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


@functools.cache
def can_import(module):
    """Whether it is whole: a torch of which only libtorch is there is not."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError, ValueError):
        return False
    return True


def start(*arguments, **options):
    """The program, started. One thread: sums in libtorch depend on how they are split between threads."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([str(argument) for argument in arguments], env=environment, **streams, **options)


def run(*arguments, code=0, **options):
    """What the program printed to stdout and to stderr, which must end with this code."""
    with start(*arguments, **options) as process:
        stdout, stderr = process.communicate(timeout=300)
    if process.returncode != code:
        raise AssertionError(f"{arguments}: exit code {process.returncode}, expected {code}\n{stdout}{stderr}")
    return stdout, stderr


@functools.cache
def place():
    """A folder with `tiny.toml`, the run `run` of it, and `images`, a dataset of two images of each of two classes."""
    folder = Path(tempfile.mkdtemp(prefix="sib-cli-python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tiny.toml").write_text(CONFIG)
    run("sib-cli", "train", "--config", "tiny.toml", "--output", "run", cwd=folder)
    run("sib-cli", "data", "export", "--data", "synthetic", "--limit", "20", "--output", "exported", cwd=folder)
    for name in ("striped-disc", "checked-square"):
        images = sorted((folder / "exported").glob(f"{name}-*.png"))[:2]
        (folder / "images" / "test" / name).mkdir(parents=True)
        for image in images:
            image.rename(folder / "images" / "test" / name / image.name)
    shutil.rmtree(folder / "exported")
    return folder


def photographs(count):
    """JPEG files of real photographs, of several datasets; none where they are not there and need not be."""
    data = ROOT.parent / "shared" / "data"
    found = []
    for dataset in ("CUB_200_2011", "oxford-iiit-pet", "imagenet"):
        files = sorted(path for path in (data / dataset).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        found += files[:: max(1, len(files) // count)][:count]
    if not found and os.environ.get("SIB_REQUIRE_SHARED"):
        raise AssertionError(f"{data}: no photographs, which SIB_REQUIRE_SHARED asks for")
    return found


@contextlib.contextmanager
def refused(case, kind, *parts):
    """Expects an error of this kind, of one line, with these parts in it."""
    with case.assertRaises(kind) as caught:
        yield
    message = str(caught.exception)
    case.assertNotIn("\n", message)
    for part in parts:
        case.assertIn(str(part), message)
