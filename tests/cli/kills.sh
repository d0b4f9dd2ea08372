#!/usr/bin/env bash
# SIGKILL at random instants, while commands change a mount from both sides: the client, the monitor, the agent's session, the
# container's first process, the engine. After each: every file on the host is whole (old or new), what only the host has is as
# it was, and the next command agrees on both sides again. In the end no sandbox is alive. Usage: kills.sh SOURCE_DIR BIN_DIR [KILLS [SEED]]
set -u
source=$1 bin=$2 rounds=${3:-60} seed=${4:-$RANDOM}
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source/tests/lib/images.sh"
. "$source/tests/lib/engine.sh"
work=$(mktemp -d /tmp/atp-kills-XXXXXX)
finish() {
    engine_stop || true
    registry_stop
    [ -n "${keep:-}" ] || rm -rf --one-file-system "$work"
}
trap finish EXIT
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run ATP_DOCKER_BACKEND=local
mkdir -p "$work/run" "$work/bin" "$work/tree/keep"
ln -s "$bin/atp-docker" "$work/bin/docker"
PATH=$work/bin:$PATH
registry_start "$work/registry"
marker=${work##*/}
mkdir "$work/root"
image_busybox_tree "$work/root"
touch "$work/root/bin/$marker"
image_archive "$work/root" '{"Env":["PATH=/bin"],"Cmd":["sh"]}' busybox:1 "$work/busybox.tar"
registry_push "$work/busybox.tar" busybox:1
image=$REGISTRY/busybox:1
docker pull -q "$image" >/dev/null || exit 1
RANDOM=$seed
echo "seed $seed"

# A whole file is its token on many lines and an end; half of one, or a mixture, shows.
body() { # TOKEN
    local i
    for i in $(seq 400); do echo "$1 $i ........................................................"; done
    echo "end $1"
}
whole() { # FILE
    local first last
    first=$(head -n 1 "$1" | cut -d' ' -f1)
    last=$(tail -n 1 "$1")
    [ "$last" = "end $first" ] && [ "$(wc -l <"$1")" = 401 ] && [ "$(cut -d' ' -f1 "$1" | sort -u | wc -l)" = 2 ]
}
for i in 1 2 3; do body "keep$i" >"$work/tree/keep/$i"; done
(cd "$work/tree/keep" && sha256sum ./*) >"$work/keep.sum"
printf 'for f in a b c; do t=$1.$f; { i=1; while [ $i -le 400 ]; do echo "$t $i ........................................................"; i=$((i+1)); done; echo "end $t"; } >/work/.t.$f; mv /work/.t.$f /work/c.$f; done; rm -f /work/gone.*; echo x >/work/gone.$1\n' >"$work/change.sh"

fail() {
    echo "round $round ($victim): $*"
    failed=1
}
container_up() {
    docker rm -f box >/dev/null 2>&1
    docker run -d --name box --label modal.orphan_grace=3 -v "$work/tree:/work" "$image" sleep 100000 >/dev/null 2>"$work/up.err" ||
        { fail "no container: $(cat "$work/up.err")"; return 1; }
    docker cp "$work/change.sh" box:/change.sh || fail "cp"
}
# The pids of processes whose command line has these words and that belong to this test.
pids_of() {
    local p
    for p in /proc/[0-9]*; do
        { tr '\0' ' ' <"$p/cmdline" | grep -qE "$1"; } 2>/dev/null || continue
        [ -n "${2:-}" ] || { tr '\0' '\n' <"$p/environ" | grep -qxF "XDG_STATE_HOME=$XDG_STATE_HOME"; } 2>/dev/null || continue
        echo "${p#/proc/}"
    done
}
# The agents of this engine's sandboxes: their root is the only one that has the words of this test's image.
agents() { # init|session
    local p
    for p in $(pids_of "/agent $1" any); do
        [ -e "/proc/$p/root/bin/$marker" ] && echo "$p"
    done
}
check_host() {
    local f
    (cd "$work/tree/keep" && sha256sum --quiet -c "$work/keep.sum") >"$work/sum" 2>&1 || fail "the host's own files: $(cat "$work/sum")"
    for f in "$work"/tree/c.* "$work"/tree/h.*; do
        [ ! -f "$f" ] || whole "$f" || fail "${f##*/} is not whole: $(head -1 "$f"), $(wc -l <"$f") lines, $(tail -1 "$f")"
    done
}
failed=0 round=0 victim=start
declare -A count hit
container_up || exit 1
killed=0
while [ $killed -lt "$rounds" ]; do
    round=$((round + 1))
    case $((RANDOM % 20)) in
    0) victim=engine ;;
    1 | 2) victim=init ;;
    3 | 4 | 5 | 6) victim=monitor ;;
    7 | 8 | 9 | 10 | 11) victim=session ;;
    *) victim=client ;;
    esac
    count[$victim]=$((${count[$victim]:-0} + 1))
    body "h$round" >"$work/tree/.h" && mv "$work/tree/.h" "$work/tree/h.$((round % 3))"
    docker exec box sh /change.sh "r$round" >"$work/out" 2>"$work/err" &
    client=$!
    sleep "0.$(printf %03d $((RANDOM % 60)))"
    case $victim in
    client) victims=$client ;;
    monitor) victims=$(pids_of 'monitor') ;;
    session) victims=$(agents session) ;;
    init) victims=$(agents init) ;;
    engine) victims=$(engine_pid) ;;
    esac
    for p in $victims; do
        kill -9 "$p" 2>/dev/null && hit[$victim]=$((${hit[$victim]:-0} + 1)) && killed=$((killed + 1))
    done
    wait "$client" 2>/dev/null
    check_host
    case $victim in
    engine | init) # the container has died with it; that is said, and its name is free for another
        for _ in 1 2 3 4 5 6 7 8 9 10; do docker exec box true 2>/dev/null || break; sleep 0.3; done
        container_up || break
        ;;
    monitor) container_up || break ;; # nobody watches any more: that is missed by nobody, but the next one is to be killed too
    esac
    # The next command works and both sides agree, once the command whose client was killed has come to its own end.
    docker exec box sh -c 'cd /work; while ps | grep -q "[c]hange.sh"; do sleep 0.05; done; for f in c.* h.* keep/*; do [ ! -f "$f" ] || sha256sum "$f"; done' >"$work/theirs" 2>"$work/err" ||
        fail "the next exec: $? $(cat "$work/err")"
    [ ! -s "$work/err" ] || grep -v 'kept in' "$work/err" | sed "s/^/round $round ($victim): note: /"
    (cd "$work/tree" && for f in c.* h.* keep/*; do [ ! -f "$f" ] || sha256sum "$f"; done) >"$work/ours"
    cmp -s "$work/theirs" "$work/ours" || fail "the sides differ: $(diff "$work/theirs" "$work/ours" | head -5)"
    check_host
    ls "$work/tree"/.atp* "$work/tree"/*.atp-tmp* >/dev/null 2>&1 && fail "temporary files are left: $(ls -A "$work/tree")"
    [ "$failed" = 0 ] || break
done
victim=end
if [ "$failed" = 0 ]; then
    docker rm -f box >/dev/null || fail "rm -f"
    check_host
fi
sleep 6 # the orphan grace, and some
[ -z "$(agents init)" ] || fail "sandboxes are alive: $(agents init)"
[ -z "$(pids_of monitor)" ] || fail "monitors are alive: $(pids_of monitor)"
[ -z "$(docker ps -aq)" ] || fail "containers are left: $(docker ps -a)"
for v in "${!count[@]}"; do echo "$v: ${count[$v]} rounds, ${hit[$v]:-0} processes killed"; done
echo "$killed processes killed in $round rounds"
exit "$failed"
