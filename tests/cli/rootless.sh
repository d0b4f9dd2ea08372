#!/usr/bin/env bash
# The suites of this folder as an ordinary user, who is made for it and removed again: a home of its own, a range in
# /etc/subuid and /etc/subgid, no login session. Also what such a user is told when something is missing.
# Usage: rootless.sh SOURCE_DIR BIN_DIR TESTS_DIR [SUITE...]. Needs root (to make the user); 77 when it cannot run.
set -u
source=$1 bin=$2 tests=$3
shift 3
[ $# -gt 0 ] || set -- rootless/alone run mounts badinput life exec logs cp
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for program in useradd newuidmap newgidmap slirp4netns setpriv bats skopeo docker-registry crun; do
    command -v "$program" >/dev/null || { echo "needs $program"; exit 77; }
done
[ -c /dev/net/tun ] || { echo "needs /dev/net/tun"; exit 77; }
unshare --user true 2>/dev/null || { echo "needs user namespaces"; exit 77; }

user=atp-rootless-$$
work=$(mktemp -d /tmp/atp-rootless-XXXXXX)
tun=$(stat -c %a /dev/net/tun)
failed=0
finish() {
    chmod "$tun" /dev/net/tun
    userdel "$user" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

useradd --no-create-home --home-dir "$work/home" --shell /bin/bash "$user"
# Which ids these are matters to nobody; useradd gives some itself where it is set up so.
for file in uid gid; do
    grep -q "^$user:" "/etc/sub$file" 2>/dev/null || usermod "--add-sub${file}s" 1878000000-1878065535 "$user"
done
uid=$(id -u "$user") gid=$(id -g "$user")
# Source and programs may lie where only root can look.
chmod 755 "$work"
mkdir -p "$work/source" "$work/bin"
install -d -o "$uid" -g "$gid" -m 700 "$work/home"
cp -r "$source/tests" "$work/source/"
cp -r "$bin/." "$work/bin/"
cp -r "$tests" "$work/tools" 2>/dev/null || mkdir -p "$work/tools"
chmod -R a+rX "$work/source" "$work/bin" "$work/tools"

# as_user COMMAND...: with the environment of a fresh log-in.
as_user() {
    (cd "$work/home" && exec env -i HOME="$work/home" USER="$user" LOGNAME="$user" SHELL=/bin/bash TERM=dumb \
        PATH=/usr/local/bin:/usr/bin:/bin ATP_BIN="$work/bin" ATP_TESTS="$work/tools" ATP_DOCKER_BACKEND=local \
        setpriv --reuid="$uid" --regid="$gid" --clear-groups "$@")
}

# told TEXT COMMAND...: the command fails with 125, and one line of its errors has TEXT.
told() {
    local text=$1 said status=0
    shift
    said=$(as_user "$@" 2>&1) || status=$?
    [ "$status" = 125 ] && grep -qF -- "$text" <<<"$said" && return
    echo "not ok: $* ended with $status and did not say \"$text\":"
    echo "$said"
    failed=1
}

for file in uid gid; do
    range=$(grep "^$user:" "/etc/sub$file")
    sed -i "/^$user:/d" "/etc/sub$file"
    told "has no range in /etc/sub$file" "$work/bin/atp-engine" --state-dir "$work/home/e" --socket "$work/home/s"
    echo "$range" >>"/etc/sub$file"
done

# Once without the device, for what is said then.
chmod 600 /dev/net/tun
as_user timeout 300 bats --filter "without a way out" "$work/source/tests/cli/rootless/alone.bats" || failed=1
chmod 666 /dev/net/tun # as udev makes it where there is one

for suite in "$@"; do
    [ -e "$work/source/tests/cli/$suite.bats" ] || continue
    echo "== $suite, as $user"
    as_user timeout 900 bats "$work/source/tests/cli/$suite.bats" || failed=1
done
# The image store in a namespace of that user's: snapshots, with what overlay notes there.
echo "== snapshots, as $user"
as_user unshare --user --map-auto --map-root-user --mount "$work/tools/unit_modal_snapshot" || failed=1

# Nobody of this user is left, but for the dead whom this machine's first process does not collect.
for _ in $(seq 50); do
    left=$(ps -u "$uid" -o pid=,stat=,args= | awk '$2 !~ /^Z/')
    [ -n "$left" ] || break
    sleep 0.1
done
[ -z "$left" ] || { echo "not ok: left:"; echo "$left"; failed=1; kill -KILL $(awk '{ print $1 }' <<<"$left"); }
exit "$failed"
