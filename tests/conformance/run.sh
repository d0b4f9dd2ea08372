#!/usr/bin/env bash
# Runs the lines of TABLE.txt twice, with the real docker on a daemon of its own and with atp-docker on the embedded engine,
# and compares stdout, stderr and the exit code. What may differ stands in TABLE.differences, with the exact lines and the
# reason: a difference that is not there fails, and so does one that is there and no longer occurs.
# Usage: run.sh BUILD-DIRECTORY [TABLE]. TABLE: run (the default), or another one of this folder. Exits 77 without root, a
# docker 28 client, and a daemon 20.10 (see run.differences).
. "$(dirname "$0")/common.sh"
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
table=${2:-run}
. "$here/../lib/images.sh"
. "$here/../lib/engine.sh"

skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
command -v dockerd >/dev/null || skip "needs dockerd (package docker.io)"
command -v docker-registry >/dev/null || skip "needs docker-registry"
dockerd --version | grep -q ' 20\.10\.' || skip "the differences are those to a daemon 20.10, here is $(dockerd --version)"
[ -x "$build/bin/atp-docker" ] || { echo "no $build/bin/atp-docker"; exit 1; }
build=$(cd "$build" && pwd)

tmp=$(mktemp -d /tmp/atp-conform-XXXXXX)
bridge=atpc$((BASHPID % 1000000))
dockerd_pid=
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run
finish() {
    registry_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid" || true; } 2>/dev/null
    engine_stop
    ip link del "$bridge" 2>/dev/null
    umount -R "$tmp"/d/* 2>/dev/null
    rm -rf --one-file-system "$tmp"
}
trap finish EXIT

# Two programs called docker, each in a folder that a line sees first on its PATH, and the same variables.
mkdir -p "$tmp/real/bin" "$tmp/ours/bin" "$tmp/run" "$tmp/home"
ln -s "$docker" "$tmp/real/bin/docker"
ln -s "$build/bin/atp-docker" "$tmp/ours/bin/docker"
export HOME=$tmp/home INHERITED=yes
unset DOCKER_HOST ATP_DOCKER_REAL MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH

start_daemon() {
    ip link add "$bridge" type bridge && ip addr add 172.31.253.1/24 dev "$bridge" && ip link set "$bridge" up || return 1
    dockerd --bridge "$bridge" --iptables=false --data-root "$tmp/d/data" --exec-root "$tmp/d/exec" -H "unix://$tmp/d.sock" \
        --pidfile "$tmp/d.pid" --insecure-registry "$REGISTRY" >"$tmp/dockerd.log" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 300); do
        [ -S "$tmp/d.sock" ] && DOCKER_HOST=unix://$tmp/d.sock "$docker" version >"$tmp/version" 2>/dev/null && return 0
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
    printf '#!/no/such/interpreter\n' >"$tmp/tree/bin/odd"
    printf 'not a program\n' >"$tmp/tree/bin/text"
    chmod 755 "$tmp/tree/bin/odd" "$tmp/tree/bin/text"
    push busybox:1 "{$path,\"Cmd\":[\"sh\"]}" &&
        push words:1 '{"Entrypoint":["echo","entry"],"Cmd":["cmd"],"Env":["A=image"],"WorkingDir":"/var/made","User":"1000"}' &&
        push nocmd:1 "{$path}" && {
        [ ! -x /bin/bash-static ] || cp /bin/bash-static "$tmp/tree/bin/bash"
        push bash:1 "{$path,\"Cmd\":[\"bash\"]}"
    }
}

# What differs from run to run: ids, digests, the registry's port, the folder, times; and stderr's case. A daemon of the
# client's own version says "failed to create task for container" first, 20.10 does not. Which of a layer's lines
# appear depends on how fast it comes.
normal() {
    sed -E -e "s|$tmp/(real\|ours)/work|/WORK|g" -e "s|$tmp|/TMP|g" -e "s|$REGISTRY|REGISTRY|g" \
        -e 's/[0-9a-f]{64}/ID/g' -e 's/\b[0-9a-f]{12}\b/ID12/g' \
        -e 's/failed to create task for container: //' \
        -e '/^ID12: (Verifying Checksum|Download complete|Waiting)$/d' \
        -e 's/\r$/\\r/' -e 's/\b(Less than a second|About a minute|[0-9]+ (seconds?|minutes?)) ago/NOW/'
}

# side NAME LINE, with the variables of the side: its three results as prefixed lines.
side() {
    local dir=$tmp/$1 code=0
    mkdir -p "$dir/work"
    (cd "$dir/work" && IMAGE=$REGISTRY/busybox:1 R=$REGISTRY ARCHIVES=$tmp PATH=$dir/bin:$PATH timeout 180 bash -o pipefail -c "$2") \
        >"$dir/out" 2>"$dir/err" </dev/null || code=$?
    {
        normal <"$dir/out" | sed 's/^/out /'
        normal <"$dir/err" | tr '[:upper:]' '[:lower:]' | sed -e '/^$/d' -e 's/^/err /'
        echo "exit $code"
    } >"$dir/result"
}

registry_start "$tmp/registry" || exit 1
push_images || exit 1
start_daemon || { echo "the daemon did not start"; exit 1; }
grep -E '^ *(Version|runc):? ' "$tmp/version" | tr -s ' \n' ' '
echo

failed=0 compared=0
while IFS= read -r row <&3; do
    case $row in '' | '#'*) continue ;; esac
    name=${row%%: *} line=${row#*: }
    DOCKER_HOST=unix://$tmp/d.sock side real "$line" 3<&-
    ATP_DOCKER_BACKEND=local side ours "$line" 3<&-
    diff "$tmp/real/result" "$tmp/ours/result" | grep -a '^[<>]' >"$tmp/found"
    awk -v name="[$name]" '/^\[/ { on = $0 == name } on && /^[<>]/' "$here/$table.differences" >"$tmp/listed"
    compared=$((compared + 1))
    if ! cmp -s "$tmp/found" "$tmp/listed"; then
        echo "$name: $line"
        [ ! -s "$tmp/listed" ] || { echo " listed as:"; cat "$tmp/listed"; echo " now:"; }
        [ -s "$tmp/found" ] && cat "$tmp/found" || echo " no difference any more"
        failed=1
    fi
    grep "^$name\$" "$tmp/names" >/dev/null 2>&1 && { echo "$name: two scenarios of this name"; failed=1; }
    echo "$name" >>"$tmp/names"
done 3<"$here/$table.txt"

# A table that names what is not run, or gives no reason, says nothing.
sed -n 's/^\[\(.*\)\]$/\1/p' "$here/$table.differences" | sort >"$tmp/tabled"
sort "$tmp/names" | comm -13 - "$tmp/tabled" | sed 's/$/: listed as a difference, but no such scenario/' | grep . && failed=1
[ "$(grep -c '^\[' "$here/$table.differences")" = "$(grep -c '^why: .' "$here/$table.differences")" ] ||
    { echo "$table.differences: a difference without its reason"; failed=1; }
echo "$compared scenarios compared, $(wc -l <"$tmp/tabled") with a listed difference"
[ "$compared" -ge 20 ] || failed=1
exit "$failed"
