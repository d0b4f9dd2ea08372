# Shared by the suites of this folder. Each suite has a registry, a state folder and an engine of its own; all of them
# are ended by pid at its end, and what is left on the machine then fails the suite.
#
#   suite_start / suite_stop    from setup_file / teardown_file
#   docker ...                  the program under test. A job in the background that is to be killed is "$ATP_BIN/atp-docker":
#                               $! of this function would be a shell's
#   until_true SECONDS COMMAND...   waits for what must become true
#   push_image NAME CONFIG TREE_COMMANDS   an image of busybox plus what the commands do in $tree

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tests/lib/images.sh"
. "$ROOT/tests/lib/engine.sh"

suite_start() {
    export ATP_BIN=${ATP_BIN:-$ROOT/build/bin}
    export SUITE=$(mktemp -d /tmp/atp-cli-XXXXXX)
    export XDG_STATE_HOME=$SUITE/state XDG_CONFIG_HOME=$SUITE/config XDG_RUNTIME_DIR=$SUITE/run
    export ATP_DOCKER_BACKEND=local HOME=$SUITE/home
    unset DOCKER_HOST DOCKER_CONTEXT MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH
    mkdir -p "$XDG_RUNTIME_DIR" "$HOME"
    registry_start "$SUITE/registry" 3>&-
    export REGISTRY REGISTRY_PID
    image_busybox "$SUITE/busybox.tar" busybox:1
    registry_push "$SUITE/busybox.tar" busybox:1
    export IMAGE=$REGISTRY/busybox:1
    docker pull -q "$IMAGE" >/dev/null 3>&-
}

# What carries the suite's name: mounts and processes. Links, cgroups and firewall chains are compared once for all suites
# (leftovers.sh).
suite_left() {
    grep "$SUITE" /proc/mounts
    pgrep -af "$SUITE"
}

suite_stop() {
    local left
    engine_stop
    registry_stop
    # What was just told to end, or ends because its engine did, gets the time that a busy machine needs for it.
    for _ in $(seq 150); do
        left=$(suite_left) || true
        [ -n "$left" ] || break
        sleep 0.2
    done
    [ -z "$left" ] || { echo "left:"; echo "$left"; return 1; }
    image_as_root rm -rf "$SUITE" # containers' files have owners of their own
}

# until_true SECONDS COMMAND...: polls it. The seconds are those of an idle machine; one that is slow and busy gets five times them.
until_true() {
    local end=$((SECONDS + 5 * $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "never became true: $*"; return 1; }
        sleep 0.05
    done
}

docker() {
    "$ATP_BIN/atp-docker" "$@"
}

# push_image NAME CONFIG COMMANDS: busybox changed by COMMANDS (run with $tree set), with CONFIG.
push_image() {
    image_changed "$SUITE/$$.tar" "$1" "$2" "$3"
    registry_push "$SUITE/$$.tar" "$1"
    rm -f "$SUITE/$$.tar"
}
