#!/usr/bin/env python3
"""How far what one device computed is from what another did. Needs Python alone.

    scripts/compare_devices.py runs RUN RUN             losses of two runs of the same configuration
    scripts/compare_devices.py maps DIR DIR             raw heatmaps of two explanations
    scripts/compare_devices.py rows FILE.csv FILE.csv   numbers of two tables, row by row
    scripts/compare_devices.py tensors FILE FILE        two safetensors files, bit by bit

Prints a line; with --most X, fails where the first number of it is above X.
"""

import argparse
import array
import ast
import csv
import json
import math
import pathlib
import struct
import sys


def relative(a, b):
    """Of two numbers: their difference in units of the larger."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    difference = abs(a - b) / max(abs(a), abs(b))
    return difference if math.isfinite(difference) else math.inf


def worst(named):
    """The largest of (difference, name), NaN first."""
    return max(named, key=lambda pair: math.inf if math.isnan(pair[0]) else pair[0], default=(math.nan, "nothing"))


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def runs(first, second):
    tables = []
    for run in (first, second):
        rows = read_rows(run / "metrics.csv")
        tables.append({(int(row["step"]), row["split"], row["name"]): float(row["value"]) for row in rows})
    a, b = tables
    if a.keys() != b.keys():
        return math.inf, f"inf: {len(a.keys() ^ b.keys())} values are of one run alone"
    steps = sorted({step for step, split, _ in a if split == "train"})
    differences = [relative(a[s, "train", "loss"], b[s, "train", "loss"]) for s in steps]
    first_step = [(relative(a[key], b[key]), key[2]) for key in a if key[:2] == (steps[0], "train")]
    value, name = worst(first_step)
    others = worst([(relative(a[key], b[key]), key[2]) for key in a if key[1] != "train"])
    text = f"{differences[0]:.1e} loss of update 1, {differences[-1]:.1e} of update {steps[-1]}"
    text += f"; update 1 at most {value:.1e} ({name})"
    return differences[0], text + f"; evaluation {others[0]:.1e} ({others[1]})"


def read_npy(path):
    """Values of a little-endian f32 array."""
    data = path.read_bytes()
    assert data[:6] == b"\x93NUMPY", f"{path}: not a NumPy file"
    size = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10 : 10 + size].decode())
    assert header["descr"] == "<f4", f"{path}: {header}"
    values = array.array("f")
    values.frombytes(data[10 + size :])
    return values


def maps(first, second):
    by_method = {}
    names = sorted(path.name for path in first.glob("*.npy"))
    if not names or names != sorted(path.name for path in second.glob("*.npy")):
        return math.inf, "inf: the maps are not of the same images and methods"
    for name in names:
        a, b = read_npy(first / name), read_npy(second / name)
        width = max(max(a) - min(a), sys.float_info.min)
        method = name.split(".")[-2]
        difference = max(abs(x - y) for x, y in zip(a, b)) / width
        by_method[method] = max(by_method.get(method, 0.0), difference)
    value, method = worst([(difference, method) for method, difference in by_method.items()])
    each = ", ".join(f"{method} {difference:.0e}" for method, difference in by_method.items())
    return value, f"{value:.1e} of a map's range ({method}); {each}"


# Times, and the spread of a few images, a difference of nearly equal numbers.
SKIPPED = ("seconds", "standard_error")


def rows(first, second):
    a, b = read_rows(first), read_rows(second)
    if len(a) != len(b) or not a:
        return math.inf, f"inf: {len(a)} and {len(b)} rows"
    differences = []
    for x, y in zip(a, b):
        label = " ".join(value for value in x.values() if value and not is_number(value))
        for key, value in x.items():
            if key in SKIPPED:
                continue
            if is_number(value) and is_number(y[key]):
                differences.append((relative(float(value), float(y[key])), f"{label} {key}"))
            elif value != y[key]:
                differences.append((math.inf, f"{label} {key}: {value} and {y[key]}"))
    value, where = worst(differences)
    return value, f"{value:.1e} at most ({where}), of {len(differences)} numbers"


def is_number(text):
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def read_tensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    start = 8 + size
    return {
        name: (entry["dtype"], data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]])
        for name, entry in header.items()
    }


def tensors(first, second):
    a, b = read_tensors(first), read_tensors(second)
    if a.keys() != b.keys():
        return math.inf, "inf: not the same tensors"
    different = [name for name in a if a[name] != b[name]]
    if not different:
        return 0.0, f"0: {len(a)} tensors equal to the bit"
    largest = 0.0
    for name in different:
        kind, values = a[name]
        if kind == "F32":
            x, y = array.array("f", values), array.array("f", b[name][1])
            width = max(max(map(abs, x)), sys.float_info.min)
            largest = max(largest, max(abs(u - v) for u, v in zip(x, y)) / width)
    return largest, f"{largest:.1e} of a tensor's largest value; {len(different)} of {len(a)} tensors differ"


KINDS = {"runs": runs, "maps": maps, "rows": rows, "tensors": tensors}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("first", type=pathlib.Path)
    parser.add_argument("second", type=pathlib.Path)
    parser.add_argument("--most", type=float, default=math.inf)
    options = parser.parse_args()
    value, text = KINDS[options.kind](options.first, options.second)
    print(text)
    sys.exit(0 if value <= options.most else 1)


if __name__ == "__main__":
    main()
