"""The licences of the Rust packages that a program of this workspace is made of, as its wheel must pass them on."""

import json
import pathlib
import re
import subprocess

# Files with these names are licences, or notices that licences ask to be kept.
NAMES = re.compile(r"(licen[cs]e|copying|notice|copyright|unlicense)", re.IGNORECASE)


def licences(root, package):
    """The text: every package of others that `package` of the workspace at `root` is linked from, with its version, its
    licence and the texts of its own licence files, those that several share once.

    Raises ValueError where cargo does not know them.
    """
    found = packages(root, package)
    users = {}
    for name, folder in sorted(found.items()):
        for file in sorted(folder.rglob("*")):
            if NAMES.match(file.name) and file.is_file() and file.suffix not in (".rs", ".c", ".h", ".html"):
                text = file.read_text(encoding="utf-8", errors="replace").strip()
                users.setdefault(text, []).append(f"{name}: {file.relative_to(folder).as_posix()}")
    listing = "\n".join(sorted(found))
    texts = "".join(f"\n\n{'=' * 80}\n" + "\n".join(of) + f"\n{'=' * 80}\n\n{text}" for text, of in users.items())
    return f"sib-cli is made of these packages and parts of them:\n\n{listing}{texts}\n"


def packages(root, package):
    """The folders of the packages by name, version and licence."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host()]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if output.returncode != 0:
        raise ValueError(f"cargo metadata: {output.stderr.strip()}")
    metadata = json.loads(output.stdout)
    known = {entry["id"]: entry for entry in metadata["packages"]}
    links = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    waiting = [key for key, entry in known.items() if entry["name"] == package]
    seen = set()
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            waiting += [link["pkg"] for link in links[key] if any(kind["kind"] is None for kind in link["dep_kinds"])]
    others = [known[key] for key in seen if known[key]["source"]]
    return {f"{p['name']} {p['version']} ({p['license']})": pathlib.Path(p["manifest_path"]).parent for p in others}


def host():
    """Cargo's name of this machine's platform."""
    text = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return re.search(r"^host: (.*)$", text, re.MULTILINE)[1]
