#!/usr/bin/env bash
# Many clients at once on one state and one engine: each runs, keeps, execs, copies, reads logs and removes in random order and
# checks every answer. No wrong answer, no word on stderr, nothing left. Usage: crowd.sh SOURCE_DIR BIN_DIR [CLIENTS [SECONDS]]
set -u
source=$1 bin=$2 clients=${3:-50} seconds=${4:-120}
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source/tests/lib/images.sh"
. "$source/tests/lib/engine.sh"
work=$(mktemp -d /tmp/atp-crowd-XXXXXX)
finish() {
    engine_stop || true
    registry_stop
    rm -rf --one-file-system "$work"
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run ATP_DOCKER_BACKEND=local
mkdir -p "$work/run" "$work/bin" "$work/said" "$work/shared"
ln -s "$bin/atp-docker" "$work/bin/docker"
PATH=$work/bin:$PATH
registry_start "$work/registry"
image_busybox "$work/busybox.tar" busybox:1
registry_push "$work/busybox.tar" busybox:1
image=$REGISTRY/busybox:1
docker pull -q "$image" >/dev/null || exit 1
docker run -d --name shared -v "$work/shared:/work" "$image" sh -c 'echo ready; sleep 100000' >/dev/null || exit 1

# say WHAT WANTED GOT: a wrong answer is written down.
say() {
    [ "$2" = "$3" ] || echo "client $client, step $step: $1: wanted '$2', got '$3'" >>"$work/said/wrong"
    echo "$1" >>"$work/said/done.$client"
}
# answer ARGS...: stdout, then the exit code; stderr must stay empty.
answer() {
    local code=0
    docker "$@" 2>"$work/said/err.$client" || code=$?
    [ ! -s "$work/said/err.$client" ] || sed "s/^/client $client, step $step: docker $1: stderr: /" "$work/said/err.$client" >>"$work/said/wrong"
    echo "exit $code"
}
one_client() {
    local until=$((SECONDS + seconds)) have= token id
    RANDOM=$((client * 7919 + 1))
    step=0
    while [ $SECONDS -lt $until ]; do
        step=$((step + 1))
        token=t$client.$step.$RANDOM
        if [ -z "$have" ]; then
            case $((RANDOM % 4)) in
            0)
                say run "$token"$'\n'"exit 3" "$(answer run --rm "$image" sh -c "echo $token; exit 3")"
                continue
                ;;
            1)
                say shared "$token"$'\n'"exit 0" "$(answer exec -e "T=$token" shared sh -c 'echo $T')"
                continue
                ;;
            *)
                id=$(answer run -d --name "c$client" -e "T=$token" "$image" sh -c 'echo log $T; echo err $T >&2; sleep 100000')
                say start 64 "$(echo "$id" | head -1 | tr -d '\n' | wc -c)"
                have=$token
                sleep 0.05
                continue
                ;;
            esac
        fi
        case $((RANDOM % 7)) in
        0) say exec "$have $token"$'\n'"exit 5" "$(answer exec "c$client" sh -c "echo \$T $token; exit 5")" ;;
        1)
            echo "$token" >"$work/file.$client"
            say cp-in "exit 0" "$(answer cp "$work/file.$client" "c$client:/tmp/f")"
            say cp-there "$token"$'\n'"exit 0" "$(answer exec "c$client" cat /tmp/f)"
            ;;
        2)
            say cp-make "exit 0" "$(answer exec "c$client" sh -c "echo $token >/tmp/g")"
            say cp-out "exit 0" "$(answer cp "c$client:/tmp/g" "$work/back.$client")"
            say cp-back "$token" "$(cat "$work/back.$client")"
            ;;
        3)
            docker logs "c$client" >"$work/log.$client" 2>"$work/logerr.$client"
            say logs "0 log $have err $have" "$? $(cat "$work/log.$client") $(cat "$work/logerr.$client")"
            ;;
        4) say ps 1 "$(docker ps --no-trunc --filter "name=^c$client\$" --format '{{.Names}}' | grep -cx "c$client")" ;;
        5) say mount "$token"$'\n'"exit 0" "$(echo "$token" >"$work/shared/f$client"; answer exec shared cat "/work/f$client")" ;;
        6)
            say rm "c$client"$'\n'"exit 0" "$(answer rm -f "c$client")"
            have=
            ;;
        esac
    done
    [ -z "$have" ] || say rm-last "c$client"$'\n'"exit 0" "$(answer rm -f "c$client")"
}
pids=
for client in $(seq "$clients"); do
    one_client &
    pids="$pids $!"
done
# shellcheck disable=SC2086
wait $pids
docker rm -f shared >/dev/null || echo "the shared container cannot be removed" >>"$work/said/wrong"
left=$(docker ps -aq 2>&1)
[ -z "$left" ] || echo "containers are left: $left" >>"$work/said/wrong"
# Monitors and terminates get a moment.
monitors() {
    local p
    for p in /proc/[0-9]*; do
        { tr '\0' '\n' <"$p/environ" | grep -qxF "XDG_STATE_HOME=$XDG_STATE_HOME" && tr '\0' ' ' <"$p/cmdline" | grep monitor; } 2>/dev/null
    done | grep -c . || true
}
sandboxes() { find "$XDG_STATE_HOME/atp-docker/engine/runtime/containers" -mindepth 1 -maxdepth 1 | wc -l; }
for _ in $(seq 50); do
    [ "$(monitors) $(sandboxes)" != "0 0" ] || break
    sleep 0.2
done
[ "$(monitors)" = 0 ] || echo "$(monitors) monitors are left" >>"$work/said/wrong"
[ "$(sandboxes)" = 0 ] || echo "$(sandboxes) sandboxes are left at the engine" >>"$work/said/wrong"
cat "$work"/said/done.* | sort | uniq -c | sort -rn
echo "$(cat "$work"/said/done.* | wc -l) answers for $clients clients in $seconds s"
if [ -s "$work/said/wrong" ]; then
    echo "$(wc -l <"$work/said/wrong") wrong:"
    head -40 "$work/said/wrong"
    exit 1
fi
