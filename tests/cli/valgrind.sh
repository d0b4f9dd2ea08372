#!/usr/bin/env bash
# Client and engine under valgrind, through a life: pull, run with a mount, a refused flag, a failing command,
# a container that stays with what is done to it, images, rmi, the engine's end.
# Usage: valgrind.sh SOURCE_DIR BIN_DIR
set -eu
source_dir=$1
bin=$2
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source_dir/tests/lib/images.sh"
work=$(mktemp -d /tmp/atp-valgrind-XXXXXX)
engine_pid=
finish() {
    registry_stop
    [ -z "$engine_pid" ] || kill "$engine_pid" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run HOME=$work ATP_DOCKER_BACKEND=local
mkdir -p "$work/run/atp-docker" "$work/state/atp-docker/engine"
registry_start "$work/registry"
image_busybox "$work/busybox.tar" busybox:1
registry_push "$work/busybox.tar" busybox:1
check="valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes"
$check "$bin/atp-engine" --socket "$work/run/atp-docker/engine.sock" --env-file "$work/run/atp-docker/engine.env" \
    --state-dir "$work/state/atp-docker/engine" 2>"$work/engine.log" &
engine_pid=$!
for _ in $(seq 300); do [ -s "$work/run/atp-docker/engine.env" ] && break; sleep 0.1; done
expect() {
    local want=$1 got=0
    shift
    $check "$bin/atp-docker" "$@" >"$work/out" 2>"$work/err" || got=$?
    [ "$got" = "$want" ] || { echo "docker $*: exit $got, expected $want"; cat "$work/out" "$work/err"; exit 1; }
}
mkdir "$work/tree" && echo x >"$work/tree/a"
expect 0 pull "$REGISTRY/busybox:1"
expect 0 run --rm -v "$work/tree:/w" "$REGISTRY/busybox:1" sh -c 'cp /w/a /w/b; mkdir /w/d'
expect 3 run --rm -e A=b -u user "$REGISTRY/busybox:1" sh -c 'exit 3'
expect 127 run --rm "$REGISTRY/busybox:1" nosuch
expect 125 run --privileged "$REGISTRY/busybox:1"
expect 125 run --rm "$REGISTRY/nosuch:1"
# A container that stays.
expect 0 run -d --name box -v "$work/tree:/w" "$REGISTRY/busybox:1" sh -c 'echo said; exec sleep 1000'
expect 7 exec box sh -c 'echo c >/w/c; exit 7'
expect 0 cp "$work/tree/a" box:/tmp/a
expect 0 cp box:/tmp/a "$work/back"
cmp "$work/tree/a" "$work/back"
expect 0 logs box
grep -q said "$work/out"
expect 0 ps -a
expect 0 inspect box
expect 0 top box
expect 1 rm box
expect 0 stop -t 1 box
expect 1 exec box true
expect 1 wait nobody box
expect 0 start box
expect 0 rename box boxed
expect 0 rm -f boxed
expect 1 exec boxed true
expect 0 images
expect 0 info
expect 0 version
expect 0 load -i "$work/busybox.tar"
expect 0 rmi "$REGISTRY/busybox:1"
cmp "$work/tree/a" "$work/tree/b"
kill "$engine_pid"
code=0
wait "$engine_pid" || code=$?
engine_pid=
[ "$code" = 0 ] || { echo "the engine: exit $code"; cat "$work/engine.log"; exit 1; }
