#!/usr/bin/env bash
# `docker compose config` of each of cases/ by atp-docker and by the real docker compose, which is made from its Go module: output,
# what is said on stderr and exit code have to be the same, byte for byte. What may differ stands in "differences", with its reason:
# one that is not there fails, and so does one that no longer occurs.
#
# Usage: run.sh BUILD-DIRECTORY [CASE...]. Exits 77 where the real one cannot be had.
#
# A case is a text in parts that begin with "== NAME": files by their names; "env", lines of the environment; "args", the command
# lines (else: as YAML, as JSON, the hashes, and without interpolation).
set -u -o pipefail
shopt -s extglob
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
. "$here/../build/buildkit.sh"
. "$here/reference.sh"
[ -x "$build/bin/atp-docker" ] || { echo "no $build/bin/atp-docker"; exit 1; }
compose_make "${ATP_COMPOSE_REAL:-$build/tests/compose}" || { echo "skipped: no docker compose"; exit 77; }
real=$(cd "${ATP_COMPOSE_REAL:-$build/tests/compose}" && pwd)/$COMPOSE_VERSION/docker-compose

tmp=$(mktemp -d /tmp/atp-compose-XXXXXX)
finish() { [ -n "${ATP_KEEP:-}" ] && echo "kept: $tmp" || rm -rf --one-file-system "$tmp"; }
trap finish EXIT
mkdir -p "$tmp/home" "$tmp/run" "$tmp/ours"
ln -s "$build/bin/atp-docker" "$tmp/ours/docker"

# The parts of a case as files below DIR.
unpack() {
    awk -v dir="$2" '/^== / { if (out) close(out); out = dir "/" substr($0, 4); folder = out; sub("/[^/]*$", "", folder)
        system("mkdir -p \"" folder "\""); printf "" >out; next } { print >out }' "$1"
}

# Runs WORDS..., keeping stdout, stderr (sorted, without the time) and the exit code as FILE.out, FILE.err, FILE.code.
keep() {
    local file=$1
    shift
    env -i PATH=/usr/bin:/bin HOME="$tmp/home" XDG_STATE_HOME="$tmp/state" XDG_CONFIG_HOME="$tmp/config" XDG_RUNTIME_DIR="$tmp/run" \
        ATP_DOCKER_BACKEND=local "${environment[@]}" "$@" >"$file.out" 2>"$file.err" </dev/null
    echo $? >"$file.code"
    # The real one says some things in the order of a Go map: none. The model itself is always in order.
    sed 's/^time="[^"]*" //' "$file.err" | sort -o "$file.err"
    [[ " $* " != *" --"@(services|volumes|networks|images)" "* ]] || sort -o "$file.out" "$file.out"
}

known() { # the reason of a difference, from "differences"
    awk -F '\t' -v name="$1" -v line="$2" '$1 == name && ($2 == line || $2 == "*") { print $3; found = 1; exit } END { exit !found }' "$here/differences"
}

failed=0 ran=0 differing=0
for file in "$here"/cases/*.case; do
    name=$(basename "$file" .case)
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    dir=$tmp/cases/$name
    mkdir -p "$dir"
    unpack "$file" "$dir"
    environment=()
    [ ! -e "$dir/env" ] || mapfile -t environment <"$dir/env"
    lines=("config" "config --format json" "config --hash *" "config --no-interpolate")
    [ ! -e "$dir/args" ] || mapfile -t lines <"$dir/args"
    rm -f "$dir/env" "$dir/args"
    mkdir -p "$tmp/out"
    cd "$dir" || exit 1
    for line in "${lines[@]}"; do
        set -f
        # shellcheck disable=SC2206
        words=($line)
        set +f
        keep "$tmp/out/ours" "$tmp/ours/docker" compose "${words[@]}"
        keep "$tmp/out/real" "$real" "${words[@]}"
        ran=$((ran + 1))
        : >"$tmp/out/diff"
        for part in code out err; do
            diff -a -u --label "docker compose ($part)" --label "atp-docker ($part)" "$tmp/out/real.$part" "$tmp/out/ours.$part" >>"$tmp/out/diff"
        done
        if reason=$(known "$name" "$line"); then
            differing=$((differing + 1))
            [ -s "$tmp/out/diff" ] && continue
            echo "not ok $name: $line: listed in differences ($reason), but there is none"
            failed=$((failed + 1))
        elif [ -s "$tmp/out/diff" ]; then
            echo "not ok $name: $line"
            head -n "${ATP_LINES:-40}" "$tmp/out/diff" | sed 's/^/    /'
            failed=$((failed + 1))
        fi
    done
done
[ "$ran" -gt 0 ] || { echo "no such case"; exit 1; }
echo "$ran command lines, $differing with a known difference, $failed failed"
[ "$failed" = 0 ]
