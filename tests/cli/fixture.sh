#!/usr/bin/env bash
# The image that tests build things in: Debian with gcc and make, as a docker-archive. Usage: fixture.sh SOURCE_DIR FIXTURES_DIR
set -eu
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$1/tests/lib/images.sh"
. "$1/tests/lib/debian.sh"
mkdir -p "$2"
[ ! -s "$2/build.tar" ] || exit 0
trap 'rm -rf "$2/root" "$2/build.tar.new"' EXIT
debian_tree "$2/root" gcc,libc6-dev,make
image_archive "$2/root" '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["bash"]}' build:12 "$2/build.tar.new"
mv "$2/build.tar.new" "$2/build.tar"
