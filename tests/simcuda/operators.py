#!/usr/bin/env python3
"""The operators that libtorch_cuda has kernels of, as lines of C++: operators.py native_functions.yaml.

Each with what libtorch checks before the kernel runs: that all tensors are on one device, or as TensorIterator
does, which lets scalars of the CPU pass.
"""

import re
import sys


def entries(text):
    """Name, dispatch table, fields and whole text of each operator of the file."""
    for entry in re.split(r"(?m)^- func: ", text)[1:]:
        name = entry[: entry.index("(")].strip()
        fields, table, in_table = {}, {}, False
        for line in entry.splitlines()[1:]:
            if re.match(r"    \S", line) and in_table:
                keys, _, kernel = line.split("#")[0].strip().partition(":")
                table.update((key.strip(), kernel.strip()) for key in keys.split(",") if kernel)
            elif match := re.match(r"  (\w+): ?(.*)", line):
                in_table = match[1] == "dispatch"
                fields[match[1]] = match[2]
        if "ufunc_inner_loop" in fields:  # generated for the CPU and CUDA
            table["CUDA"] = "ufunc"
        yield name, table, fields


def main():
    known = {name: (table, fields) for name, table, fields in entries(open(sys.argv[1]).read())}
    for name, (table, fields) in sorted(known.items()):
        delegate = fields.get("structured_delegate")
        table = known[delegate][0] if delegate else table
        if "CUDA" not in table:
            continue
        check = "kOneDevice"
        if fields.get("device_check", "").startswith("NoCheck"):
            check = "kIterator" if "TensorIterator" in fields["device_check"] else "kNone"
        print(f'{{"aten::{name}", Check::{check}}},')


if __name__ == "__main__":
    main()
