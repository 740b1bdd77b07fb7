#!/usr/bin/env bash
# Looks for files over which a reader panics, hangs or takes too much memory, guided by coverage (libFuzzer).
#
#   scripts/fuzz.sh TARGET [RUNS]     RUNS executions (default 10000000); what it finds goes to fuzz/found/TARGET
#
# Targets: fuzz/src/targets.rs. A stable compiler is enough. What coverage adds to the seeds stays in target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    "" | -*) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
target=$1 runs=${2:-10000000}
[ -d "fuzz/seeds/$target" ] || {
    printf 'error: no target %s\nhint: one of %s\n' "$target" "$(cd fuzz/seeds && echo *)" >&2
    exit 2
}
scripts/setup.sh
# As cargo-fuzz has it, without a sanitizer: these readers hold no unsafe code. Sums that overflow end the program.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags="$flags -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags="$flags -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks"
# With a target named, the flags are not those of build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="$flags" cargo build --release --locked --target "$host" --target-dir target/fuzz -p sib-fuzz --features engine
corpus=target/fuzz/corpus/$target
mkdir -p "$corpus" "fuzz/found/$target"
# Images may take 512 MiB of pixels, and twice that while they are converted; libtorch itself takes 300 MB.
limit=850
[ "$target" != image ] || limit=2000
SIB_FUZZ_TARGET=$target TMPDIR=${TMPDIR:-/dev/shm} OMP_NUM_THREADS=1 exec "target/fuzz/$host/release/sib-fuzz" \
    "$corpus" "fuzz/seeds/$target" -runs="$runs" -timeout=2 -rss_limit_mb=$limit -max_len=16384 \
    -artifact_prefix="fuzz/found/$target/" -print_final_stats=1 -close_fd_mask=0
