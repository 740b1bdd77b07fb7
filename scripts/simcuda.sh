#!/usr/bin/env bash
# Runs a command where programs of this workspace see a simulated CUDA device (tests/simcuda).
#
#   scripts/simcuda.sh cargo test --workspace      the device-generic tests on it
#   scripts/simcuda.sh target/debug/sib-cli train --config ... --device cuda
#   scripts/simcuda.sh --check                     what the simulation promises
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."
root=$PWD
libtorch=$(readlink -f "${LIBTORCH:-.libtorch}")
out=$(cd "$caller" && readlink -m "${CARGO_TARGET_DIR:-$root/target}")/simcuda
sources=tests/simcuda
library=$out/lib/libtorch_cuda.so

compile() { # OUTPUT SOURCES AND FLAGS...
    nice "${CXX:-c++}" -std=c++20 -w -DNDEBUG -I"$out" -I"$libtorch/include" \
        -I"$libtorch/include/torch/csrc/api/include" -o "$@" -L"$libtorch/lib" -ltorch_cpu -lc10
}

mkdir -p "$out/lib"
# The CPU's libraries, and in the place of CUDA's the simulated device.
cp -rsf "$libtorch/lib/." "$out/lib/"
rm -f "$library"
if [ ! -e "$out/libsimcuda.so" ] || [ -n "$(find "$sources" -newer "$out/libsimcuda.so" -print -quit)" ]; then
    python3 "$sources/operators.py" \
        "$libtorch/../torchgen/packaged/ATen/native/native_functions.yaml" >"$out/operators.inc"
    parts=()
    for part in borrowed counts device kernels memory; do
        compile "$out/$part.o" -O2 -fPIC -c "$sources/$part.cpp"
        parts+=("$out/$part.o")
    done
    compile "$out/libsimcuda.so" -shared -Wl,-soname,libtorch_cuda.so "${parts[@]}"
fi
ln -sfn ../libsimcuda.so "$library"
# The libraries that those of a wheel look for beside themselves.
path=$out/lib
for folder in "$libtorch"/../nvidia/*/lib; do
    [ ! -d "$folder" ] || path=$path:$folder
done
path=$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

if [ "${1:-}" = --check ]; then
    compile "$out/check" -O1 "$sources/check.cpp" -ldl "-Wl,-rpath,$out/lib"
    exec env "LD_LIBRARY_PATH=$path" "$out/check" "$library"
fi
[ $# -gt 0 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }

cd "$caller"
export SIB_TEST_DEVICE=cuda "LD_LIBRARY_PATH=$path"
if [ "$1" = cargo ]; then
    # For the programs that cargo runs, not for cargo itself.
    host=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
    export "CARGO_TARGET_${host}_RUNNER=env LD_PRELOAD=$library"
    exec "$@"
fi
exec env "LD_PRELOAD=$library" "$@"
