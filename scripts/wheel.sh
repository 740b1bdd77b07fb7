#!/usr/bin/env bash
# Packs the program and the Python module as a wheel in target/wheel, for a Python with torch 2.13.0 (docs/python.md).
#
#   scripts/wheel.sh           set-up, release build, wheel
#   scripts/wheel.sh --test    then its tests, in a virtual environment of its own, with nothing from the network
#
# SIB_CLI=PROGRAM packs that sib-cli and builds nothing. The tests use what PYTHON (python3 otherwise) has beside its
# torch; without torch 2.13.0 there, or with one that LIBTORCH or scripts/setup.sh has brought, they are those of the
# program alone.
set -euo pipefail
from_caller() { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
test=false
case "${1:-}" in
    "") ;;
    --test) test=true ;;
    -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0" && exit 0 ;;
    *) printf 'error: unknown argument %s\nhint: scripts/wheel.sh [--test]\n' "$1" >&2 && exit 2 ;;
esac
program=${SIB_CLI:+$(from_caller "$SIB_CLI")}
cd "$(dirname "$0")/.."
target=$(from_caller "${CARGO_TARGET_DIR:-target}")
python=${PYTHON:-python3}

if [ -z "$program" ]; then
    scripts/setup.sh
    cargo build --release --locked --bin sib-cli
    program=$target/release/sib-cli
fi
wheel=$("$python" python/build_wheel.py "$program" "$target/wheel")
echo "$wheel"
$test || exit 0

# The folder of site packages with the right torch: that of Python, or the one that there is libtorch from.
torch=$(sed -n 's/^TORCH = "\(.*\)"/\1/p' python/sib_cli/_torch.py)
find='from importlib.util import find_spec; print(find_spec("torch").submodule_search_locations[0])'
site=$("$python" -c "$find" 2>/dev/null) && site=$(dirname "$site") || site=""
has_torch() { grep -qs "^__version__ = '${torch}['+]" "$1/torch/version.py"; }
has_torch "$site" || site=$(dirname "$(readlink -f "${LIBTORCH:-.libtorch}")")
if ! has_torch "$site"; then
    echo "skipped: the tests of the wheel need torch $torch as a Python package" >&2
    exit 0
fi
venv=$target/wheel/venv
rm -rf "$venv"
"$python" -m venv "$venv" >/dev/null || {
    echo "skipped: the tests of the wheel need Python's venv" >&2
    exit 0
}
# As if all of it had been installed there: the program looks for torch beside its own folder.
packages=$(echo "$venv"/lib/python*/site-packages)
for entry in "$site"/*; do
    case "${entry##*/}" in
        sib_cli* | __pycache__) ;;
        *) [ -e "$packages/${entry##*/}" ] || ln -s "$entry" "$packages" ;;
    esac
done
install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index)
"$venv/bin/python" -c 'import numpy, safetensors' 2>/dev/null || install+=(--no-deps)
"${install[@]}" "$wheel"
PATH=$venv/bin:$PATH OMP_NUM_THREADS=1 "$venv/bin/python" -m unittest discover --verbose -s python/tests
