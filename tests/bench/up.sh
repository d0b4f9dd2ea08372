#!/usr/bin/env bash
# `up -d --wait` of the four services of tests/apps/four from nothing (no network, no volume, no container; images are there),
# beside the real docker compose on a daemon of its own if there is one: the same images, in turn, medians.
#
# Each round of ours also takes the services one after the other into the sandbox that the one before made: what a service's own
# start costs when everything that it depends on is there. And the cost of one call: a container that sleeps, created before, is
# started in that sandbox. The limit is on our own figures: up may take 1.5 times the slowest of the services and one call for
# each, by the medians; where that fails as many rounds are made once more and count with the others, and the best of all may do:
# what else a machine does only adds to it.
# Usage: up.sh SOURCE_DIR BUILD_DIR [--quick | --rounds N] [--real COMPOSE]; COMPOSE is a docker-compose program, "" for none; else
# the one that tests/compose has made, if it has. Exits 77 where it cannot run.
set -eu -o pipefail
source_dir=$1
build=$(cd "$2" && pwd)
shift 2
rounds=9
real_compose=$(echo "${ATP_COMPOSE_REAL:-$build/tests/compose}"/*/docker-compose)
[ -x "$real_compose" ] && command -v dockerd >/dev/null || real_compose=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) rounds=3 ;;
    --rounds) rounds=$2 && shift ;;
    --real) real_compose=$2 && shift ;;
    esac
    shift
done
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for program in docker-registry skopeo debootstrap; do
    command -v "$program" >/dev/null || skip "needs $program"
done
. "$source_dir/tests/lib/images.sh"
. "$source_dir/tests/lib/engine.sh"
bash "$source_dir/tests/build/bases.sh" "$source_dir" "$build/fixtures/bases" || exit $?
work=$(mktemp -d /tmp/atp-up-XXXXXX)
dockerd_pid=
bridge=atpu$((BASHPID % 1000000))
ours() { "$work/bin/docker" compose --progress quiet "$@" </dev/null; }
real() { DOCKER_HOST=unix://$work/d.sock "$real_compose" --progress quiet "$@" </dev/null; }
finish() {
    local code=$?
    trap '' EXIT
    set +e
    ours down -v -t 1 >/dev/null 2>&1
    [ -z "$dockerd_pid" ] || real down -v -t 1 >/dev/null 2>&1
    registry_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid"; } 2>/dev/null
    engine_stop
    ip link del "$bridge" 2>/dev/null
    umount -R "$work"/d/* 2>/dev/null
    rm -rf --one-file-system "$work"
    exit $code
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run HOME=$work ATP_DOCKER_BACKEND=local
unset DOCKER_HOST ATP_DOCKER_REAL MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH COMPOSE_PROJECT_NAME
mkdir -p "$work/run" "$work/bin" "$work/registry"
ln -s "$build/bin/atp-docker" "$work/bin/docker"
ln -s "$build/fixtures/bases/data" "$work/registry/data"
cp -r "$source_dir/tests/apps/four" "$work/four"
cd "$work/four"
registry_start "$work/registry"
export REGISTRY INTERVAL=100ms # of the health checks: what is waited for is a service, not the next look at it
image=$REGISTRY/library/servers:1

if [ -n "$real_compose" ]; then
    ip link add "$bridge" type bridge && ip addr add 172.31.247.1/24 dev "$bridge" && ip link set "$bridge" up
    dockerd --bridge "$bridge" --data-root "$work/d/data" --exec-root "$work/d/exec" -H "unix://$work/d.sock" --pidfile "$work/d.pid" \
        --insecure-registry "$REGISTRY" >"$work/dockerd.log" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 300); do [ ! -S "$work/d.sock" ] || break; sleep 0.1; done
fi

# timed NAME COMMAND...: how long it took, in ms, into the file of that name.
timed() {
    local name=$1 from
    shift
    from=$(date +%s%N)
    "$@" >"$work/out" 2>&1 || { echo "$*: $?"; cat "$work/out"; exit 1; }
    echo $((($(date +%s%N) - from) / 1000000)) >>"$work/$name.ms"
}
median() { sort -n "$work/$1.ms" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
best() { sort -n "$work/$1.ms" | head -n 1; }
range() { sort -n "$work/$1.ms" | awk '{ v[NR] = $1 } END { print v[1] "-" v[NR] }'; }

services="db queue web worker"
one_by_one() {
    local service
    # the sandbox is there, with somebody in it who needs none of the others
    "$work/bin/docker" network create four_default --label com.docker.compose.network=default --label com.docker.compose.project=four >/dev/null
    "$work/bin/docker" run -d --name bench_first --network four_default "$image" sleep 100000 >/dev/null
    for service in $services; do timed "$service" ours up -d --wait "$service"; done
    "$work/bin/docker" create --name bench_call --network four_default "$image" sleep 100000 >/dev/null
    timed call "$work/bin/docker" start bench_call
    "$work/bin/docker" rm -f bench_call bench_first >/dev/null
    timed down ours down -v -t 1
}
one_round() {
    timed up ours up -d --wait
    ours down -v -t 1
    one_by_one
    if [ -n "$real_compose" ]; then
        timed real real up -d --wait
        timed real_down real down -v -t 1
    fi
}
show() { printf '%-48s %6d  %s\n' "$2" "$(median "$1")" "$(range "$1")"; }
# Prints them all; whether up, by the median or by what else is named, is within its limit.
judge() {
    local service slowest=0 up limit
    echo "$(wc -l <"$work/up.ms") rounds, ms: median and range"
    show up "up -d --wait of four services"
    [ -z "$real_compose" ] || show real "  the real docker compose"
    for service in $services; do
        show "$service" "$service alone, its dependencies being there"
        [ "$(median "$service")" -le "$slowest" ] || slowest=$(median "$service")
    done
    show call "one call: a container that sleeps is started"
    show down "down -v"
    [ -z "$real_compose" ] || show real_down "  the real docker compose"
    up=$("$1" up)
    limit=$((slowest * 3 / 2 + 4 * $(median call)))
    echo "limit: 1.5 x $slowest + 4 x $(median call) = $limit; up is $up ($1)"
    [ "$up" -le "$limit" ]
}
one_round # brings the images
rm "$work"/*.ms
for _ in $(seq "$rounds"); do one_round; done
judge median && exit 0
for _ in $(seq "$rounds"); do one_round; done
judge median && exit 0
judge best && exit 0
echo "TOO SLOW"
exit 1
