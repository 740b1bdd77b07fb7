#!/usr/bin/env bash
# Reproduces results, with all set-up. A finished step is not repeated; an interrupted one goes on; a
# failed one is reported at the end and does not stop the others.
#
#   scripts/reproduce.sh [--profile demo|mini|paper] [OPTION]...
#
#   demo   built-in data, about 12 minutes on 2 cores beyond the first build: a common warm-up, then
#          baseline and S-IB from its weights
#   mini   ResNet-18 at a reduced size on real data, or on subsets of it (configs/mini), hours on
#          2 cores; other backbones for 2 epochs. Maps are scored on 60 images, in bf16 where no
#          gradient is needed
#   ablation  one setting of S-IB after another on Pets, or --datasets, at mini's size for 4 epochs:
#          ablation.csv, gradient_norms.csv
#   paper  the paper's 40 runs (configs/paper) and their evaluations, made for GPUs
#
# All but ablation train baseline and S-IB, evaluate both, and write Tables 2 to 5, Figures 1a, 1b, 3,
# 4, 5. All write report.html.
#
#   --table 2|3|4|5     only what this table needs; repeatable
#   --figure 1a|1b|3|4|5  only what this figure needs; repeatable [all tables and figures]
#   --datasets A,B      of mini, paper [cifar100,imagenet,cub200,pets, and dogs in paper]
#   --backbones A,B     of mini, paper [resnet18 in mini; resnet50, densenet121, vit_b_32 too in paper]
#   --seeds A,B         of mini, paper [43]
#   --data DIR          folder with the unpacked archives, named as in configs/ [data]
#   --weights DIR       folder with initial weights: DIR/resnet18*.pth and so on [weights];
#                       "none" starts mini from scratch
#   --output DIR        [runs/PROFILE]; a run in it that is finished is taken as it is, so after a change
#                       of its configuration remove its folder
#   --device DEVICE     cpu, cuda or cuda:N [cpu]
#   --dry-run           print the plan: every command, its cost, the disk it takes
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."

