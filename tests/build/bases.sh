#!/usr/bin/env bash
# The images that the Dockerfiles of this folder begin with, made from Debian packages only, in the storage of a docker-registry:
# debian:12, and on top of it, as one more layer each, gcc:12, golang:1.19, node:18 and python:3.11; busybox:1; and static:1, which
# has certificates, a user and no shell. And servers:1 for tests/apps: PostgreSQL, Redis and Python with their clients. Usage: bases.sh SOURCE_DIR DIR; leaves DIR/data. Exits 77 without root.
set -eu
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
source_dir=$1
dir=$2
. "$source_dir/tests/lib/images.sh"
. "$source_dir/tests/lib/debian.sh"
[ ! -e "$dir/data" ] || exit 0
mkdir -p "$dir"
work=$dir/making
merged=$work/merged
finish() {
    ! mountpoint -q "$merged/dev" || umount "$merged/dev"
    ! mountpoint -q "$merged" || umount "$merged"
    registry_stop
    rm -rf --one-file-system "$work"
}
trap finish EXIT
rm -rf --one-file-system "$work"
mkdir -p "$work/oci" "$merged"
path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# apt-get of this machine on the tree DIR, whose own dpkg runs in it.
apt_in() {
    local tree=$1
    shift
    TMPDIR=$tree/tmp DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dir="$tree" -o DPkg::Chroot-Directory="$tree" -o APT::Sandbox::User=root \
        -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$work/lists" "$@" >>"$work/apt.log" 2>&1 ||
        { tail -n 60 "$work/apt.log" >&2; return 1; }
}

# A layer that holds what PACKAGES bring; the trees of documents are as empty as debian_tree leaves them.
layer_of() {
    local name=$1 packages=$2
    mkdir "$work/$name" "$work/$name.work"
    mount -t overlay overlay -o "lowerdir=$work/debian,upperdir=$work/$name,workdir=$work/$name.work,redirect_dir=off,metacopy=off" "$merged"
    # What packages run in there finds devices, and the folder that TMPDIR names.
    mount --bind /dev "$merged/dev"
    mkdir -p "$merged$merged/tmp"
    # shellcheck disable=SC2086
    apt_in "$merged" install -y --no-install-recommends $packages
    umount "$merged/dev"
    umount "$merged"
    (cd "$work/$name" && rmdir -p ".$merged/tmp" 2>/dev/null) || true
    rm -rf "$work/$name"/usr/share/{doc,locale,man} "$work/$name"/var/{cache,log} "$work/$name"/var/lib/apt
    [ -z "$(find "$work/$name" -type c -print -quit)" ] || { echo "$name: a layer that takes away" >&2; return 1; }
}

debian_tree "$work/debian" ca-certificates
rm -rf "$work/debian/var/cache/ldconfig" "$work/debian"/var/log/*
mkdir -p "$work/lists/partial"
apt_in "$work/debian" update
layer_of gcc "gcc libc6-dev make pkg-config"
layer_of golang golang-go
layer_of node nodejs
layer_of python "python3 python3-pip python3-setuptools python3-wheel"
ln -s python3 "$work/python/usr/bin/python"
layer_of_servers() {
    # No cluster is made, nothing is started.
    mkdir -p "$work/debian/etc/postgresql-common"
    echo 'create_main_cluster = false' >"$work/debian/etc/postgresql-common/createcluster.conf"
    printf '#!/bin/sh\nexit 101\n' >"$work/debian/usr/sbin/policy-rc.d"
    chmod 755 "$work/debian/usr/sbin/policy-rc.d"
    layer_of servers "postgresql-15 redis-server python3-psycopg2 python3-redis"
    rm -r "$work/debian/etc/postgresql-common" "$work/debian/usr/sbin/policy-rc.d"
}
layer_of_servers
mkdir "$work/busybox" "$work/static"
image_busybox_tree "$work/busybox"
mkdir -p "$work/static/etc/ssl/certs" "$work/static/tmp" "$work/static/home/nonroot"
cp "$work/debian/etc/ssl/certs/ca-certificates.crt" "$work/static/etc/ssl/certs/"
printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$work/static/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/static/etc/group"
chmod 1777 "$work/static/tmp"
chown 65532:65532 "$work/static/home/nonroot"

python3 "$source_dir/tests/build/layout.py" "$work/oci" \
    debian:12 "{\"Env\":[\"$path\"],\"Cmd\":[\"bash\"]}" "$work/debian" -- \
    gcc:12 "{\"Env\":[\"$path\"],\"Cmd\":[\"bash\"],\"Labels\":{\"maintainer\":\"gcc\"}}" "$work/debian" "$work/gcc" -- \
    golang:1.19 "{\"Env\":[\"$path\",\"GOPATH=/go\",\"GOTOOLCHAIN=local\"],\"Cmd\":[\"bash\"],\"WorkingDir\":\"/go\"}" "$work/debian" "$work/golang" -- \
    node:18 "{\"Env\":[\"$path\",\"NODE_VERSION=18\"],\"Entrypoint\":[\"/usr/bin/env\"],\"Cmd\":[\"node\"]}" "$work/debian" "$work/node" -- \
    python:3.11 "{\"Env\":[\"$path\",\"LANG=C.UTF-8\"],\"Cmd\":[\"python3\"]}" "$work/debian" "$work/python" -- \
    servers:1 "{\"Env\":[\"$path\",\"LANG=C.UTF-8\"],\"Cmd\":[\"bash\"]}" "$work/debian" "$work/servers" -- \
    onbuild:1 "{\"Env\":[\"$path\"],\"Cmd\":[\"cat\",\"/usr/src/app/mode\",\"/usr/src/app/index.txt\"],\"OnBuild\":[\"ARG MODE=production\",\"COPY . /usr/src/app/\",\"RUN echo \$MODE >/usr/src/app/mode\"]}" "$work/busybox" -- \
    busybox:1 "{\"Env\":[\"$path\"],\"Cmd\":[\"sh\"]}" "$work/busybox" -- \
    static:1 "{\"Env\":[\"$path\",\"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\"],\"User\":\"65532\",\"WorkingDir\":\"/home/nonroot\"}" "$work/static"

registry_start "$work/registry"
for name in debian:12 gcc:12 golang:1.19 node:18 python:3.11 servers:1 busybox:1 onbuild:1 static:1; do
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false "oci:$work/oci:$name" "docker://$REGISTRY/library/$name"
done
registry_stop
mv "$work/registry/data" "$dir/data"
