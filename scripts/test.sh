#!/usr/bin/env bash
# The whole test suite, with all set-up. Arguments go to cargo test.
#
# Tests on real data run where a folder `shared` with it lies beside this checkout, and say what
# they skip where it does not; a part of it that is missing fails them.
# SIB_TEST_DEVICE=cuda runs the device-generic tests on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${SIB_TEST_DEVICE:-cpu}" = cuda ]; then
    scripts/setup.sh --cuda
    # The linker drops the CUDA part, since nothing names a symbol of it, and libtorch must have it
    # before the first tensor.
    host=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
    export "CARGO_TARGET_${host}_RUNNER=env LD_PRELOAD=${LIBTORCH:-$PWD/.libtorch}/lib/libtorch_cuda.so"
else
    scripts/setup.sh
fi
# Tests run beside one another, one a core; libtorch's threads would wait for one another on top of that.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
[ ! -d ../shared/data ] || export SIB_REQUIRE_SHARED=1
cargo test --workspace --locked "$@"
