#!/usr/bin/env bash
# How many round trips a command costs, seen from outside: an engine behind a proxy that holds every byte for 200 ms in each direction
# (and the first bytes of a connection for a handshake's round trip more). `run --rm` of a known image with warm caches may cost
# connect + create + connect + 1 round trips and 100 ms, `exec` in a running container connect + 1 round trip and 60 ms; with every
# cached token expired a run still has to succeed.
# Usage: latency.sh SOURCE_DIR BIN_DIR TESTS_BIN_DIR
set -eu
source_dir=$1
bin=$2
tools=$3
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source_dir/tests/lib/images.sh"
work=$(mktemp -d /tmp/atp-latency-XXXXXX)
engine_pid= proxy_pid=
finish() {
    registry_stop
    for pid in $proxy_pid $engine_pid; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf --one-file-system "$work"
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run HOME=$work
mkdir -p "$work/run" "$work/engine"
registry_start "$work/registry"
image_busybox "$work/busybox.tar" busybox:1
registry_push "$work/busybox.tar" busybox:1
engine_port=$(free_port)
"$bin/atp-engine" --listen "127.0.0.1:$engine_port" --env-file "$work/engine.env" --state-dir "$work/engine" --token-ttl 40 2>"$work/engine.log" &
engine_pid=$!
for _ in $(seq 100); do [ -s "$work/engine.env" ] && break; sleep 0.1; done
. "$work/engine.env"
export MODAL_TOKEN_ID MODAL_TOKEN_SECRET ATP_DOCKER_BACKEND=modal
latency=200
proxy_port=$(free_port)
"$tools/delay_proxy" "$proxy_port" "$engine_port" $latency >"$work/proxy.out" &
proxy_pid=$!
for _ in $(seq 100); do grep -q ready "$work/proxy.out" && break; sleep 0.1; done
export MODAL_SERVER_URL=http://127.0.0.1:$proxy_port

run() {
    local start=$(date +%s%N)
    [ "$("$bin/atp-docker" run --rm "$REGISTRY/busybox:1" echo hi)" = hi ] || return 1
    took=$((($(date +%s%N) - start) / 1000000))
}
run
echo "cold, with pull and build: $took ms"
round_trip=$((2 * latency))
limit=$((4 * round_trip + 100))
best=
for _ in $(seq 10); do # other work on the machine only ever adds time: the best of some counts
    run
    echo "warm: $took ms (limit: 4 round trips of $round_trip ms and 100 ms = $limit ms)"
    [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
    [ "$best" -gt "$limit" ] || break
done
[ "$best" -le "$limit" ]
mkdir "$work/tree" && echo x >"$work/tree/a"
start=$(date +%s%N)
"$bin/atp-docker" run --rm -v "$work/tree:/w" "$REGISTRY/busybox:1" sh -c 'cp /w/a /w/b'
took=$((($(date +%s%N) - start) / 1000000))
cmp "$work/tree/a" "$work/tree/b"
echo "warm, with a mount that is pushed and pulled: $took ms"
[ "$took" -le $((limit + 100)) ]
sleep 42
run
echo "with every cached token expired: $took ms"

# timed COMMAND...: its output must be "hi"; sets took.
timed() {
    local start=$(date +%s%N)
    [ "$("$bin/atp-docker" "$@")" = hi ] || return 1
    took=$((($(date +%s%N) - start) / 1000000))
}
"$bin/atp-docker" run -d --name far "$REGISTRY/busybox:1" sleep 100000 >/dev/null
limit=$((2 * round_trip + 60))
best=
for _ in $(seq 10); do
    timed exec far echo hi
    echo "exec: $took ms (limit: 2 round trips of $round_trip ms and 60 ms = $limit ms)"
    [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
    [ "$best" -gt "$limit" ] || break
done
[ "$best" -le "$limit" ]
"$bin/atp-docker" rm -f far >/dev/null
