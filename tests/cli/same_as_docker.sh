#!/usr/bin/env bash
# zlib, configured, built and tested in a container from a bind-mounted tree: once by atp-docker on the engine, once by
# the real docker with a daemon of its own. Exit codes, files, types, modes and links must be the same; so must be the contents.
# Usage: same_as_docker.sh SOURCE_DIR BIN_DIR IMAGE.tar
set -eu
source_dir=$1
bin=$2
image=$3
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
command -v dockerd >/dev/null || { echo "needs dockerd (package docker.io)"; exit 77; }
. "$source_dir/tests/lib/images.sh"
. "$source_dir/tests/lib/engine.sh"
. "$source_dir/tests/lib/debian.sh"
real=$(command -v docker)
work=$(mktemp -d /tmp/atp-same-XXXXXX)
dockerd_pid=
finish() {
    registry_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid" || true; } 2>/dev/null
    engine_stop || true
    umount -R "$work"/d/* 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT

registry_start "$work/registry"
registry_push "$image" build:12
dockerd --bip 172.31.251.1/24 --data-root "$work/d/data" --exec-root "$work/d/exec" -H "unix://$work/d.sock" --pidfile "$work/d.pid" \
    --insecure-registry "$REGISTRY" >"$work/dockerd.log" 2>&1 &
dockerd_pid=$!
for _ in $(seq 300); do
    [ -S "$work/d.sock" ] && "$real" -H "unix://$work/d.sock" version >/dev/null 2>&1 && break
    sleep 0.1
done
debian_source "$work/src" zlib
mkdir "$work/ours" "$work/real"
cp -a "$work"/src/zlib-*/. "$work/ours"
cp -a "$work"/src/zlib-*/. "$work/real"
words='./configure >configure.out && make >make.out && make test && ln -s zlib.h link.h && mkdir -p made/empty && rm -r doc; exit 7'
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run
mkdir -p "$work/run"

code_ours=0
(cd "$work/ours" && ATP_DOCKER_BACKEND=local "$bin/atp-docker" run --rm -v "$PWD:/work" -w /work "$REGISTRY/build:12" sh -c "$words") >"$work/ours.out" 2>"$work/ours.err" || code_ours=$?
code_real=0
(cd "$work/real" && "$real" -H "unix://$work/d.sock" run --rm -v "$PWD:/work" -w /work "$REGISTRY/build:12" sh -c "$words") >"$work/real.out" 2>"$work/real.err" || code_real=$?
echo "exit codes: ours $code_ours, docker $code_real"
[ "$code_ours" = 7 ] && [ "$code_real" = 7 ] || { cat "$work/ours.err" "$work/real.err"; tail "$work/dockerd.log"; exit 1; }
tree() { (cd "$1" && find . -printf '%p|%y|%m|%U:%G|%l\n' | sort); }
contents() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
tree "$work/ours" >"$work/ours.tree"
tree "$work/real" >"$work/real.tree"
diff "$work/ours.tree" "$work/real.tree"
contents "$work/ours" >"$work/ours.sum"
contents "$work/real" >"$work/real.sum"
# configure.log holds the date of the build.
diff <(grep -v configure.log "$work/ours.sum") <(grep -v configure.log "$work/real.sum")
diff "$work/ours.out" "$work/real.out"
echo "the same $(wc -l <"$work/ours.tree") entries, contents and output"
