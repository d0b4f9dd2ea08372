#!/usr/bin/env bash
# The main job, from nothing: installs what is needed, builds atp-docker, makes an image with a C compiler out of Debian packages,
# pushes it to a real registry, and builds zlib from Debian's source package in a sandbox of the embedded engine, from a
# bind-mounted tree. Its test suite passes in there; the programs that it leaves on the host run on the host.
# Usage: tests/demo.sh [FOLDER]   (default: a temporary one, removed at the end)
set -eu
cd "$(dirname "$0")/.."
source_dir=$PWD
. tests/lib/packages.sh
. tests/lib/images.sh
. tests/lib/engine.sh
step() { printf '\n==> %s\n' "$*"; }

step "packages"
packages_install build engine demo

step "building atp-docker, atp-agent and atp-engine"
build=${ATP_BUILD_DIR:-build}
cmake -S . -B "$build" -DATP_TESTS=OFF >/dev/null
cmake --build "$build" -j "$(nproc)" | tail -n 1
bin=$(cd "$build/bin" && pwd)

work=${1:-}
if [ -z "$work" ]; then
    work=$(mktemp -d /tmp/atp-demo-XXXXXX)
    trap 'demo_end; rm -rf "$work"' EXIT
else
    mkdir -p "$work"
    trap 'demo_end' EXIT
fi
demo_end() {
    registry_stop
    engine_stop
}
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run ATP_DOCKER_BACKEND=local
mkdir -p "$work/run"

step "an image with gcc and make, from Debian packages"
. tests/lib/debian.sh
debian_tree "$work/root" "gcc,libc6-dev,make"
image_archive "$work/root" '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["bash"]}' build:12 "$work/image.tar"
rm -rf "$work/root"

step "pushing it to a registry"
registry_start "$work/registry"
registry_push "$work/image.tar" build:12
rm -f "$work/image.tar"

step "zlib's source package"
debian_source "$work/src" zlib
tree=$(echo "$work"/src/zlib-*/)
printf '%s C files in %s\n' "$(find "$tree" -name '*.c' | wc -l)" "$tree"

step "docker run --rm -v \$PWD:/work -w /work $REGISTRY/build:12 sh -c './configure && make && make test'"
cd "$tree"
"$bin/atp-docker" run --rm -v "$PWD:/work" -w /work "$REGISTRY/build:12" sh -c './configure && make -j2 && make test'

step "what the sandbox left here, run here"
printf 'made in a sandbox, run on the host\n' | ./minigzip | ./minigzip -d
LD_LIBRARY_PATH=. ./examplesh
cd "$source_dir"
step "done: README's other command, tests/run, runs the tests"
