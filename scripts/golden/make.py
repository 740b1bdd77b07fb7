#!/usr/bin/env python3
"""Writes the golden files that the tests compare with, by the reference implementations.

    python3 -m pip install -r scripts/golden/requirements.txt
    scripts/golden/make.py [--seed N] [--out DIR] [AREA ...]

An area is a module of this folder with a function `make(out, seed)`. `SIB_GOLDEN_DIR=DIR cargo
test` then uses DIR in place of tests/golden.
"""

import argparse
import importlib
import pathlib

AREAS = sorted(
    path.stem
    for path in pathlib.Path(__file__).parent.glob("*.py")
    if path.stem not in {"make", "formula"}
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests" / "golden")
    parser.add_argument("area", nargs="*", choices=[*AREAS, []], default=AREAS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for area in arguments.area or AREAS:
        importlib.import_module(area).make(arguments.out, arguments.seed)
        print(f"{area}: written to {arguments.out}")


if __name__ == "__main__":
    main()
