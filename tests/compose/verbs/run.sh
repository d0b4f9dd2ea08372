#!/usr/bin/env bash
# Lines of `docker compose` run in order on both sides: by the real docker compose (made from its Go module) with a daemon of its
# own, and by atp-docker with the embedded engine. What each says on stdout and stderr, its exit code, and the state that it leaves
# (containers with their labels, networks, volumes, images) have to be the same. What may differ stands in "differences", with its
# reason and the exact lines: a difference that is not there fails, and so does one that is there and no longer occurs.
# Usage: run.sh BUILD-DIRECTORY [PROJECT...]. Exits 77 without root, a docker 28 client, a daemon 20.10, and the real compose.
#
# PROJECT.lines is a text in parts that begin with "== NAME": files by their names; "settles", patterns for the names of containers
# that end by themselves, which they are given time for; "plugin", empty (see below); "lines", each "name: shell words". A line finds
# `docker` and `docker-compose` of its side, $IMAGE (busybox), $R (the registry), $PORT (a free one, its side's own) and
# await LINE..., which repeats until it succeeds.
# A line that begins with "- " is run, but what it says is not compared; only its exit code, and the state.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
. "$here/../../build/buildkit.sh"
. "$here/../reference.sh"
. "$here/../../lib/images.sh"
. "$here/../../lib/engine.sh"

skip() { echo "skipped: $1"; exit 77; }
docker=${ATP_DOCKER_REAL:-$(command -v docker || true)}
[ "$(id -u)" = 0 ] || skip "needs root"
command -v dockerd >/dev/null || skip "needs dockerd (package docker.io)"
command -v docker-registry >/dev/null || skip "needs docker-registry"
dockerd --version | grep -q ' 20\.10\.' || skip "the differences are those to a daemon 20.10, here is $(dockerd --version)"
"$docker" --version 2>/dev/null | grep -q '^Docker version 28\.' || skip "needs a docker 28 client"
[ -x "$build/bin/atp-docker" ] || { echo "no $build/bin/atp-docker"; exit 1; }
if ! compose_make "${ATP_COMPOSE_REAL:-$build/tests/compose}"; then
    [ "${ATP_CLIENTS:-}" != required ] || { echo "no docker compose, but ATP_CLIENTS=required"; exit 1; }
    skip "no docker compose"
fi
compose=$(cd "${ATP_COMPOSE_REAL:-$build/tests/compose}" && pwd)/$COMPOSE_VERSION/docker-compose

