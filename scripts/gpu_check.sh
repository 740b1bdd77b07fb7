#!/usr/bin/env bash
# What to run first on a machine with a GPU: in one command of some minutes (after building), ending in
# a table.
#
#   scripts/gpu_check.sh [--output DIR] [--images DIR]
#
# It runs the tests on the GPU; trains, resumes, explains and evaluates all four networks on GPU and CPU
# from the same start and says how far the results are apart; trains in tf32 and bf16 beside f32; and times a plain
# and an S-IB step in each of them against eager PyTorch of the same step on the same GPU, with peak memory, and
# against JAX.
#
# --output DIR   logs, runs, table.md; those of an earlier check are removed [runs/gpu-check]
# --images DIR   photographs DIR/train/<class>/* for the speed of the loader; else it is left out
#
# PYTHON (python3 otherwise) needs PyTorch with CUDA and torchvision (scripts/golden/requirements.txt) for
# the comparison with PyTorch, which is left out without. With SIB_CLI, a sib-cli, and SIB_TESTS, a folder
# of test programs, nothing is built.
set -euo pipefail
from_caller() { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
usage() {
    printf 'error: %s\nhint: scripts/gpu_check.sh --help\n' "$1" >&2
    exit 2
}

output="" images="" python=${PYTHON:-python3}
while [ $# -gt 0 ]; do
    case "$1" in
        --output | --images)
            [ $# -ge 2 ] || usage "$1 needs a value"
            declare "${1#--}=$(from_caller "$2")"
            shift 2
            ;;
        -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0" && exit 0 ;;
        *) usage "unknown argument $1" ;;
    esac
done
program=$(from_caller "${SIB_CLI:-$(dirname "$0")/../target/release/sib-cli}")
tests=${SIB_TESTS:+$(from_caller "$SIB_TESTS")}
cd "$(dirname "$0")/.."
: "${output:=$PWD/runs/gpu-check}"
logs=$output/logs

step() { printf '\n== %s\n' "$*" >&2; }
# No command takes this many seconds.
readonly limit=300
sib() { timeout "$limit" "$program" "$@"; }
rows=() failed=""
row() {
    rows+=("| $1 | $2 |")
    printf '%s: %s\n' "$1" "$2" >&2
}

step "set-up and build"
if [ -z "${SIB_CLI:-}" ]; then
    scripts/setup.sh --cuda
    cargo build --release --locked --bin sib-cli
    SIB_TEST_DEVICE=cuda scripts/test.sh --no-run
fi
[ ! -e "$output" ] || [ -f "$logs/doctor.log" ] || usage "--output $output: there is something else"
rm -rf "$output"
mkdir -p "$logs"
cores=$(nproc)

step "doctor"
gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null | head -n 1) ||
    gpu="unknown to nvidia-smi"
sib doctor --device cuda | tee "$logs/doctor.log" >&2
row "GPU" "$gpu"
row "libtorch" "$(sed -n 's/^libtorch *//p' "$logs/doctor.log")"

# What follows is not timed: several processes at once, each with a share of the cores.
parallel=6
export OMP_NUM_THREADS=$(((cores + parallel - 1) / parallel))

# start NAME COMMAND...: beside the others that are running.
start() {
    local name=$1
    shift
    while [ "$(jobs -rp | wc -l)" -ge "$parallel" ]; do wait -n || true; done
    { "$@" >"$logs/$name.log" 2>&1 || echo "$name" >>"$logs/failed"; } &
}

