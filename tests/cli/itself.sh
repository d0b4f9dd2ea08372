#!/usr/bin/env bash
# atp-docker builds itself: this tree, bind-mounted, in a sandbox of the engine, with an image made of the packages that a build needs.
# Usage: itself.sh SOURCE_DIR BIN_DIR
set -eu
source_dir=$1
bin=$2
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source_dir/tests/lib/images.sh"
. "$source_dir/tests/lib/engine.sh"
. "$source_dir/tests/lib/debian.sh"
. "$source_dir/tests/lib/tree.sh"
. "$source_dir/tests/lib/packages.sh"
work=$(mktemp -d /tmp/atp-itself-XXXXXX)
finish() {
    registry_stop
    engine_stop || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run ATP_DOCKER_BACKEND=local
mkdir -p "$work/run" "$work/tree"
debian_tree "$work/root" "$(echo $PACKAGES_build | tr -s ' ' ,)"
image_archive "$work/root" '{"Cmd":["bash"]}' self:1 "$work/self.tar"
rm -rf "$work/root"
registry_start "$work/registry"
registry_push "$work/self.tar" self:1
rm "$work/self.tar"
copy_source "$source_dir" "$work/tree"
cd "$work/tree"
"$bin/atp-docker" run --rm -v "$PWD:/src" -w /src "$REGISTRY/self:1" sh -c 'cmake -S . -B build -DATP_TESTS=OFF >/dev/null && cmake --build build -j2'
for program in atp-docker atp-agent atp-engine; do
    [ -x "build/bin/$program" ]
done
build/bin/atp-docker --version
build/bin/atp-engine --version
# What came out works: the new program runs a container on the new engine.
engine_stop
[ "$(build/bin/atp-docker run --rm "$REGISTRY/self:1" echo built by itself)" = "built by itself" ]
