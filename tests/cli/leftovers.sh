#!/usr/bin/env bash
# Nothing that the suites start may be left on the machine: the first test records what there is, the last one compares.
# Usage: leftovers.sh record|compare BIN_DIR FILE
set -u
mkdir -p "$2" "$(dirname "$3")"
bin=$(cd "$2" && pwd)
list() {
    local exe target pid
    for exe in /proc/[0-9]*/exe; do
        target=$(readlink "$exe" 2>/dev/null) || continue
        pid=${exe#/proc/}
        case $target in "$bin"/*) echo "process ${pid%/exe} $target" ;; esac
    done
    grep -o ' /tmp/atp-[^ ]*' /proc/mounts | sed 's/^/mount/'
    find /sys/fs/cgroup/*/atp-engine /sys/fs/cgroup/atp-engine -mindepth 2 -type d -name 'sb-*' 2>/dev/null | sed 's/^/cgroup /'
    ls /sys/class/net | sed -nE 's/^atp[0-9]+v/link &/p'
    ls /run/netns 2>/dev/null | sed -n 's/^atp/namespace &/p'
    [ "$(id -u)" != 0 ] || ! command -v iptables-save >/dev/null || iptables-save 2>/dev/null | sed -nE 's/^:(ATP[0-9][^ ]*).*/chain \1/p'
}
if [ "$1" = record ]; then
    list | sort >"$3"
    exit 0
fi
# What ends by itself gets a moment to do so.
for _ in $(seq 300); do
    left=$(list | sort | comm -13 "$3" -)
    [ -n "$left" ] || exit 0
    sleep 0.2
done
echo "left behind:"
echo "$left"
exit 1
