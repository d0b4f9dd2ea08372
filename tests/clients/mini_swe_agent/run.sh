#!/usr/bin/env bash
# mini-swe-agent's Docker environment, unmodified from its package, with atp-docker first on the PATH as `docker`; where the
# real docker and its daemon are there too it is driven in the same way, and every answer must be the same.
# Usage: run.sh SOURCE_DIR BIN_DIR WORK_DIR. Needs root, python3 with venv; 77 when it cannot run.
set -eu
source=$1 bin=$2 work=$3
here=$source/tests/clients/mini_swe_agent
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
[ -x /bin/bash-static ] || { echo "needs bash-static"; exit 77; }
. "$source/tests/lib/images.sh"
. "$source/tests/lib/engine.sh"

# The package stays in WORK_DIR between runs; the list says which versions it is.
mkdir -p "$work"
if ! cmp -s "$here/requirements.txt" "$work/installed"; then
    rm -rf "$work/venv"
    /usr/bin/python3 -m venv "$work/venv" || { echo "needs python3-venv"; exit 77; }
    "$work/venv/bin/pip" install -q --no-deps -r "$here/requirements.txt" >"$work/pip.log" 2>&1 ||
        { cat "$work/pip.log"; echo "the package registry did not give mini-swe-agent"; exit 77; }
    cp "$here/requirements.txt" "$work/installed"
fi

tmp=$(mktemp -d /tmp/atp-mswe-XXXXXX)
dockerd_pid=
real=$(command -v docker || true)
finish() {
    registry_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid" || true; } 2>/dev/null
    engine_stop || true
    umount -R "$tmp"/d/* 2>/dev/null || true
    rm -rf --one-file-system "$tmp"
}
trap finish EXIT
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run HOME=$tmp/home
export MSWEA_SILENT_STARTUP=1 MSWEA_GLOBAL_CONFIG_DIR=$tmp/mswea FORWARDED=yes PYTHONDONTWRITEBYTECODE=1
unset MSWEA_DOCKER_EXECUTABLE DOCKER_HOST DOCKER_CONTEXT
mkdir -p "$tmp/run" "$tmp/home" "$tmp/tree" "$tmp/bin"
registry_start "$tmp/registry"
image_busybox_tree "$tmp/tree"
cp /bin/bash-static "$tmp/tree/bin/bash"
image_archive "$tmp/tree" '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["bash"]}' swe:1 "$tmp/swe.tar"
registry_push "$tmp/swe.tar" sweb.eval.x86_64.astropy__astropy-12907:latest
image=$REGISTRY/sweb.eval.x86_64.astropy__astropy-12907:latest

ln -s "$bin/atp-docker" "$tmp/bin/docker"
ATP_DOCKER_BACKEND=local PATH=$tmp/bin:$PATH timeout 300 "$work/venv/bin/python" "$here/drive.py" "$image" >"$tmp/ours.log"
grep '^\["' "$tmp/ours.log" | tee "$tmp/ours"
[ "$(wc -l <"$tmp/ours")" -ge 18 ]
[ -z "$(ATP_DOCKER_BACKEND=local "$bin/atp-docker" ps -aq)" ] || { echo "containers are left"; exit 1; }

if [ -z "$real" ] || ! command -v dockerd >/dev/null; then
    echo "no real docker to compare with"
    exit 0
fi
dockerd --bip 172.31.252.1/24 --data-root "$tmp/d/data" --exec-root "$tmp/d/exec" -H "unix://$tmp/d.sock" --pidfile "$tmp/d.pid" \
    --insecure-registry "$REGISTRY" >"$tmp/dockerd.log" 2>&1 &
dockerd_pid=$!
export DOCKER_HOST=unix://$tmp/d.sock
for _ in $(seq 300); do
    "$real" version >/dev/null 2>&1 && break
    sleep 0.1
done
timeout 300 "$work/venv/bin/python" "$here/drive.py" "$image" >"$tmp/real.log" || { tail "$tmp/dockerd.log"; exit 1; }
grep '^\["' "$tmp/real.log" >"$tmp/real"
# A folder that is not there: daemons before 23 gave 126.
sed -i '/^\["folder that is not there"/s/126}/127}/' "$tmp/real"
diff "$tmp/real" "$tmp/ours"
echo "$(wc -l <"$tmp/ours") answers, the same as the real docker's"
