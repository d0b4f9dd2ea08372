#!/usr/bin/env bash
# Whole commands, from the shell's fork to the exit code, by atp-docker on its own engine and by the real docker on a daemon of its
# own: the same image from the same registry, interleaved in one run, so that whatever else the machine does falls on both.
# Prints medians and the client's largest resident memory, and fails when a limit of the table below is broken.
# Usage: bench.sh SOURCE_DIR BIN_DIR TESTS_BIN_DIR [--quick | --rounds N]
set -eu
source_dir=$1
bin=$2
tools=$3
shift 3
rounds=200
case ${1:-} in
--quick) rounds=20 ;;
--rounds) rounds=$2 ;;
esac
# The limits: at most so much of the real docker's wall time, and of its client's memory. "-" is shown only.
limits() {
    case $1 in
    exec) echo 0.5 0.5 ;;
    run) echo 0.7 0.5 ;;
    ps | version | cp) echo - 0.5 ;;
    esac
}
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
command -v dockerd >/dev/null || { echo "needs dockerd (package docker.io)"; exit 77; }
. "$source_dir/tests/lib/images.sh"
. "$source_dir/tests/lib/engine.sh"
real=$(command -v docker)
ours=$bin/atp-docker
work=$(mktemp -d /tmp/atp-bench-XXXXXX)
dockerd_pid=
finish() {
    "$ours" rm -f bench bench_mount >/dev/null 2>&1 || true
    "$real" -H "unix://$work/d.sock" rm -f bench >/dev/null 2>&1 || true
    registry_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid" || true; } 2>/dev/null
    engine_stop || true
    umount -R "$work"/d/* 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run HOME=$work ATP_DOCKER_BACKEND=local
mkdir -p "$work/run"
registry_start "$work/registry"
image_busybox "$work/busybox.tar" busybox:1
registry_push "$work/busybox.tar" busybox:1
image=$REGISTRY/busybox:1
dockerd --bip 172.31.251.1/24 --data-root "$work/d/data" --exec-root "$work/d/exec" -H "unix://$work/d.sock" --pidfile "$work/d.pid" \
    --insecure-registry "$REGISTRY" >"$work/dockerd.log" 2>&1 &
dockerd_pid=$!
for _ in $(seq 300); do
    [ -S "$work/d.sock" ] && "$real" -H "unix://$work/d.sock" version >/dev/null 2>&1 && break
    sleep 0.1
done
"$real" -H "unix://$work/d.sock" run -d --name bench "$image" sleep 100000 >/dev/null 2>&1
broken=0
# Whether ours carries the command out; a verb that it refuses is left out, and any other failure counts.
carried_out() {
    timeout 60 "$ours" "$@" </dev/null >/dev/null 2>"$work/err" && return 0
    if grep -q 'is refused by atp-docker' "$work/err"; then
        echo "$1: left out: $(cat "$work/err")"
    else
        echo "$1: failed: $(cat "$work/err")"
        broken=1
    fi
    return 1
}
# measure ROUNDS COMMAND...: one line of the table.
measure() {
    local count=$1 time_limit memory_limit
    shift
    carried_out "$@" || return 0
    read -r time_limit memory_limit < <(limits "$1")
    "$tools/interleave" "$count" -- "$ours" "$@" -- "$real" -H "unix://$work/d.sock" "$@" >"$work/times"
    awk -v name="$1" -v tl="$time_limit" -v ml="$memory_limit" '
        { median[NR] = $1 / 1000; low[NR] = $2 / 1000; high[NR] = $3 / 1000; memory[NR] = $4 / 1024; failed[NR] = $5 }
        END {
            t = median[1] / median[2]; m = memory[1] / memory[2]
            word = "ok"
            if (tl != "-" && t > tl) word = "TOO SLOW"
            if (ml != "-" && m > ml) word = word == "ok" ? "TOO LARGE" : word ", TOO LARGE"
            if (failed[1] || failed[2]) word = "FAILED " failed[1] " and " failed[2] " times"
            printf "%-8s %8.2f %6.2f-%-7.2f %8.2f %6.2f-%-7.2f %5.2f %5s %8.1f %8.1f %6.2f %5s  %s\n", name, median[1], low[1], high[1],
                median[2], low[2], high[2], t, tl, memory[1], memory[2], m, ml, word
            exit word != "ok"
        }' "$work/times" || broken=1
}
# What an unchanged mount of 10,000 files in 2,000 directories adds to a command: the same exec by ours, with it and without.
# Shown only: both trees are walked each time, and on two cores that hold client and container at once it says little of a far one.
measure_mount() {
    local dir
    for dir in $(seq 2000); do
        mkdir -p "$work/tree/$((dir % 40))/$dir"
        for file in 1 2 3 4 5; do echo "$dir $file" >"$work/tree/$((dir % 40))/$dir/$file"; done
    done
    carried_out run -d --name bench_mount -v "$work/tree:/tree" "$image" sleep 100000 || return 0
    "$ours" exec bench_mount true # what was just written is read once more
    "$tools/interleave" $((rounds / 4)) -- "$ours" exec bench_mount true -- "$ours" exec bench true >"$work/times"
    awk '{ median[NR] = $1 / 1000; memory[NR] = $4 / 1024; failed += $5 }
        END {
            printf "exec with a mount of 10,000 files: %.2f, without %.2f: %.2f added; memory %.1f and %.1f%s\n", median[1], median[2],
                median[1] - median[2], memory[1], memory[2], failed ? "; FAILED " failed " times" : ""
            exit failed != 0
        }' "$work/times" || broken=1
    "$ours" rm -f bench_mount >/dev/null
}
echo "$rounds rounds, ms: median and the middle 80 %; memory: the largest resident size of the client, MiB"
printf '%-8s %8s %-14s %8s %-14s %5s %5s %8s %8s %6s %5s\n' "" ours "" docker "" ratio limit ours docker ratio limit
measure $((rounds / 2)) run --rm "$image" true
if carried_out run -d --name bench "$image" sleep 100000; then
    echo small >"$work/small"
    measure "$rounds" exec bench true
    measure "$rounds" ps
    measure "$rounds" cp "$work/small" bench:/tmp/small
fi
measure "$rounds" version
! "$ours" exec bench true 2>/dev/null || measure_mount
exit $broken
