#!/usr/bin/env bash
# Reproduces results, with all set-up. A finished step is not repeated; an interrupted one goes on.
#
#   scripts/reproduce.sh [--profile demo] [--output DIR] [--device cpu|cuda[:N]]
#
#   demo   built-in data, about 10 minutes on 2 cores beyond the first build: a common warm-up, then
#          baseline and S-IB from its weights, heatmaps of both, localization, the table
set -euo pipefail
cd "$(dirname "$0")/.."

profile=demo output=runs/demo device=cpu
usage() {
    printf 'error: %s\nhint: scripts/reproduce.sh --help\n' "$1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case "$1" in
        --profile | --output | --device)
            [ $# -ge 2 ] || usage "$1 needs a value"
            case "$1" in
                --profile) profile=$2 ;;
                --output) output=$2 ;;
                --device) device=$2 ;;
            esac
            shift 2
            ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) usage "unknown argument $1" ;;
    esac
done
[ "$profile" = demo ] || usage "unknown profile $profile, expected demo"

step() { printf '\n== %s\n' "$*" >&2; }

step "set-up and build"
if [ "${device%%:*}" = cuda ]; then scripts/setup.sh --cuda; else scripts/setup.sh; fi
cargo build --release --locked --bin sib-cli
sib() { target/release/sib-cli "$@"; }

# train NAME: from its configuration, or on from where it stopped.
train() {
    local run="$output/$1"
    if [ -f "$run/status.toml" ]; then
        step "training: $1 (done before)"
    elif [ -f "$run/checkpoints/last.safetensors" ]; then
        step "training: $1 (going on)"
        sib train --resume "$run" --device "$device"
    else
        step "training: $1"
        rm -rf "$run" # made, but never saved
        sib train --config "configs/demo/$1.toml" --output "$run" --device "$device" "${@:2}"
    fi
}

train warmup
# Both branches start from the same weights and get the same steps: the comparison is fair.
for branch in baseline sib; do
    train "$branch" --set "model.weights=$output/warmup/checkpoints/last.safetensors"
done

for branch in baseline sib; do
    step "evaluation: $branch"
    sib evaluate --checkpoint "$output/$branch/checkpoints/last.safetensors" --data synthetic \
        --suite accuracy,localization --method saliency,grad-cam,s-ib-map \
        --device "$device" --output "$output/$branch/evaluation"
    step "evaluation: $branch, where backgrounds agree with the class"
    sib evaluate --checkpoint "$output/$branch/checkpoints/last.safetensors" --data synthetic \
        --suite accuracy --set data.synthetic.test_rho=1.0 \
        --device "$device" --output "$output/$branch/evaluation-agreeing"
done

step "heatmaps before and after"
sib data export --data synthetic --split test --limit 12 --output "$output/images"
sib explain --checkpoint "$output/sib/checkpoints/last.safetensors" \
    --compare "$output/baseline/checkpoints/last.safetensors" \
    --image "$output/images" --method saliency,grad-cam,s-ib-map \
    --sheet-images 3 --device "$device" --output "$output/heatmaps"

step "table"
sib table 4 --runs "$output" --output "$output/table4.csv" --markdown "$output/table4.md"
printf 'written: %s\n' "$output"/table4.csv "$output"/heatmaps/sheet-*.png >&2