profile=demo output= device=cpu data=data weights=weights seeds=43 datasets= backbones= dry_run=
tables=() figures=()
usage() {
    printf 'error: %s\nhint: scripts/reproduce.sh --help\n' "$1" >&2
    exit 2
}
# A path as it was typed, from where it was typed; "none" is no path.
from_caller() {
    case "$1" in
        /* | none) printf '%s' "$1" ;;
        *) [ "$caller" = "$PWD" ] && printf '%s' "$1" || printf '%s/%s' "$caller" "$1" ;;
    esac
}
while [ $# -gt 0 ]; do
    case "$1" in
        --profile | --table | --figure | --datasets | --backbones | --seeds | --data | --weights | --output | --device)
            [ $# -ge 2 ] || usage "$1 needs a value"
            case "$1" in
                --profile) profile=$2 ;;
                --table) tables+=("$2") ;;
                --figure) figures+=("$2") ;;
                --datasets) datasets=$2 ;;
                --backbones) backbones=$2 ;;
                --seeds) seeds=$2 ;;
                --data) data=$(from_caller "$2") ;;
                --weights) weights=$(from_caller "$2") ;;
                --output) output=$(from_caller "$2") ;;
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
        : "${backbones:=resnet18}"
        ;;
    ablation) : "${datasets:=pets}" && backbones=resnet18 && tables=() && figures=() ;;
    paper)
        : "${datasets:=cifar100,imagenet,cub200,pets,dogs}"
        : "${backbones:=resnet18,resnet50,densenet121,vit_b_32}"
        ;;
    *) usage "unknown profile $profile, expected demo, mini, ablation or paper" ;;
esac
: "${output:=runs/$profile}"
[ "$profile" = ablation ] || [ $((${#tables[@]} + ${#figures[@]})) -gt 0 ] || { tables=(2 3 4 5) && figures=(1a 1b 3 4 5); }
for table in "${tables[@]}"; do
    case "$table" in [2345]) ;; *) usage "--table $table: expected 2, 3, 4 or 5" ;; esac
done
for figure in "${figures[@]}"; do
    case "$figure" in
        1a | 1b | 3 | 4 | 5) ;;
        *) usage "--figure $figure: expected 1a, 1b, 3, 4 or 5" ;;
    esac
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
        # Made, but never saved. A folder that is no run's is not ours to remove: train refuses it.
        [ -n "$dry_run" ] || [ ! -f "$run/config.toml" ] || rm -rf "$run"
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

# wants_any tables|figures NUMBER...: whether one of them is asked for.
wants_any() {
    local -n asked=$1
    local one
    for one in "${@:2}"; do [[ " ${asked[*]} " != *" $one "* ]] || return 0; done
    return 1
}

# draw FIGURE RUNS FILE [ARGUMENT]...: FILE.svg and FILE.png.
draw() {
    local figure=$1 runs=$2 file=$3
    shift 3
    try "figure $figure" sib figure "$figure" --runs "$runs" --output "$file.svg" --output "$file.png" \
        "$@" || return 0
}

# heatmaps NAME SIB BASELINE IMAGES FILE: before and after on exported images, and their figures.
heatmaps() {
    local name=$1 sib=$2 baseline=$3 images=$4 file=$5 figure
    [ -f "$file/explanation.toml" ] || try "heatmaps before and after${name:+: $name}" sib explain \
        --checkpoint "$sib/checkpoints/last.safetensors" \
        --compare "$baseline/checkpoints/last.safetensors" \
        --image "$images" --method all --sheet-images 3 --device "$device" \
        --output "$file" --overwrite || return 0
    for figure in "${figures[@]}"; do
        case "$figure" in 1b | 3 | 4) draw "$figure" "$file" "$output/figure$figure${name:+-$name}" ;; esac
    done
}

# The tables, the figures of all runs, the report, and what failed.
finish() {
    local table figure
    for table in "${tables[@]}"; do
        try "table $table" sib table "$table" --runs "$output" --output "$output/table$table.csv" \
            --markdown "$output/table$table.md" || true
    done
    for figure in "${figures[@]}"; do
        case "$figure" in
            1a | 5)
                draw "$figure" "$output" "$output/figure$figure"
                # HSIC crowds around 1/(batch - 1); CKA has a scale of its own.
                draw "$figure" "$output" "$output/figure$figure-cka" --estimator cka
                ;;
        esac
    done
    try "report" sib report --runs "$output" --output "$output/report.html" || true
    [ ${#failures[@]} -eq 0 ] || give_up
}

# Ends with the list of what failed.
give_up() {
    printf '\nerror: failed:\n' >&2
    printf '  %s\n' "${failures[@]}" >&2
    exit 1
}

demo() {
    train warmup configs/demo/warmup.toml || give_up
    # Both branches start from the same weights and get the same steps: the comparison is fair.
    local branch
    for branch in baseline sib; do
        train "$branch" "configs/demo/$branch.toml" \
            --set "model.weights=$output/warmup/checkpoints/last.safetensors" || give_up
    done
    local suites
    for branch in baseline sib; do
        suites=$(suites_for synthetic images)
        [ -z "$suites" ] || evaluate "$branch" --data synthetic --suite "$suites" \
            --output "$output/$branch/evaluation" || true
        suites=$(suites_for synthetic maps)
        [ -z "$suites" ] || evaluate "$branch" --data synthetic --suite "$suites" --method all \
            --limit 100 --precision bf16 --output "$output/$branch/evaluation-maps" || true
        # Images whose background goes with the class: another test set, so beside the tables' folder.
        ! wants_any tables 2 || evaluate "$branch" --data synthetic --suite accuracy \
            --set data.synthetic.test_rho=1.0 --output "$output-agreeing/$branch" || true
    done
    ! wants_any figures 1b 3 4 || {
        try "images" sib data export --data synthetic --split test --limit 12 \
            --output "$output/images" &&
            heatmaps "" "$output/sib" "$output/baseline" "$output/images" "$output/heatmaps" || true
    }
    finish
    [ -n "$dry_run" ] || {
        shopt -s nullglob # not every table and figure may have been asked for
        printf 'written: %s\n' "$output"/{table*.csv,figure*.png,report.html} >&2
    }
}

# The folder of a dataset below --data, as its configuration names it.
root_of() {
    sed -n 's/^root = "data\/\(.*\)"/\1/p' "configs/paper/data/$1.toml"
}

# The suites of whole `images` and of `maps` that the tables and figures need of a run: Tables 4 and 5
# are of the datasets that have ground truth.
suites_for() {
    local dataset=$1 of=$2 suites=()
    case "$of" in
        images)
            ! wants_any tables 2 || suites+=(accuracy)
            { ! wants_any tables 3 && ! wants_any figures 5; } || suites+=(information)
            ;;
        maps)
            [ "$dataset" != cifar100 ] || return 0
            ! wants_any tables 4 || suites+=(localization)
            ! wants_any tables 5 || suites+=(faithfulness)
            ;;
    esac
    local IFS=,
    echo "${suites[*]}"
}

# Adds the file of a backbone's initial weights to the arguments in `extra`.
initial_weights() {
    [ "$weights" != none ] || return 0
    local file
    if ! file=$(compgen -G "$weights/$1*.pth" | head -n 1); then
        # The mini profile's own network must have them; the others may do without.
        if [ "$profile" = mini ] && [ "$1" != resnet18 ]; then
            echo "$1: no weights in $weights, from scratch" >&2
            return 0
        fi
        file="$weights/$1.pth"
    fi
    extra+=(--set "model.weights=$file")
}

# One setting of S-IB after another: a name, then what it sets.
ablations=(
    "paper"
    "fg-1 sib.lambda_fg=1" "fg-100 sib.lambda_fg=100" "bg-off sib.lambda_bg=0" "fg-off sib.lambda_fg=0"
    "bg-1e5 sib.lambda_bg=1e5" "bg-1e7 sib.lambda_bg=1e7"
    "mask-detached sib.mask.detach=true sib.lambda_fg=1"
    "scalar-logits sib.vjp.scalar=logits"
    "scalar-detached sib.vjp.scalar=posterior-detached"
    "scale-free sib.vjp.normalise=rms sib.lambda_bg=0.1 sib.lambda_fg=1"
    "share-0.1 sib.weights=gradient-share"
    "share-0.3-scale-free sib.weights=gradient-share sib.vjp.normalise=rms
        sib.gradient_share.background=0.3 sib.gradient_share.foreground=0.3"
)

# A baseline and all of `ablations`; ablation.csv joins their summaries, gradient_norms.csv their logs.
ablation() {
    local dataset seed line name words extra root config assignment
    for seed in ${seeds//,/ }; do
        for dataset in ${datasets//,/ }; do
            root="$data/$(root_of "$dataset")"
            for line in baseline "${ablations[@]}"; do
                read -r -d '' -a words <<<"$line" || true
                name="$dataset-${words[0]}-$seed"
                config="configs/mini/$dataset"
                [ "${words[0]}" = baseline ] || config+=-sib
                extra=(--set "data.root=$root" --set "train.seed=$seed" --set train.epochs=4)
                initial_weights resnet18
                for assignment in "${words[@]:1}"; do extra+=(--set "$assignment"); done
                train "$name" "$config.toml" "${extra[@]}" || continue
                evaluate "$name" --data "$dataset" --root "$root" --allow-missing \
                    --suite accuracy,localization --method saliency,grad-cam,s-ib-map \
                    --output "$output/$name/evaluation" || true
            done
        done
    done
    [ -n "$dry_run" ] || compgen -G "$output/*/evaluation/summary.csv" >/dev/null || give_up
    [ -n "$dry_run" ] || awk -v OFS=, 'FNR == 1 { if (NR == 1) print "run", $0; next }
        { run = FILENAME; sub("/evaluation/summary.csv", "", run); sub(".*/", "", run); print run, $0 }' \
        "$output"/*/evaluation/summary.csv >"$output/ablation.csv"
    # How much each term moved the weights: means over the run of the norms of its gradient.
    [ -n "$dry_run" ] || awk -F, -v OFS=, '
        FNR == 1 { run = FILENAME; sub("/metrics.csv", "", run); sub(".*/", "", run) }
        $4 ~ /^gradient_norm_/ { sum[run OFS $4] += $5; n[run OFS $4]++ }
        END { print "run,name,mean"; for (key in sum) print key, sum[key] / n[key] | "sort" }' \
        "$output"/*/metrics.csv >"$output/gradient_norms.csv"
    finish
}