tmp=$(mktemp -d /tmp/atp-verbs-XXXXXX)
bridge=atpv$((BASHPID % 1000000))
dockerd_pid=
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run
real_docker() { HOME=$tmp/real/home DOCKER_HOST=unix://$tmp/d.sock "$docker" "$@"; }
finish() {
    registry_stop
    if [ -n "$dockerd_pid" ]; then
        real_docker ps -aq | xargs -r env DOCKER_HOST="unix://$tmp/d.sock" "$docker" rm -f >/dev/null 2>&1
        real_docker network prune -f >/dev/null 2>&1
        { kill "$dockerd_pid"; wait "$dockerd_pid" || true; } 2>/dev/null
    fi
    engine_stop
    ip link del "$bridge" 2>/dev/null
    umount -R "$tmp"/d/* 2>/dev/null
    [ -n "${ATP_KEEP:-}" ] && echo "kept: $tmp" || rm -rf --one-file-system "$tmp"
}
trap finish EXIT

mkdir -p "$tmp/run" "$tmp"/{real,ours}/{bin,home,results} "$tmp/real/home/.docker/cli-plugins"
# Called by docker, which asks each plugin what it is first, the real one takes twice as long: only projects with a part "plugin"
# do that.
mkdir "$tmp/real/plugin" "$tmp/ours/plugin"
ln -s "$docker" "$tmp/real/plugin/docker"
printf '#!/bin/sh\n[ "$1" != compose ] || { shift; exec %s "$@"; }\nexec %s "$@"\n' "$compose" "$docker" >"$tmp/real/bin/docker"
chmod 755 "$tmp/real/bin/docker"
ln -s "$compose" "$tmp/real/bin/docker-compose"
ln -s "$compose" "$tmp/real/home/.docker/cli-plugins/docker-compose"
ln -s "$build/bin/atp-docker" "$tmp/ours/bin/docker"
ln -s "$build/bin/atp-docker" "$tmp/ours/bin/docker-compose"
unset DOCKER_HOST ATP_DOCKER_REAL MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH "${!COMPOSE_@}"

start_daemon() {
    ip link add "$bridge" type bridge && ip addr add 172.31.251.1/24 dev "$bridge" && ip link set "$bridge" up || return 1
    dockerd --bridge "$bridge" --iptables=false --data-root "$tmp/d/data" --exec-root "$tmp/d/exec" -H "unix://$tmp/d.sock" \
        --pidfile "$tmp/d.pid" --insecure-registry "$REGISTRY" --default-address-pool base=172.31.192.0/19,size=27 >"$tmp/dockerd.log" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 600); do
        [ -S "$tmp/d.sock" ] && real_docker version >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    tail "$tmp/dockerd.log"
    return 1
}

# push NAME CONFIG: the busybox tree with this configuration, in the registry.
push() {
    image_archive "$tmp/tree" "$2" "$1" "$tmp/${1%:*}.tar"
    registry_push "$tmp/${1%:*}.tar" "$1"
}
push_images() {
    local path='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'
    mkdir "$tmp/tree"
    image_busybox_tree "$tmp/tree"
    push busybox:1 "{$path,\"Cmd\":[\"sh\"]}" && push busybox:2 "{$path,\"Cmd\":[\"sh\"],\"Labels\":{\"two\":\"yes\"}}"
}

# The parts of a file of lines as files below DIR.
unpack() {
    awk -v dir="$2" '/^== / { if (out) close(out); out = dir "/" substr($0, 4); folder = out; sub("/[^/]*$", "", folder)
        system("mkdir -p \"" folder "\""); printf "" >out; next } out { print >out }' "$1"
}

# What differs from run to run: ids, digests, the registry's port, folders, times, sizes, ports that nobody asked for.
normal() {
    sed -E -e "s|$tmp/$side/work|/WORK|g" -e "s|$tmp/$side|/SIDE|g" -e "s|$tmp|/TMP|g" -e "s|$REGISTRY|REGISTRY|g" -e "s/\b$port\b/PORT/g" \
        -e 's/\b[0-9a-f]{64}\b/ID/g' -e 's/\b[0-9a-f]{12}\b/ID12/g' -e 's/^time="[^"]*" //' \
        -e 's/(0\.0\.0\.0|127\.0\.0\.1|\[::\]):[0-9]{5}\b/\1:RANDOM/g' -e 's/"PublishedPort":[0-9]{5}\b/"PublishedPort":RANDOM/g' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]+)?(Z| [-+][0-9]{4} [A-Z]+)?/TIME/g' \
        -e 's/\b(Less than a second|About a minute|[0-9]+ (seconds?|minutes?))( ago)?( +)/NOW /' \
        -e 's/\b(Less than a second|About a minute|[0-9]+ (seconds?|minutes?))( ago)?/NOW/' \
        -e 's/^([a-z]+-[0-9]+) +\| /\1 | /' -e 's/failed to create task for container: //' -e 's/failed to set up container networking: //' \
        -e '/^ ?ID12 (Pulling fs layer|Waiting|Downloading|Verifying Checksum|Download complete|Extracting|Pull complete)\b/d' \
        -e '/^NAME |NOW/s/  +/ /g' -e 's/\r$/\\r/'
}

# Waits until what ends by itself has ended: the containers whose names match the project's "settles".
settle() {
    [ -e "$tmp/$side/settles" ] || return 0
    local _
    for _ in $(seq 300); do
        docker ps --format '{{.Names}}' | grep -qEf "$tmp/$side/settles" || return 0
        sleep 0.1
    done
    echo "something does not end"
}

# What is there now. A map has no order, so depends_on has none.
state() {
    settle
    { docker ps -aq; docker network ls -q --filter type=custom; docker volume ls -q; } | xargs -r docker inspect | jq -r 'def sorted: . // {} | to_entries | sort_by(.key) | from_entries; .[] |
        if .State then "container \(.Name) \(.State.Status) \(.State.ExitCode) \(.Config.Labels |
            if .["com.docker.compose.depends_on"] then .["com.docker.compose.depends_on"] |= (split(",") | sort | join(",")) else . end)"
        elif .Mountpoint then "volume \(.Name) \(.Driver) \(.Labels | sorted)"
        else "network \(.Name) \(.Driver) \(.Internal) \(.Labels | sorted)" end' | sort
    docker images --format 'image {{.Repository}}:{{.Tag}}' | sort
}

# one NAME LINE APART: its results as prefixed lines; without what it says if APART is not empty.
one() {
    local code=0 line=$2 apart=$3 began=$SECONDS
    timeout 120 bash -o pipefail -c "$line" >"$tmp/$side/out" 2>"$tmp/$side/err" </dev/null || code=$?
    {
        if [ -z "$apart" ]; then
            normal <"$tmp/$side/out" | sed 's/^/out /'
            normal <"$tmp/$side/err" | LC_ALL=C sort | sed 's/^/err /'
        fi
        echo "exit $code"
        # What this line changed in the state.
        state 2>&1 | normal >"$tmp/$side/state"
        diff -a "$tmp/$side/state.before" "$tmp/$side/state" | sed -n -e 's/^< /gone /p' -e 's/^> /new /p'
        mv "$tmp/$side/state" "$tmp/$side/state.before"
    } >"$tmp/$side/results/$1"
    [ -z "${ATP_KEEP:-}" ] || echo "$((SECONDS - began)) $1" >>"$tmp/$side/times"
}

await() {
    local _
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "never: $*" >&2
    return 1
}
export -f await

# All lines of all projects on one side.
run_side() {
    side=$1 port=$2
    local project row apart path
    export IMAGE=$REGISTRY/busybox:1 R=$REGISTRY PORT=$port HOME=$tmp/$side/home path=$tmp/$side/bin:$PATH INHERITED=yes COMPOSE_PROGRESS=plain
    : >"$tmp/$side/state.before"
    for project in "${projects[@]}"; do
        mkdir -p "$tmp/$side/work/$project"
        unpack "$here/$project.lines" "$tmp/$side/work/$project"
        cd "$tmp/$side/work/$project" || return 1
        mv lines "$tmp/$side/lines"
        rm -f "$tmp/$side/settles"
        [ ! -e settles ] || mv settles "$tmp/$side/settles"
        PATH=$path
        [ ! -e plugin ] || PATH=$tmp/$side/plugin:$path
        rm -f plugin
        while IFS= read -r row <&3; do
            apart=
            case $row in
            '' | '#'*) continue ;;
            '- '*) row=${row#- } apart=1 ;;
            esac
            one "$project.${row%%: *}" "${row#*: }" "$apart" 3<&-
        done 3<"$tmp/$side/lines"
    done
}

projects=("$@")
[ $# -gt 0 ] || mapfile -t projects < <(cd "$here" && printf '%s\n' *.lines | sed 's/\.lines$//')
registry_start "$tmp/registry" || exit 1
push_images || exit 1
start_daemon || { echo "the daemon did not start"; exit 1; }
ports=($(free_port) $(free_port))
[ "${ports[0]}" != "${ports[1]}" ] || ports[1]=$((ports[1] + 1))
(export DOCKER_HOST=unix://$tmp/d.sock; run_side real "${ports[0]}") &
real_pid=$!
(export ATP_DOCKER_BACKEND=local; run_side ours "${ports[1]}")
wait "$real_pid"

failed=0 compared=0
for project in "${projects[@]}"; do
    awk '/^== / { on = $0 == "== lines"; next } on && !/^#/ && NF' "$here/$project.lines" >"$tmp/rows"
    while IFS= read -r row; do
        row=${row#- } name=$project.${row%%: *}
        diff -a "$tmp/real/results/$name" "$tmp/ours/results/$name" | grep -a '^[<>]' >"$tmp/found"
        awk -v name="[$name]" '/^\[/ { on = $0 == name } on && /^[<>]/' "$here/differences" >"$tmp/listed"
        compared=$((compared + 1))
        if ! cmp -s "$tmp/found" "$tmp/listed"; then
            echo "not ok $name: ${row#*: }"
            [ ! -s "$tmp/listed" ] || { echo " listed as:"; cat "$tmp/listed"; echo " now:"; }
            [ -s "$tmp/found" ] && head -n "${ATP_LINES:-40}" "$tmp/found" || echo " no difference any more"
            failed=$((failed + 1))
        fi
        grep -qxF "$name" "$tmp/names" 2>/dev/null && { echo "$name: two lines of this name"; failed=$((failed + 1)); }
        echo "$name" >>"$tmp/names"
    done <"$tmp/rows"
done

# A list that names what is not run, or gives no reason, says nothing.
sed -n 's/^\[\(.*\)\]$/\1/p' "$here/differences" | sort >"$tmp/tabled"
if [ $# -eq 0 ]; then
    sort "$tmp/names" | comm -13 - "$tmp/tabled" | sed 's/$/: listed as a difference, but no such line/' | grep . && failed=$((failed + 1))
fi
[ "$(grep -c '^\[' "$here/differences")" = "$(grep -c '^why: .' "$here/differences")" ] ||
    { echo "differences: one without its reason"; failed=$((failed + 1)); }
echo "$compared lines compared, $(sort "$tmp/names" | comm -12 - "$tmp/tabled" | wc -l) with a listed difference, $failed failed"
[ "$compared" -ge 5 ] && [ "$failed" = 0 ]
