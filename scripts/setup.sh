#!/usr/bin/env bash
# Brings libtorch 2.13.0 into .libtorch (git-ignored). Idempotent.
#
#   scripts/setup.sh          libraries and headers for a CPU build (about 1.2 GB)
#   scripts/setup.sh --cuda   everything CUDA needs as well (about 4.7 GB)
#
# LIBTORCH=/path/to/libtorch in the environment wins: then nothing is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TORCH=2.13.0 CUDA_RUNTIME=13.0.96 CUDA_CUPTI=13.0.85
readonly SITE=.libtorch-site

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

flavour=cpu
case "${1:-}" in
    "") ;;
    --cuda) flavour=cuda ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'error: unknown argument %s\nhint: scripts/setup.sh [--cuda]\n' "$1" >&2; exit 2 ;;
esac

# A wheel carries its version in torch/version.py, the libtorch archive in build-version.
version_of() {
    if [ -f "$1/version.py" ]; then
        sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$1/version.py"
    elif [ -f "$1/build-version" ]; then
        sed 's/+.*//' "$1/build-version"
    fi
}

if [ -n "${LIBTORCH:-}" ]; then
    [ -d "$LIBTORCH/lib" ] && [ -d "$LIBTORCH/include" ] ||
        fail "LIBTORCH=$LIBTORCH has no lib/ and include/ folders" \
            "unset LIBTORCH to let this script fetch libtorch $TORCH"
    found=$(version_of "$LIBTORCH")
    [ -z "$found" ] || [ "$found" = "$TORCH" ] ||
        fail "LIBTORCH=$LIBTORCH is version $found, expected $TORCH"
    say "using LIBTORCH=$LIBTORCH"
    exit 0
fi

command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
    fail "no C++ compiler found" "install g++ or clang++ (Debian, Ubuntu: apt-get install g++)"

stamp=.complete-$TORCH
if [ -d .libtorch/lib ]; then
    if [ "$(readlink .libtorch || true)" = "$SITE/torch" ]; then
        [ ! -f "$SITE/$stamp-cuda" ] || exit 0
        [ "$flavour" = cuda ] || [ ! -f "$SITE/$stamp-cpu" ] || exit 0
    elif [ "$(version_of .libtorch)" = "$TORCH" ] &&
        { [ "$flavour" = cpu ] || [ -f .libtorch/lib/libtorch_cuda.so ]; }; then
        exit 0 # somebody else's
    fi
fi
[ -L .libtorch ] || [ ! -e .libtorch ] ||
    fail ".libtorch is neither a link of this script's nor libtorch $TORCH ($flavour)" "move it away"

command -v python3 >/dev/null 2>&1 ||
    fail "python3 not found, it is needed to fetch libtorch $TORCH" \
        "install Python 3, or set LIBTORCH to an unpacked libtorch $TORCH"
# Debian splits pip and ensurepip from Python: any of the three ways to a pip will do.
if python3 -m pip --version >/dev/null 2>&1; then
    pip=(python3 -m pip)
elif python3 -m venv .libtorch-venv >/dev/null 2>&1; then
    pip=(.libtorch-venv/bin/python -m pip)
else
    fail "this python3 has neither pip nor venv" \
        "install them (Debian, Ubuntu: apt-get install python3-venv), or set LIBTORCH to an unpacked libtorch $TORCH"
fi

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-aarch64) machine=$(uname -m) ;;
    *) fail "no prebuilt libtorch is known for $(uname -s) $(uname -m)" \
        "set LIBTORCH to a libtorch $TORCH built for this machine" ;;
esac

# Only libraries and headers count, so the wheel of one fixed Python version serves every Python 3.
install=("${pip[@]}" install --quiet --disable-pip-version-check --no-warn-conflicts --upgrade
    --target "$SITE.new" --only-binary=:all: --implementation cp --python-version 3.12)
for tag in manylinux2014 manylinux_2_{17..28}; do   # pip matches each tag to the letter
    install+=(--platform "${tag}_$machine")
done
new=$SITE.new # what there is stays until the new one is whole
rm -rf "$new"
if [ "$flavour" = cuda ]; then
    say "fetching libtorch $TORCH with CUDA 13 (about 4.7 GB) ..."
    packages=("torch==$TORCH")
else
    say "fetching libtorch $TORCH for CPU (about 1.2 GB) ..."
    packages=(--no-deps "torch==$TORCH" "nvidia-cuda-runtime==$CUDA_RUNTIME" "nvidia-cuda-cupti==$CUDA_CUPTI")
fi
"${install[@]}" "${packages[@]}" || {
    rm -rf "$new"
    fail "libtorch $TORCH could not be fetched with pip (its message is above)" \
        "check the network, or set LIBTORCH to an unpacked libtorch $TORCH"
}
[ -d "$new/torch/lib" ] || fail "the torch $TORCH wheel holds no torch/lib folder"
touch "$new/$stamp-$flavour"
rm -rf "$SITE"
mv "$new" "$SITE"
ln -sfn "$SITE/torch" .libtorch
say "libtorch $TORCH ($flavour) is in .libtorch"
