#!/usr/bin/env bash
# The app of four services (four/compose.yaml) through its life: up --wait, HTTP on a published port under load, a service that is
# restarted, monitors that are killed, the database kept across down and up, the whole pod killed, down -v.
# ATP_ENGINE_RUNTIME says by which runtime: gVisor's runsc runs all four of them too.
# Usage: four.sh BUILD-DIRECTORY [real COMPOSE]: with the real docker (its daemon is started here) and a docker-compose program, to
# see that the app itself is right. Exits 77 where it cannot run.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
real_compose=
[ "${2:-}" != real ] || real_compose=$3
. "$here/../lib/images.sh"
. "$here/../lib/engine.sh"
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for program in docker-registry skopeo debootstrap ab curl; do
    command -v "$program" >/dev/null || skip "needs $program"
done
[ "${ATP_ENGINE_RUNTIME:-}" != runsc ] || command -v runsc >/dev/null || skip "needs runsc"
bash "$here/../build/bases.sh" "$source_dir" "$build/fixtures/bases" || exit $?
save=5 # seconds between two saves of the volume: at most so much may be lost

tmp=$(mktemp -d /tmp/atp-four-XXXXXX)
dockerd_pid=
bridge=atpf$((BASHPID % 1000000))
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run HOME=$tmp/home
unset DOCKER_HOST ATP_DOCKER_REAL MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH
mkdir -p "$tmp/run" "$tmp/home" "$tmp/bin" "$tmp/registry"
cp -r "$here/four" "$tmp/four"
cd "$tmp/four" || exit 1
finish() {
    local code=$?
    [ $code -eq 0 ] || { compose ps -a; compose logs --tail 5; } >&2
    compose down -v -t 1 >/dev/null 2>&1
    registry_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid"; } 2>/dev/null
    engine_stop
    ip link del "$bridge" 2>/dev/null
    umount -R "$tmp"/d/* 2>/dev/null
    rm -rf --one-file-system "$tmp"
    exit $code
}
trap finish EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# The registry serves what bases.sh left.
ln -s "$build/fixtures/bases/data" "$tmp/registry/data"
registry_start "$tmp/registry"
export REGISTRY
if [ -n "$real_compose" ]; then
    ip link add "$bridge" type bridge && ip addr add 172.31.248.1/24 dev "$bridge" && ip link set "$bridge" up
    dockerd --bridge "$bridge" --data-root "$tmp/d/data" --exec-root "$tmp/d/exec" -H "unix://$tmp/d.sock" --pidfile "$tmp/d.pid" \
        --insecure-registry "$REGISTRY" >"$tmp/dockerd.log" 2>&1 &
    dockerd_pid=$!
    export DOCKER_HOST=unix://$tmp/d.sock
    for _ in $(seq 300); do [ -S "$tmp/d.sock" ] && break; sleep 0.1; done
    compose() { "$real_compose" "$@"; }
else
    export ATP_DOCKER_BACKEND=local ATP_DOCKER_MODAL_VOLUME_SAVE=$save
    ln -s "$build/bin/atp-docker" "$tmp/bin/docker"
    PATH=$tmp/bin:$PATH
    compose() { docker compose "$@"; }
fi

count() { curl -fsS -m 10 "http://$address/count"; }
work() { curl -fsS -m 10 -X POST "http://$address/work?$1" >/dev/null; }
# The count becomes N, soon.
becomes() {
    local have
    for _ in $(seq 300); do
        have=$(count 2>/dev/null) && [ "$have" = "$1" ] && return 0
        sleep 0.2
    done
    fail "the count is ${have:-unknown}, not $1 ($2)"
}
up() {
    compose --progress quiet up -d --wait --wait-timeout 300 || fail "up --wait: $?"
    address=$(compose port web 8000) || fail "port"
}
# Monitors or forwards of this state; other suites may have theirs.
ours() {
    local pid
    for pid in $(pgrep -f "^[^ ]*docker atp $1 "); do
        ! tr '\0' '\n' <"/proc/$pid/environ" | grep -qxF "XDG_STATE_HOME=$XDG_STATE_HOME" || echo "$pid"
    done 2>/dev/null
}
# Something in the volume has changed, and a later save has it.
saved() {
    local was now
    was=$(generation)
    compose exec -T db touch /var/lib/postgresql/data/touched
    for _ in $(seq 300); do
        now=$(generation)
        [ "$now" = "$was" ] || return 0
        sleep 0.2
    done
    fail "no save after ${was:-none}"
}
# Not by `ls`: gVisor knows no statx(2) as Debian's asks for it.
generation() { compose exec -T db sh -c 'for g in /.atp/volumes/*/generations/*; do :; done; echo "${g##*/}"'; }
# The processes that come from a process, it included, parents first.
family() {
    local pid
    echo "$1"
    for pid in $(pgrep -P "$1"); do family "$pid"; done
}
# What runs the hub: its agent, or gVisor with all that is in it, whose log lies beside what it runs.
hub() {
    local pid log
    for pid in $(family "$(engine_pid)"); do
        case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
        *'/agent init --hub '*) echo "$pid" ;;
        runsc-sandbox*)
            log=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n 's/^--log=//p')
            ! grep -q '"--hub"' "${log%/*}/config.json" || echo "$pid"
            ;;
        esac
    done 2>/dev/null
}

