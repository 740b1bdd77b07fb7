#!/usr/bin/env bash
# Reproduces results, with all set-up. A finished step is not repeated; an interrupted one goes on; a
# failed one is reported at the end and does not stop the others.
#
#   scripts/reproduce.sh [--profile demo|mini|paper] [OPTION]...
#
#   demo   built-in data, about 8 minutes on 2 cores beyond the first build: a common warm-up, then
#          baseline and S-IB from its weights, heatmaps of both, localization, the table
#   mini   ResNet-18 at a reduced size on real data, or on subsets of it (configs/mini), hours on
#          2 cores: baseline and S-IB, evaluation, Tables 2 to 5
#   paper  the paper's 40 runs (configs/paper) and their evaluations, made for GPUs
#
#   --table 2|3|4|5     only what this table needs; repeatable [all]
#   --datasets A,B      of mini, paper [cifar100,imagenet,cub200,pets, and dogs in paper]
#   --backbones A,B     of paper [resnet18,resnet50,densenet121,vit_b_32]
#   --seeds A,B         of mini, paper [43]
#   --data DIR          folder with the unpacked archives, named as in configs/ [data]
#   --weights DIR       folder with initial weights: DIR/resnet18*.pth and so on [weights];
#                       "none" starts mini from scratch
#   --output DIR        [runs/PROFILE]
#   --device DEVICE     cpu, cuda or cuda:N [cpu]
#   --dry-run           print the plan: every command, its cost, the disk it takes
set -euo pipefail
cd "$(dirname "$0")/.."

profile=demo output= device=cpu data=data weights=weights seeds=43 datasets= backbones= dry_run=
tables=()
usage() {
    printf 'error: %s\nhint: scripts/reproduce.sh --help\n' "$1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case "$1" in
        --profile | --table | --datasets | --backbones | --seeds | --data | --weights | --output | --device)
            [ $# -ge 2 ] || usage "$1 needs a value"
            case "$1" in
                --profile) profile=$2 ;;
                --table) tables+=("$2") ;;
                --datasets) datasets=$2 ;;
                --backbones) backbones=$2 ;;
                --seeds) seeds=$2 ;;
                --data) data=$2 ;;
                --weights) weights=$2 ;;
                --output) output=$2 ;;
                --device) device=$2 ;;
            esac
            shift 2
            ;;
        --dry-run) dry_run=yes && shift ;;
        -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0" && exit 0 ;;
        *) usage "unknown argument $1" ;;
    esac
done
case "$profile" in
    demo) ;;
    mini)
        : "${datasets:=cifar100,imagenet,cub200,pets}"
        backbones=resnet18
        ;;
    paper)
        : "${datasets:=cifar100,imagenet,cub200,pets,dogs}"
        : "${backbones:=resnet18,resnet50,densenet121,vit_b_32}"
        ;;
    *) usage "unknown profile $profile, expected demo, mini or paper" ;;
esac
: "${output:=runs/$profile}"
[ ${#tables[@]} -gt 0 ] || tables=(2 3 4 5)
for table in "${tables[@]}"; do
    case "$table" in [2345]) ;; *) usage "--table $table: expected 2, 3, 4 or 5" ;; esac
done

failures=()
step() { printf '\n== %s\n' "$*" >&2; }

# try NAME COMMAND...: runs it, or with --dry-run prints it; a failure is kept for the end.
try() {
    local name=$1
    shift
    if [ -n "$dry_run" ]; then
        printf '%s\n    sib-cli %s\n' "$name" "${*:2}" # the first word is the function sib
        return 0
    fi
    step "$name"
    "$@" || { failures+=("$name") && return 1; }
}

# train NAME CONFIG [ARGUMENT]...: from its configuration, or on from where it stopped.
train() {
    local name=$1 config=$2 run="$output/$1"
    shift 2
    if [ -f "$run/status.toml" ]; then
        step "training: $name (done before)"
    elif [ -f "$run/checkpoints/last.safetensors" ]; then
        try "training: $name (going on)" sib train --resume "$run" --device "$device"
    else
        [ -n "$dry_run" ] || rm -rf "$run" # made, but never saved
        try "training: $name" sib train --config "$config" --output "$run" --device "$device" "$@"
    fi
}

# evaluate NAME [ARGUMENT]...: the last checkpoint of run NAME.
evaluate() {
    local name=$1
    shift
    try "evaluation: $name" sib evaluate --checkpoint "$output/$name/checkpoints/last.safetensors" \
        --device "$device" "$@"
}

