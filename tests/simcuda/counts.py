#!/usr/bin/env python3
"""What SIMCUDA_LOG has counted: counts.py LOG [--step N]

A line a step with the number of each kind of event; with --step the operators of that one. Step 0 begins with the
program, the last ends with it: those between are ordinary.
"""

import argparse
import collections

KINDS = [
    "kernel", "view", "allocation", "to device", "to device, asynchronous", "to host", "scalar", "synchronising",
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log")
    parser.add_argument("--step", type=int)
    arguments = parser.parse_args()
    steps = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for line in open(arguments.log):
        what, kind, operator, count, *_ = line.rstrip("\n").split("\t")
        if what.startswith("step "):
            steps[int(what.removeprefix("step "))][kind][operator] += int(count)
    if arguments.step is None:
        print("step", *KINDS, sep="\t")
        for number, counted in sorted(steps.items()):
            print(number, *(sum(counted[kind].values()) for kind in KINDS), sep="\t")
        return
    for kind in KINDS:
        for operator, count in steps[arguments.step][kind].most_common():
            print(kind, operator, count, sep="\t")


if __name__ == "__main__":
    main()