run_tests() {
    export SIB_TEST_DEVICE=cuda
    if [ -z "$tests" ]; then
        scripts/test.sh --no-fail-fast
        return
    fi
    local test status=0
    for test in "$tests"/*; do
        echo "== $(basename "$test")"
        LD_PRELOAD=${LIBTORCH:-.libtorch}/lib/libtorch_cuda.so timeout "$limit" "$test" || status=1
    done
    return "$status"
}

# train NAME DEVICE [ARGUMENT]...: an epoch of four updates at 64 px.
train() {
    local name=$1 device=$2
    shift 2
    sib train --config configs/reference.toml --set data.limit_train=64 --set data.limit_test=32 \
        --set data.preprocessing.resize_px=64 --set data.preprocessing.crop_px=64 \
        --set train.batch_size=16 --set train.epochs=1 --set train.schedule.kind=constant "$@" \
        --device "$device" --output "$output/$name-$device"
}

# both NAME [ARGUMENT]...: on GPU and CPU.
both() {
    local device
    for device in cuda cpu; do start "$1-$device" train "$1" "$device" "${@:2}"; done
}

interrupted() {
    train interrupted cuda
    sib train --resume "$output/interrupted-cuda" --set train.epochs=2 --device cuda
}

# One setting after another, all of which touch tensors.
options=(
    "accumulated train.accumulate_batches=2 train.batch_size=8 train.ema_decay=0.9 train.clip_norm=0.1
        train.label_smoothing=0.1 train.log_gradient_norms=1 train.log_information=true"
    "checkpointed train.checkpoint_blocks=true data.mix.mixup.alpha=0.2"
    "shared sib.weights=gradient-share"
    "rms data.mix.cut-mix.alpha=1.0 sib.vjp.normalise=rms sib.form=exponential sib.hsic.estimator=cka
        sib.background.variance=batch train.optimizer.kind=sgd train.optimizer.learning_rate=1e-3"
    "projected sib.hsic.projection=256 sib.mask.kind=max-norm sib.vjp.scalar=logits sib.every=2"
)
archs=(resnet18 resnet50 densenet121 vit_b_32)

step "tests, and training on both devices"
start tests run_tests
for arch in "${archs[@]}"; do
    both "$arch-plain" --set "model.arch=$arch" --set sib.enabled=false
    both "$arch" --set "model.arch=$arch"
done
for arch in densenet121 vit_b_32; do
    both "$arch-checkpointed" --set "model.arch=$arch" --set train.checkpoint_blocks=true
done
for line in "${options[@]}"; do
    read -r -d '' -a words <<<"$line" || true
    arguments=()
    for word in "${words[@]:1}"; do arguments+=(--set "$word"); done
    both "${words[0]}" "${arguments[@]}"
done
for precision in tf32 bf16; do
    start "$precision-cuda" train "$precision" cuda --set "train.precision=$precision"
done
start through train through cuda --set train.epochs=2
start repeated train repeated cuda --set train.epochs=2
start interrupted interrupted
start export sib data export --data synthetic --split test --limit 3 --output "$output/images"
wait

# explain NAME DEVICE, evaluate NAME DEVICE, predict NAME DEVICE: by the network that the CPU trained.
explain() {
    sib explain --checkpoint "$output/$1-cpu/checkpoints/last.safetensors" --image "$output/images" \
        --method all --sheet-images 0 --device "$2" --output "$output/$1-$2/maps"
}
evaluate() {
    sib evaluate --checkpoint "$output/$1-cpu/checkpoints/last.safetensors" --data synthetic \
        --suite all --method all --limit 4 --batch-size 4 --set faithfulness.step_px=512 --device "$2" \
        --output "$output/$1-$2/evaluation"
}
predict() {
    sib predict --checkpoint "$output/$1-cpu/checkpoints/last.safetensors" --image "$output/images" \
        --device "$2" --output "$output/$1-$2/predictions.csv"
}

step "explanations and evaluations on both devices"
for device in cuda cpu; do
    for arch in "${archs[@]}"; do
        start "explain-$arch-$device" explain "$arch" "$device"
        start "predict-$arch-$device" predict "$arch" "$device"
    done
    for arch in resnet18 vit_b_32; do start "evaluate-$arch-$device" evaluate "$arch" "$device"; done
done
wait

count() { grep -a '^test result' "$logs/tests.log" | sed "s/.* \([0-9]*\) $1.*/\1/" | awk '{ n += $1 } END { print n + 0 }'; }
wrong=$(grep -a ' FAILED$' "$logs/tests.log" | sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' | paste -sd ' ' || true)
row "tests on the GPU" "$(count passed) passed, $(count failed) failed${wrong:+: $wrong}"
while read -r name; do
    failed=yes
    [ "$name" = tests ] || row "$name" \
        "FAILED: $(grep -a -m 1 -E '^error|panicked' "$logs/$name.log" || tail -n 1 "$logs/$name.log")"
done < <(cat "$logs/failed" 2>/dev/null || true)

# compare NAME MOST KIND A B: a row of how far A is from B.
compare() {
    local name=$1 most=$2 said
    shift 2
    if said=$(python3 scripts/compare_devices.py "$@" --most "$most" 2>&1); then
        row "$name" "$said"
    else
        row "$name" "FAILED, more than $most: $(tail -n 1 <<<"$said")"
        failed=yes
    fi
}
step "GPU against CPU, as a fraction of the value"
for run in "$output"/*-cuda; do
    name=$(basename "$run" -cuda)
    [ -d "$output/$name-cpu" ] || continue
    compare "training, $name" 1e-3 runs "$run" "$output/$name-cpu"
done
for arch in "${archs[@]}"; do
    compare "maps, $arch" 5e-2 maps "$output/$arch-cuda/maps" "$output/$arch-cpu/maps"
    compare "predictions, $arch" 1e-3 rows "$output/$arch-cuda/predictions.csv" \
        "$output/$arch-cpu/predictions.csv"
done
for arch in resnet18 vit_b_32; do
    compare "evaluation, $arch" 1e-2 rows "$output/$arch-cuda/evaluation/summary.csv" \
        "$output/$arch-cpu/evaluation/summary.csv"
done
for precision in tf32 bf16; do
    compare "training in $precision against f32, resnet18" 1e-1 runs "$output/$precision-cuda" \
        "$output/resnet18-cuda"
done
for other in repeated interrupted; do
    # cuDNN's algorithms need not give the same bits each time, and AdamW's first steps are signs.
    compare "training on the GPU, $other" inf tensors "$output/through-cuda/checkpoints/last.safetensors" \
        "$output/$other-cuda/checkpoints/last.safetensors"
done

rm -rf "$output"/*/checkpoints # many gigabytes
unset OMP_NUM_THREADS
step "times"
# step_times BATCH ARCH...: rows of scripts/bench_peers.py, or of our own steps alone.
step_times() {
    local batch=$1 arch
    shift
    if "$python" -c 'import torch, torchvision, safetensors; assert torch.cuda.is_available()' 2>/dev/null; then
        for arch; do
            SIB_CLI=$program timeout "$limit" "$python" scripts/bench_peers.py step --device cuda \
                --repeat 3 --batch-size "$batch" --archs "$arch"
        done
        return
    fi
    for arch; do
        sib bench step --device cuda --arch "$arch" --batch-size "$batch" --repeat 5 |
            awk -F, -v of="$arch, B $batch" '/^plain,/ { plain = $2 }
                /^s-ib,/ { print "\"S-IB over plain step, " of "\",our plain step," plain "," $2 "," $3 }'
    done
}
step_times 64 "${archs[@]}" >"$logs/steps.csv" 2>"$logs/steps.log" || {
    row "step times" "FAILED: $(tail -n 1 "$logs/steps.log")"
    failed=yes
}
while IFS=$'\t' read -r work said; do row "$work" "$said"; done < <(python3 - "$logs/steps.csv" <<'PYTHON'
import csv, sys
for row in csv.reader(open(sys.argv[1])):
    work, peer, ours, theirs, ratio, *rest = row
    if "over plain" in work:
        print(f"{work}\t{ratio}: plain {ours} s, S-IB {theirs} s")
    elif work != "work":
        print(f"{work}\t{peer} takes {ratio} times as long: ours {ours} s, {theirs} s; {rest[-1]}".rstrip("; "))
PYTHON
)

if "$python" -c 'import jax; assert jax.default_backend() == "gpu"' 2>/dev/null; then
    for precision in f32 tf32; do
        timeout "$limit" "$python" scripts/bench_jax.py --archs resnet50 --repeat 3 --precision "$precision"
    done >"$logs/jax.csv" 2>"$logs/jax.log" || {
        row "JAX" "FAILED: $(tail -n 1 "$logs/jax.log")"
        failed=yes
    }
    while IFS=, read -r work seconds _; do row "$work" "$seconds s"; done < <(grep -h ' by JAX ' "$logs/jax.csv")
fi

if [ -n "$images" ]; then
    if SIB_CLI=$program timeout "$limit" "$python" scripts/bench_peers.py loader --repeat 5 \
        --images "$images" --workers "$cores" >"$logs/loader.csv" 2>"$logs/loader.log"; then
        while IFS=$'\t' read -r work speed; do row "$work" "$speed"; done < <(python3 -c 'import csv, sys
for r in csv.DictReader(open(sys.argv[1])):
    n = int(r["agreement"].split()[0])
    ours, peer = (n / float(r[key]) for key in ("ours_s", "peer_s"))
    print("%s\t%.0f images/s, %s %.0f" % (r["work"], ours, r["peer"], peer))' "$logs/loader.csv")
    else
        row "loader" "FAILED: $(tail -n 1 "$logs/loader.log")"
        failed=yes
    fi
fi

{
    printf '| %s | %s |\n|---|---|\n' "check" "result"
    printf '%s\n' "${rows[@]}"
} | tee "$output/table.md"
if [ -n "$failed" ]; then
    printf '\nerror: something failed, see the table and %s\n' "$logs" >&2
    exit 1
fi
