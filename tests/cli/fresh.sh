#!/usr/bin/env bash
# README's first command on a fresh Debian 12: a root made by debootstrap with nothing installed, this source tree in it, and the command.
# Usage: fresh.sh SOURCE_DIR [COMMAND]     COMMAND: README's other one, "bash tests/run", by hand
set -eu
source_dir=$1
command=${2:-bash tests/demo.sh}
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
[ -z "${ATP_FRESH:-}" ] || { echo "runs in such a root already"; exit 77; }
. "$source_dir/tests/lib/debian.sh"
. "$source_dir/tests/lib/tree.sh"
work=$(mktemp -d /tmp/atp-fresh-XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
debian_tree "$root" ca-certificates
cp /etc/resolv.conf "$root/etc/resolv.conf"
rm -f "$root/etc/apt/sources.list.d/"*
echo "deb $(debian_mirror) bookworm main" >"$root/etc/apt/sources.list"
mkdir -p "$root/src"
copy_source "$source_dir" "$root/src"
# A mount namespace whose root is the new system (no chroot: containers are to be kept apart in there). It is gone with its mounts.
unshare --mount --pid --fork --kill-child bash -eu -c '
    root=$1
    mount --make-rprivate /
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mkdir -p old
    pivot_root . old
    umount -l /old
    rmdir /old
    # This shell stays as the first process: it collects what ends without a parent, as an init does.
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb CI=true ATP_FRESH=1 ATP_CLIENTS="${ATP_CLIENTS:-}" bash -c "cd /src && $2" &
    wait $!
' bash "$root" "$command"
