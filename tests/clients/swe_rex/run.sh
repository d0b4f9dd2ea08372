#!/usr/bin/env bash
# SWE-ReX's docker deployment, unmodified from its package, with atp-docker first on the PATH as `docker`: an attached run with a
# published port, the program's own server spoken to over it, kill. The image has Debian's Python and the same package.
# Usage: run.sh SOURCE_DIR BIN_DIR WORK_DIR. Needs root, python3 with venv; 77 when it cannot run.
set -eu
source=$1 bin=$2 work=$3
here=$source/tests/clients/swe_rex
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source/tests/lib/images.sh"
. "$source/tests/lib/engine.sh"
mkdir -p "$work"
if ! cmp -s "$here/requirements.txt" "$work/installed"; then
    rm -rf "$work/venv" "$work/context"
    /usr/bin/python3 -m venv "$work/venv" || { echo "needs python3-venv"; exit 77; }
    "$work/venv/bin/pip" install -q --no-deps -r "$here/requirements.txt" >"$work/pip.log" 2>&1 ||
        { cat "$work/pip.log"; echo "the package registry did not give swe-rex"; exit 77; }
    mkdir "$work/context"
    cp -r "$work"/venv/lib/python3*/site-packages "$work/context/packages"
    printf '#!/bin/sh\nexec python3 -c "import sys; sys.argv[0] = \\"swerex-remote\\"; from swerex.server import main; main()" "$@"\n' \
        >"$work/context/swerex-remote"
    chmod +x "$work/context/swerex-remote"
    cp "$here/requirements.txt" "$work/installed"
fi
bases=$(dirname "$bin")/fixtures/bases
bash "$source/tests/build/bases.sh" "$source" "$bases"

tmp=$(mktemp -d /tmp/atp-swerex-XXXXXX)
finish() {
    registry_stop
    engine_stop || true
    rm -rf --one-file-system "$tmp"
}
trap finish EXIT
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run HOME=$tmp/home
unset DOCKER_HOST DOCKER_CONTEXT
mkdir -p "$tmp/run" "$tmp/home" "$tmp/bin" "$tmp/registry" "$tmp/files"
ln -s "$bases/data" "$tmp/registry/data"
registry_start "$tmp/registry"
ln -s "$bin/atp-docker" "$tmp/bin/docker"
export ATP_DOCKER_BACKEND=local PATH=$tmp/bin:$PATH
printf 'FROM %s/library/python:3.11\nCOPY packages /usr/local/lib/python3.11/dist-packages\nCOPY swerex-remote /usr/local/bin/\n' "$REGISTRY" \
    >"$work/context/Dockerfile"
docker build -q -t rex:1 "$work/context" >/dev/null
timeout 300 "$work/venv/bin/python" "$here/drive.py" rex:1 "$tmp/files" >"$tmp/all" 2>"$tmp/err" || { cat "$tmp/all" "$tmp/err"; exit 1; }
grep '^\["' "$tmp/all" | diff "$here/expected" - || { cat "$tmp/err"; exit 1; }
# The container is gone a moment after the one that ran it was told to end.
for _ in $(seq 100); do
    left=$(docker ps -aq)
    [ -n "$left" ] || break
    sleep 0.1
done
[ -z "$left" ] || { docker ps -a; echo "containers are left"; exit 1; }
cat "$here/expected"
