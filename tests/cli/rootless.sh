#!/usr/bin/env bash
# The suites of this folder as an ordinary user, who is made for it and removed again: a home of its own, a range in
# /etc/subuid and /etc/subgid, no login session. Also what such a user is told when something is missing.
# Usage: rootless.sh SOURCE_DIR BIN_DIR TESTS_DIR [--all | SUITE...]. Without a choice every kind of thing is tried in some
# minutes; --all runs every suite whole. Needs root (to make the user); 77 when it cannot run.
set -u
source=$1 bin=$2 tests=$3
shift 3
case ${1-} in
"") set -- rootless/alone run mounts life exec logs lists barriers \
    "cp:sparse file|a killed copy|many copies|arrives here" \
    "badinput:no kernel takes|dies under the run|engine killed|state is gone|deep folders|special files|mounts inside|ten runs" \
    "faults:no fault|idle engine|dies while" \
    "leaks:engine killed|monitor|two scopes|deleted state" ;;
--all) set -- rootless/alone run mounts life exec logs lists barriers cp badinput faults faults_stay liar leaks ;;
esac
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

# told TEXT COMMAND...: the command fails with 125, and TEXT is in the one line that it says.
told() {
    local text=$1 said status=0
    shift
    said=$(as_user "$@" 2>&1 | grep -v -e "^$" -e "^Run 'docker"; exit "${PIPESTATUS[0]}") || status=$?
    [ "$status" = 125 ] && [ "$(wc -l <<<"$said")" = 1 ] && grep -qF -- "$text" <<<"$said" && return
    echo "not ok: $* ended with $status and did not say \"$text\":"
    echo "$said"
    failed=1
}

# without PROGRAM COMMAND...: while that program is not there, for this command only.
without() {
    local path
    path=$(readlink -f "$(command -v "$1")")
    shift
    # as_user, told and their like are functions of this shell, so it is a shell that goes into the namespace.
    export -f as_user told
    export work user uid gid failed
    unshare --mount bash -c 'mount --bind /dev/null "$1" && shift && "$@"; [ $? = 0 ] && [ "$failed" = 0 ]' - "$path" "$@" || failed=1
}

engine=("$work/bin/atp-engine" --state-dir "$work/home/e" --socket "$work/home/s")
run=("$work/bin/atp-docker" run --rm --network none localhost:1/nothing)
for file in uid gid; do
    range=$(grep "^$user:" "/etc/sub$file")
    sed -i "/^$user:/d" "/etc/sub$file"
    told "has no range in /etc/sub$file" "${engine[@]}"
    echo "$range" >>"/etc/sub$file"
done
for program in newuidmap newgidmap; do
    without "$program" told "$program: it is not there: install the package uidmap" "${engine[@]}"
done
without crun told "install" "${engine[@]}"
told "runc cannot run containers without root" env ATP_ENGINE_RUNTIME=runc "${engine[@]}"
# As where the administrator has switched them off: in a namespace that has no more of them to give.
told "ordinary users may not make user namespaces" unshare --user --map-auto --map-root-user sh -c \
    'echo 0 >/proc/sys/user/max_user_namespaces; ids=$1; shift; exec setpriv --reuid="$ids" --regid="$ids" --clear-groups "$@"' \
    - "$uid" "${engine[@]}"
install -d -o "$uid" -g "$gid" -m 500 "$work/closed"
told "the state folder (XDG_STATE_HOME or HOME" env HOME="$work/closed" "${run[@]}"
told "the state folder (XDG_STATE_HOME or HOME" env HOME=/nowhere "${run[@]}"

# The suite of its own, once without each half of the network, for what is said then.
alone="timeout 900 bats --filter without.a.way.out $work/source/tests/cli/rootless/alone.bats"
chmod 600 /dev/net/tun
as_user $alone || failed=1
chmod 666 /dev/net/tun # as udev makes it where there is one
without slirp4netns as_user $alone

for suite in "$@"; do
    file=$work/source/tests/cli/${suite%%:*}.bats only=${suite#"${suite%%:*}"} began=$SECONDS
    echo "== $suite, as $user"
    as_user timeout 1800 bats ${only:+--filter "${only#:}"} "$file" || failed=1
    echo "# $((SECONDS - began)) s"
done
# The image store in a namespace of that user's: snapshots, with what overlay notes there.
echo "== snapshots, as $user"
as_user unshare --user --map-auto --map-root-user --mount "$work/tools/unit_modal_snapshot" || failed=1

# Nobody of this user is left, but for the dead whom this machine's first process does not collect.
for _ in $(seq 300); do
    left=$(ps -u "$uid" -o pid=,stat=,args= | awk '$2 !~ /^Z/')
    [ -n "$left" ] || break
    sleep 0.1
done
[ -z "$left" ] || { echo "not ok: left:"; echo "$left"; failed=1; kill -KILL $(awk '{ print $1 }' <<<"$left"); }
exit "$failed"