finish() {
    local table
    for table in "${tables[@]}"; do
        try "table $table" sib table "$table" --runs "$output" --output "$output/table$table.csv" \
            --markdown "$output/table$table.md" || true
    done
    [ ${#failures[@]} -eq 0 ] || {
        printf '\nerror: failed:\n' >&2
        printf '  %s\n' "${failures[@]}" >&2
        exit 1
    }
}

demo() {
    train warmup configs/demo/warmup.toml
    # Both branches start from the same weights and get the same steps: the comparison is fair.
    local branch
    for branch in baseline sib; do
        train "$branch" "configs/demo/$branch.toml" \
            --set "model.weights=$output/warmup/checkpoints/last.safetensors"
    done
    for branch in baseline sib; do
        evaluate "$branch" --data synthetic --suite accuracy,localization \
            --method saliency,grad-cam,s-ib-map --output "$output/$branch/evaluation"
        evaluate "$branch" --data synthetic --suite accuracy --set data.synthetic.test_rho=1.0 \
            --output "$output/$branch/evaluation-agreeing"
    done
    try "images" sib data export --data synthetic --split test --limit 12 --output "$output/images"
    try "heatmaps before and after" sib explain \
        --checkpoint "$output/sib/checkpoints/last.safetensors" \
        --compare "$output/baseline/checkpoints/last.safetensors" \
        --image "$output/images" --method saliency,grad-cam,s-ib-map \
        --sheet-images 3 --device "$device" --output "$output/heatmaps"
    tables=(4)
    finish
    [ -n "$dry_run" ] ||
        printf 'written: %s\n' "$output"/table4.csv "$output"/heatmaps/sheet-*.png >&2
}

# The folder of a dataset below --data, as its configuration names it.
root_of() {
    sed -n 's/^root = "data\/\(.*\)"/\1/p' "configs/paper/data/$1.toml"
}

# The suites that the tables need of a run: Tables 4 and 5 are of the datasets that have ground truth.
suites_for() {
    local dataset=$1 table suites=()
    for table in "${tables[@]}"; do
        case "$table:$dataset" in
            2:*) suites+=(accuracy) ;;
            3:*) suites+=(information) ;;
            4:cifar100) ;;
            4:*) suites+=(localization) ;;
            5:*) suites+=(faithfulness) ;;
        esac
    done
    local IFS=,
    echo "${suites[*]}"
}

# All runs of configs/$profile with their evaluations.
grid() {
    local dataset backbone seed branch config name suites extra
    for seed in ${seeds//,/ }; do
        for dataset in ${datasets//,/ }; do
            suites=$(suites_for "$dataset")
            for backbone in ${backbones//,/ }; do
                for branch in baseline sib; do
                    name="$dataset-$backbone-$branch-$seed"
                    config="configs/$profile/$dataset"
                    [ "$profile" = mini ] || config+="-$backbone"
                    [ "$branch" = baseline ] || config+=-sib
                    [ -f "$config.toml" ] || usage "no configuration $config.toml"
                    extra=(--set "data.root=$data/$(root_of "$dataset")" --set "train.seed=$seed")
                    if [ "$weights" != none ]; then
                        local file
                        file=$(compgen -G "$weights/$backbone*.pth" | head -n 1) ||
                            file="$weights/$backbone.pth"
                        extra+=(--set "model.weights=$file")
                    fi
                    [ -z "$dry_run" ] || sed -n 's/^# Cost: /cost: /p' "$config.toml"
                    train "$name" "$config.toml" "${extra[@]}" || continue
                    [ -n "$suites" ] || continue
                    evaluate "$name" --data "$dataset" --root "$data/$(root_of "$dataset")" \
                        --allow-missing --suite "$suites" --method all \
                        --output "$output/$name/evaluation" || true
                done
            done
        done
    done
    if [ -n "$dry_run" ]; then
        # Two checkpoints and twice the weights of optimizer state.
        awk -v list="$backbones" -v datasets="$datasets" -v seeds="$seeds" 'BEGIN {
            mb["resnet18"] = 45; mb["resnet50"] = 98; mb["densenet121"] = 31; mb["vit_b_32"] = 350
            n = split(list, names, ","); m = split(datasets, d, ",") * split(seeds, s, ",") * 2
            for (i = 1; i <= n; i++) total += 4 * m * mb[names[i]]
            printf "disk: about %.1f GB of checkpoints\n", total / 1000
        }'
    fi
    finish
}

if [ -z "$dry_run" ]; then
    step "set-up and build"
    if [ "${device%%:*}" = cuda ]; then scripts/setup.sh --cuda; else scripts/setup.sh; fi
    cargo build --release --locked --bin sib-cli
fi
sib() { target/release/sib-cli "$@"; }
if [ "$profile" = demo ]; then demo; else grid; fi
