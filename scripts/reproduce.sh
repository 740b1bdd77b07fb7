#!/usr/bin/env bash
# Reproduces results, with all set-up: fetches libtorch, builds, and calls `sib-cli reproduce`.
#
#   scripts/reproduce.sh [--profile demo|mini|ablation|cost|paper] [OPTION]...
#
# A finished step is not repeated; an interrupted one goes on; a failed one is reported at the end and
# does not stop the others. Without a profile it is the demo, on built-in data. `--dry-run` prints the
# plan, `--help` every profile and option, once the program is built. Paths are relative to where they
# are typed, defaults to this checkout.
#
# SIB_CLI=PATH in the environment is a program that is built already; then nothing is set up.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

setup=()
configs=(--configs "$root/configs")
# As a reader would type it.
[ "$root" != "$PWD" ] || configs=(--configs configs)
previous=''
for argument in "$@"; do
    case "$previous $argument" in
        "--device cuda"* | *" --device=cuda"*) setup=(--cuda) ;;
        *" --configs" | *" --configs="*) configs=() ;;
    esac
    previous=$argument
done

target=${CARGO_TARGET_DIR:-target}
case "$target" in /*) ;; *) target=$root/$target ;; esac
sib=${SIB_CLI:-$target/release/sib-cli}
case " $* " in
    *" --help "* | *" -h "*)
        [ -x "$sib" ] || { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0" && exit 0; }
        exec "$sib" reproduce --help
        ;;
esac
if [ -z "${SIB_CLI:-}" ]; then
    printf '\n== set-up and build\n' >&2
    (
        cd "$root" # where .cargo/config.toml says where libtorch is
        scripts/setup.sh "${setup[@]}"
        cargo build --release --locked --bin sib-cli
    )
fi
exec "$sib" reproduce "${configs[@]}" "$@"