# The configuration of a run of configs/$profile, without its ending.
config_of() {
    local config="configs/$profile/$1"
    [ "$profile" = mini ] || config+="-$2"
    [ "$3" = baseline ] || config+=-sib
    echo "$config"
}

# Whether there is a configuration for each dataset and backbone that is asked for.
expect_configurations() {
    local dataset backbone config
    for dataset in ${datasets//,/ }; do
        for backbone in ${backbones//,/ }; do
            case "$backbone" in
                resnet18 | resnet50 | densenet121 | vit_b_32) ;;
                *) usage "--backbones $backbone: expected resnet18, resnet50, densenet121 or vit_b_32" ;;
            esac
            config=$(profile=${profile/ablation/mini} config_of "$dataset" "$backbone" baseline)
            [ -f "$config.toml" ] || usage "--datasets $dataset: no configuration $config.toml"
        done
    done
}

# All runs of configs/$profile with their evaluations.
grid() {
    local dataset backbone seed branch config name suites extra root scored=()
    [ "$profile" = paper ] || scored=(--limit 60 --precision bf16)
    for seed in ${seeds//,/ }; do
        for dataset in ${datasets//,/ }; do
            root="$data/$(root_of "$dataset")"
            for backbone in ${backbones//,/ }; do
                for branch in baseline sib; do
                    name="$dataset-$backbone-$branch-$seed"
                    config=$(config_of "$dataset" "$backbone" "$branch")
                    extra=(--set "data.root=$root" --set "train.seed=$seed")
                    ! wants_any figures 1a || extra+=(--set train.log_information=true)
                    if [ "$profile" = mini ] && [ "$backbone" != resnet18 ]; then
                        echo "$name: reduced to 2 epochs" >&2
                        extra+=(--set "model.arch=$backbone" --set train.epochs=2)
                    fi
                    initial_weights "$backbone"
                    [ -z "$dry_run" ] || sed -n 's/^# Cost: /cost: /p' "$config.toml"
                    train "$name" "$config.toml" "${extra[@]}" || continue
                    suites=$(suites_for "$dataset" images)
                    [ -z "$suites" ] || evaluate "$name" --data "$dataset" --root "$root" \
                        --allow-missing --suite "$suites" --output "$output/$name/evaluation" || true
                    suites=$(suites_for "$dataset" maps)
                    [ -z "$suites" ] || evaluate "$name" --data "$dataset" --root "$root" \
                        --allow-missing --suite "$suites" --method all "${scored[@]}" \
                        --output "$output/$name/evaluation-maps" || true
                done
                # Pictures of the first seed, on the datasets whose images are large enough to see.
                if wants_any figures 1b 3 4 && [ "$dataset" != cifar100 ] && [ "$seed" = "${seeds%%,*}" ]; then
                    name="$dataset-$backbone"
                    try "images: $dataset" sib data export --data "$dataset" --root "$root" \
                        --split test --limit 6 --output "$output/images/$dataset" || continue
                    heatmaps "$name" "$output/$name-sib-$seed" "$output/$name-baseline-$seed" \
                        "$output/images/$dataset" "$output/heatmaps/$name"
                fi
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

[ "$profile" = demo ] || expect_configurations
if [ -z "$dry_run" ]; then
    step "set-up and build"
    if [ "${device%%:*}" = cuda ]; then scripts/setup.sh --cuda; else scripts/setup.sh; fi
    cargo build --release --locked --bin sib-cli
fi
sib() { target/release/sib-cli "$@"; }
case "$profile" in
    demo) demo ;;
    ablation) ablation ;;
    *) grid ;;
esac
