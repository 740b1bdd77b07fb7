#!/usr/bin/env python3
"""Packs the program and the module sib_cli as a wheel: scripts/wheel.sh calls it. The standard library will do.

    python/build_wheel.py PROGRAM OUTPUT_FOLDER

PROGRAM is a sib-cli that cargo has built. Its bytes and the sources give the bytes of the wheel. Prints its path.
"""

import argparse
import base64
import hashlib
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zipfile

import third_party
from sib_cli._torch import TORCH

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULE = ROOT / "python" / "sib_cli"

# From the program, which lies in the package's folder, to the libraries of the torch beside that folder.
RUNPATH = b"$ORIGIN/../torch/lib"

# Of ELF: names of the numbers of machines as pip has them, kinds of segments, tags of the dynamic section.
MACHINES = {62: "x86_64", 183: "aarch64"}
PT_LOAD, PT_DYNAMIC = 1, 2
DT_STRTAB, DT_RUNPATH = 5, 29

METADATA = """\
Metadata-Version: 2.4
Name: sib-cli
Version: {version}
Summary: Spatial Information Bottleneck: train image classifiers, explain and evaluate them
License-Expression: MIT OR Apache-2.0
{licence_files}
Requires-Python: >=3.10
Requires-Dist: torch=={torch}
Requires-Dist: numpy
Requires-Dist: safetensors
Requires-Dist: tomli; python_version < "3.11"
Provides-Extra: load
Requires-Dist: torchvision; extra == "load"
Requires-Dist: pillow; extra == "load"
Description-Content-Type: text/markdown

{description}"""

WHEEL = """\
Wheel-Version: 1.0
Generator: sib-cli ({version})
Root-Is-Purelib: false
Tag: {tag}
"""

ENTRY_POINTS = """\
[console_scripts]
sib-cli = sib_cli.__main__:main
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        print(build(arguments.program, arguments.output))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def build(program, output):
    """Writes the wheel into the folder `output` and returns its path."""
    version = project_version()
    tag, packed = prepared(program)
    info = f"sib_cli-{version}.dist-info"
    licences = {name: (ROOT / name).read_bytes() for name in ("LICENSE-MIT", "LICENSE-APACHE")}
    licences["THIRD-PARTY"] = third_party.licences(ROOT, "sib-cli").encode()
    metadata = METADATA.format(
        version=version,
        torch=TORCH,
        licence_files="\n".join(f"License-File: {name}" for name in licences),
        description=(ROOT / "docs" / "python.md").read_text(encoding="utf-8"),
    )
    files = {f"sib_cli/{path.name}": path.read_bytes() for path in sorted(MODULE.iterdir()) if path.is_file()}
    files |= {
        "sib_cli/sib-cli": packed,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": WHEEL.format(version=version, tag=tag).encode(),
        f"{info}/entry_points.txt": ENTRY_POINTS.encode(),
    }
    files |= {f"{info}/licenses/{name}": text for name, text in licences.items()}
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD").encode()
    output.mkdir(parents=True, exist_ok=True)
    wheel = output / f"sib_cli-{version}-{tag}.whl"
    write(wheel, files)
    return wheel


def project_version():
    """That of Cargo.toml, which Cargo and pip read alike as long as it is three numbers."""
    text = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(\d+\.\d+\.\d+)"$', text, re.MULTILINE)
    if version is None:
        raise ValueError("Cargo.toml: no version of three numbers, which is what pip would take")
    return version[1]


def prepared(program):
    """The wheel's tag, and the program's bytes without symbols and with the wheel's search path for libraries.

    The tag is linux_*, not manylinux_*: the program needs the C and C++ libraries of the machine that built it, or
    later ones.
    """
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder) / "sib-cli"
        try:
            subprocess.run(["strip", "-o", stripped, program], check=True)
        except subprocess.CalledProcessError:
            raise ValueError(f"{program}: strip cannot read it, expected a program that cargo has built") from None
        elf = bytearray(stripped.read_bytes())
    try:
        machine = MACHINES[struct.unpack_from("<H", elf, 0x12)[0]]
        set_runpath(elf)
    except (KeyError, ValueError, struct.error) as error:
        raise ValueError(f"{program}: {error}, expected a sib-cli for 64-bit Linux") from None
    return f"py3-none-linux_{machine}", bytes(elf)


def set_runpath(elf):
    """Makes RUNPATH the folders where the program looks for libraries, in place.

    A link argument would do the same, but be that of every build, or take a second build of the whole program, five
    minutes, which CI would do for this test alone. patchelf is not at hand everywhere. The program's own search path
    ends in this one (crates/sib-cli/build.rs), so that it always fits in the room of the old one.
    """
    tables = struct.unpack_from("<Q", elf, 0x20)[0]
    size, count = struct.unpack_from("<HH", elf, 0x36)
    loads, dynamic = [], None
    for header in range(tables, tables + size * count, size):
        kind, _, offset, address, _, in_file = struct.unpack_from("<IIQQQQ", elf, header)
        if kind == PT_LOAD:
            loads.append((address, offset, in_file))
        elif kind == PT_DYNAMIC:
            dynamic = range(offset, offset + in_file, 16)
    if dynamic is None:
        raise ValueError("a static program")
    tags = dict(struct.unpack_from("<qQ", elf, entry) for entry in reversed(dynamic))
    if DT_RUNPATH not in tags:
        raise ValueError("no RUNPATH, as after cargo's build scripts have set one")
    strings = next(o + tags[DT_STRTAB] - a for a, o, n in loads if a <= tags[DT_STRTAB] < a + n)
    start = strings + tags[DT_RUNPATH]
    old = elf[start : elf.index(b"\0", start)]
    if len(old) < len(RUNPATH):
        raise ValueError(f"RUNPATH {old.decode()} has less room than {RUNPATH.decode()}: build it anew")
    elf[start : start + len(old)] = RUNPATH.ljust(len(old), b"\0")


def record(files, own_name):
    """The list of all files with their digests, its own line without."""

    def line(name, content):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        return f"{name},sha256={digest},{len(content)}\n"

    return "".join(line(*file) for file in files.items()) + f"{own_name},,\n"


def write(wheel, files):
    """Writes the archive, the same from the same files."""
    draft = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if name == "sib_cli/sib-cli" else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
    draft.replace(wheel)


if __name__ == "__main__":
    main()
