#!/usr/bin/env bash
# Long work at a small size: memory, threads and open files must not grow.
#
#   scripts/soak.sh [STEPS [IMAGES]]   S-IB updates of ResNet-18 (default 10000), explained images (default 5000), at 32 px
#
# Looks at the process every half second. After the first tenth, resident memory stays within 2 %, threads are as many as
# they were, and files but for the two that are being read and written, or the script fails. Samples stay in
# runs/soak/*.csv. About an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    -*) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
steps=${1:-10000} images=${2:-5000}
program=${SIB_CLI:-target/release/sib-cli}
[ -x "$program" ] || {
    scripts/setup.sh
    cargo build --release --locked --bin sib-cli
}
place=runs/soak
rm -rf "$place"
mkdir -p "$place"

# Runs the rest of the arguments, and samples it to $place/$1.csv.
watched() {
    local samples=$place/$1.csv pid
    shift
    "$@" >"${samples%.csv}.log" 2>&1 &
    pid=$!
    echo rss_kib,threads,files >"$samples"
    while kill -0 "$pid" 2>/dev/null; do
        # The process may end between two of these.
        set -- "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" \
            "$(sed -n 's/^Threads:[^0-9]*//p' "/proc/$pid/status" 2>/dev/null)" \
            "$(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)"
        [ -z "$1" ] || echo "$1,$2,$3" >>"$samples"
        sleep 0.5
    done
    wait "$pid" || { tail -n 3 "${samples%.csv}.log" >&2; exit 1; }
    # The last samples are of the end: results are written, threads leave.
    awk -F, -v name="$samples" '
        NR > 1 { rss[NR - 1] = $1; threads[NR - 1] = $2; files[NR - 1] = $3 }
        END {
            n = NR - 1; first = int(n / 10) + 1; last = n - 4
            if (last - first < 10) { printf "%s: %d samples, too few\n", name, n; exit 1 }
            least = most = rss[first]; threads_most = threads_least = threads[first]
            files_most = files_least = files[first]
            for (i = first; i <= last; i++) {
                if (rss[i] < least) least = rss[i]
                if (rss[i] > most) most = rss[i]
                if (threads[i] < threads_least) threads_least = threads[i]
                if (threads[i] > threads_most) threads_most = threads[i]
                if (files[i] < files_least) files_least = files[i]
                if (files[i] > files_most) files_most = files[i]
            }
            printf "%s: %d samples, %.0f to %.0f MiB (%.2f %%), at the end %.0f; %d to %d threads, %d to %d files\n", \
                name, n, least / 1024, most / 1024, 100 * (most - least) / least, rss[last] / 1024, \
                threads_least, threads_most, files_least, files_most
            exit (most - least) / least > 0.02 || threads_least != threads_most || files_most - files_least > 2
        }' "$samples"
}

pixels=(--set data.preprocessing.resize_px=32 --set data.preprocessing.crop_px=32 --set data.synthetic.side_px=32)
epochs=$(((steps + 99) / 100))
status=0
watched train "$program" train --data synthetic --arch resnet18 --sib --output "$place/run" "${pixels[@]}" \
    --set data.synthetic.train_images=800 --set data.synthetic.test_images=100 --set train.batch_size=8 \
    --set train.epochs=$epochs --set train.evaluate_every_epochs=$epochs || status=1
"$program" data export --data synthetic --output "$place/images"
# Each of the 1000 several times.
find "$place/images" -name '*.png' -printf 'images/%f\n' | awk -v n="$images" '
    { name[NR] = $0 }
    END { print "image"; for (i = 0; i < n; i++) print name[i % NR + 1] }' >"$place/list.csv"
watched explain "$program" explain --checkpoint "$place/run" --image "$place/list.csv" --method all \
    --output "$place/maps" --sheet-images 0 || status=1
exit $status
