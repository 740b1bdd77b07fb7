"""Becomes the program `sib-cli`, on the libtorch of the installed torch."""

from __future__ import annotations

import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from sib_cli._torch import TORCH

PROGRAM = Path(__file__).with_name("sib-cli")


def main() -> NoReturn:
    """Replaces this process by the program: signals, exit code and process id are its own."""
    torch = torch_folder()
    library = torch / "lib"
    if torch.parent.resolve() != PROGRAM.resolve().parents[1]:
        # The program's own search path leads to a torch beside this package. One elsewhere, such as that of the
        # system below a virtual environment, must be named.
        others = os.environ.get("LD_LIBRARY_PATH")
        os.environ["LD_LIBRARY_PATH"] = f"{library}:{others}" if others else str(library)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and what is ignored stays so
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execv(PROGRAM, [str(PROGRAM), *sys.argv[1:]])
    except OSError as error:
        fail(f"{PROGRAM}: cannot run: {error.strerror}", "install the wheel of sib-cli anew")


def torch_folder() -> Path:
    """The folder of the torch that `import torch` would take, without importing it; ends where its version is
    another: a libtorch of another version lacks symbols, or has them with another meaning."""
    expected = f"pip install torch=={TORCH}"
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        fail(f"torch is not installed, expected {TORCH}", expected)
    torch = Path(spec.submodule_search_locations[0])
    try:
        text = (torch / "version.py").read_text(encoding="utf-8")
    except OSError as error:
        fail(f"{error.filename}: cannot read: {error.strerror}", expected)
    version = re.search(r"^__version__ = '([^'+]*)", text, re.MULTILINE)
    found = version[1] if version else "unknown"
    if found != TORCH:
        fail(f"{torch}: torch {found}, expected {TORCH}", expected)
    return torch


def fail(problem: str, hint: str) -> NoReturn:
    """Ends as the program does when something other than its arguments is wrong."""
    print(f"error: {problem}\nhint: {hint}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
