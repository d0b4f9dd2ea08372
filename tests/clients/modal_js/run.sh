#!/usr/bin/env bash
# Modal's JavaScript SDK, unmodified, against atp-engine with a real registry and real containers, over both forms of the
# sandbox protocol. Usage: run.sh SOURCE_DIR BIN_DIR WORK_DIR. Needs root, npm and a container runtime; 77 when it cannot run.
set -eu
source=$1 bin=$2 work=$3
here=$source/tests/clients/modal_js
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
command -v npm >/dev/null && command -v node >/dev/null || { echo "needs node and npm"; exit 77; }
. "$source/tests/lib/images.sh"

# The SDK stays in WORK_DIR between runs; the lock file says which bytes it is.
mkdir -p "$work"
cp "$here/package.json" "$here/package-lock.json" "$here"/*.mjs "$work"
if ! cmp -s "$work/package-lock.json" "$work/node_modules/.installed"; then
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1) || { cat "$work/npm.log"; echo "the package registry did not give the SDK"; exit 77; }
    cp "$work/package-lock.json" "$work/node_modules/.installed"
fi

state=$(mktemp -d /tmp/atp-modal-js-XXXXXX)
engine=
finish() {
    status=$?
    [ -z "$engine" ] || { kill "$engine" 2>/dev/null && wait "$engine" || true; }
    registry_stop
    [ $status = 0 ] || sed 's/^/engine: /' "$state/log" >&2 || true
    rm -rf "$state"
}
trap finish EXIT

registry_start "$state/registry"
image_busybox "$state/plain.tar" plain:1
registry_push "$state/plain.tar" plain:1
image_busybox "$state/false.tar" false:1 '{"Env":["PATH=/bin"],"Entrypoint":["/bin/false"]}'
registry_push "$state/false.tar" false:1
image_busybox "$state/nothing.tar" nothing:1 '{"Env":["PATH=/bin","GREETING=from the image"],"WorkingDir":"/tmp"}'
registry_push "$state/nothing.tar" nothing:1

"$bin/atp-engine" --listen 127.0.0.1:0 --env-file "$state/env" --state-dir "$state/engine" --log "$state/log" &
engine=$!
for _ in $(seq 200); do
    [ -s "$state/env" ] && break
    kill -0 "$engine" 2>/dev/null || { echo "the engine did not start"; exit 1; }
    sleep 0.05
done
set -a
. "$state/env"
set +a
export REGISTRY MODAL_CONFIG_PATH=$state/none.toml NODE_NO_WARNINGS=1
cd "$work"
for form in false true; do
    MODAL_SANDBOX_V2=$form timeout 120 node sandboxes.mjs
    MODAL_SANDBOX_V2=$form timeout 120 node sidecars.mjs
    MODAL_SANDBOX_V2=$form timeout 120 node ports.mjs
done

# The end of the engine is clean too, and takes its environment file with it.
kill "$engine"
wait "$engine"
engine=
[ ! -e "$state/env" ]
