#!/usr/bin/env bash
# The dev containers command line, unmodified from its package, with atp-docker first on the PATH as `docker`: a workspace with an
# image, one with a compose file; up, exec, an edit seen on both sides, up again (the same container), stop.
# Usage: run.sh SOURCE_DIR BIN_DIR WORK_DIR [real DOCKER-BIN-DIR]: with `real` the programs there are used instead of ours, with
# the registry in $REGISTRY. Needs root, npm; 77 when it cannot run.
set -eu
source=$1 bin=$2 work=$3 real=${4:-}
here=$source/tests/clients/devcontainers
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
command -v npm >/dev/null && command -v node >/dev/null || { echo "needs node and npm"; exit 77; }
. "$source/tests/lib/images.sh"
. "$source/tests/lib/engine.sh"
mkdir -p "$work"
cp "$here/package.json" "$here/package-lock.json" "$work"
if ! cmp -s "$work/package-lock.json" "$work/node_modules/.installed"; then
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1) ||
        { cat "$work/npm.log"; echo "the package registry did not give the program"; exit 77; }
    cp "$work/package-lock.json" "$work/node_modules/.installed"
fi
devcontainer=$work/node_modules/.bin/devcontainer

tmp=$(mktemp -d /tmp/atp-devc-XXXXXX)
finish() {
    code=$?
    [ $code = 0 ] || tail -n 40 "$tmp"/*.log >&2 || true
    [ "$real" = real ] || { registry_stop; engine_stop || true; }
    rm -rf --one-file-system "$tmp"
    exit $code
}
trap finish EXIT
export HOME=$tmp/home
mkdir -p "$tmp/run" "$tmp/home" "$tmp/bin" "$tmp/registry"
if [ "$real" = real ]; then
    PATH=$5:$PATH
else
    export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run ATP_DOCKER_BACKEND=local
    unset DOCKER_HOST DOCKER_CONTEXT
    bases=$(dirname "$bin")/fixtures/bases
    bash "$source/tests/build/bases.sh" "$source" "$bases"
    ln -s "$bases/data" "$tmp/registry/data"
    registry_start "$tmp/registry"
    ln -s "$bin/atp-docker" "$tmp/bin/docker"
    PATH=$tmp/bin:$PATH
fi
fail() { echo "FAILED: $*" >&2; exit 1; }

# up FOLDER: sets `id`, the container
up() {
    timeout 200 "$devcontainer" up --workspace-folder "$1" --log-level debug >"$tmp/up.out" 2>"$tmp/up.log" || { cat "$tmp/up.out"; fail "up $1"; }
    id=$(sed -n 's/.*"containerId":"\([0-9a-f]*\)".*/\1/p' "$tmp/up.out")
    [ -n "$id" ] || { cat "$tmp/up.out"; fail "up says no container"; }
}
inside() {
    local folder=$1
    shift
    timeout 60 "$devcontainer" exec --workspace-folder "$folder" "$@" 2>"$tmp/exec.log"
}

# What both kinds of workspace can do.
work_in() {
    local folder=$1
    [ "$(inside "$folder" cat from-host)" = "from the host" ] || fail "$folder: the host's file"
    inside "$folder" sh -c 'echo from the container >from-container; rm goes' || fail "$folder: exec"
    [ "$(cat "$folder/from-container")" = "from the container" ] || fail "$folder: the container's file"
    [ ! -e "$folder/goes" ] || fail "$folder: what the container removed"
    echo again >"$folder/from-host"
    [ "$(inside "$folder" cat from-host)" = again ] || fail "$folder: the host's edit"
    [ "$(inside "$folder" sh -c 'echo $SET_HERE')" = "in the file" ] || fail "$folder: remoteEnv"
    [ "$(inside "$folder" cat /created)" = "created once" ] || fail "$folder: onCreateCommand"
    inside "$folder" sh -c 'exit 5' && fail "$folder: an exit code that is lost"
    local first=$id
    up "$folder"
    [ "$id" = "$first" ] || fail "$folder: up made another container"
    [ "$(inside "$folder" cat /created)" = "created once" ] || fail "$folder: onCreateCommand came twice"
}
workspace() {
    mkdir -p "$1/.devcontainer"
    echo from the host >"$1/from-host"
    : >"$1/goes"
}

one=$tmp/one
workspace "$one"
cat >"$one/.devcontainer/devcontainer.json" <<EOT
{"name": "one", "image": "$REGISTRY/library/debian:12", "remoteEnv": {"SET_HERE": "in the file"},
 "onCreateCommand": "echo created once >>/created", "forwardPorts": [3000], "runArgs": ["--init"]}
EOT
up "$one"
work_in "$one"
docker stop -t 1 "$id" >/dev/null
docker rm "$id" >/dev/null
echo "a workspace with an image: all of it held"

two=$tmp/two
workspace "$two"
cat >"$two/.devcontainer/devcontainer.json" <<'EOT'
{"name": "two", "dockerComposeFile": "compose.yaml", "service": "dev", "workspaceFolder": "/src", "remoteEnv": {"SET_HERE": "in the file"},
 "onCreateCommand": "echo created once >>/created"}
EOT
cat >"$two/.devcontainer/compose.yaml" <<EOT
services:
  dev:
    image: $REGISTRY/library/debian:12
    command: sleep infinity
    volumes: [..:/src]
  neighbour:
    image: $REGISTRY/library/busybox:1
    command: sh -c 'mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www'
EOT
up "$two"
work_in "$two"
inside "$two" bash -c 'exec 3<>/dev/tcp/neighbour/80; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3' | grep -q '^hello' || fail "the neighbour does not answer"
project=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$id")
docker compose --project-name "$project" stop -t 1 2>/dev/null || fail "compose stop"
[ -z "$(docker ps -q)" ] || fail "containers run after stop"
docker compose --project-name "$project" down 2>/dev/null || fail "compose down"
[ -z "$(docker ps -aq)" ] || fail "containers are left"
echo "a workspace with a compose file: all of it held"
