#!/usr/bin/env bash
# The whole test suite, with all set-up. Arguments go to cargo test.
#
# Tests on real data run where a folder `shared` with it lies beside this checkout, and say what
# they skip where it does not. SIB_TEST_DEVICE=cuda runs the device-generic tests on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
cargo test --workspace --locked "$@"