began=$(milliseconds)
up
echo "up --wait: $(($(milliseconds) - began)) ms with images to be pulled"
[ "$(curl -fsS -m 5 "http://$address/alive")" = yes ] || fail "no answer on $address"
becomes 0 "a new database"
for i in 1 2 3; do work "$i"; done
becomes 3 "three pieces of work"

echo "under load"
ab -q -n 2000 -c 20 "http://$address/alive" >"$tmp/ab" 2>&1 || { cat "$tmp/ab"; fail "ab"; }
grep -q '^Failed requests: *0$' "$tmp/ab" || { cat "$tmp/ab"; fail "requests failed"; }
grep '^Requests per second\|^Time per request.*mean)' "$tmp/ab"

echo "one service is restarted: its name is right again"
compose restart -t 5 queue 2>/dev/null || fail "restart"
for _ in $(seq 300); do work 4 2>/dev/null && break; sleep 0.2; done
becomes 4 "work after a restart of the queue"

if [ -z "$real_compose" ]; then
    echo "monitors and forwards are killed"
    for pid in $(ours monitor) $(ours forward); do kill -9 "$pid"; done
    [ "$(compose ps -q | wc -l)" -eq 4 ] || fail "ps after kill -9 of the monitors"
    [ "$(compose port web 8000)" = "$address" ] || fail "the published port has moved"
    for _ in $(seq 300); do work 5 2>/dev/null && break; sleep 0.2; done
else
    work 5
fi
becomes 5 "work after kill -9 of the monitors"

echo "down and up: the database is kept"
compose --progress quiet down || fail "down: $?"
[ -z "$(compose ps -aq)" ] || fail "containers after down"
began=$(milliseconds)
up
echo "up --wait: $(($(milliseconds) - began)) ms"
becomes 5 "the database after down and up"

if [ -z "$real_compose" ]; then
    echo "the whole pod is killed: it starts again from the last save"
    work 6
    becomes 6 "work before the kill"
    saved
    saved # one that has begun after the work
    sleep 8 # the server keeps what was saved every five seconds
    killed=$(hub)
    [ -n "$killed" ] || fail "no hub"
    # shellcheck disable=SC2086
    kill -9 $killed
    for _ in $(seq 300); do
        [ -n "$(compose ps -q --status running)" ] || break
        sleep 0.2
    done
    compose --progress plain up -d --wait --wait-timeout 300 >"$tmp/again" 2>&1 || { cat "$tmp/again"; fail "up after the kill"; }
    cat "$tmp/again"
    grep -q "its volumes are as they were saved last, $save seconds before at most" "$tmp/again" || fail "nothing was said of the loss"
    address=$(compose port web 8000)
    becomes 6 "the database after the pod was killed"
fi

echo "down -v: it is gone"
compose --progress quiet down -v || fail "down -v"
up
becomes 0 "the database after down -v"
compose --progress quiet down -v || fail "the last down"
[ -n "$real_compose" ] || [ -z "$(docker ps -aq)$(docker volume ls -q)$(docker network ls -q --filter type=custom)" ] || fail "something is left"
echo "all of it held"
