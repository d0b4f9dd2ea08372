# Never a leak. A client is killed with -9 at every step by which it changes something outside itself (tests/tools/kill_at.c):
# the next command works, and once nobody needs them neither sandbox, nor row, nor intent, nor folder is left.
bats_require_minimum_version 1.5.0
load common
load killed

setup_file() {
    suite_start
    export ATP_TESTS=${ATP_TESTS:-$ROOT/build/tests}
    docker run --rm "$IMAGE" true
}
teardown_file() { suite_stop; }

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

@test "run --rm, killed at every step" {
    after() {
        docker ps -a >/dev/null || complain "ps does not work"
        until_true 20 nothing_left || complain "something is left"
    }
    walk run --rm --label modal.orphan_grace=1 "$IMAGE" true
    [ "$status" -eq 0 ]
}

@test "run --rm with a mount, killed at every step: what the host had is there, whole" {
    after() {
        [ "$(cat tree/kept)" = kept ] || complain "the host's file is damaged"
        [ ! -e tree/made ] || [ "$(cat tree/made)" = made ] || complain "half a file came"
        rm -f tree/made
        until_true 20 nothing_left || complain "something is left"
    }
    mkdir tree
    echo kept >tree/kept
    walk run --rm --label modal.orphan_grace=1 -v "$PWD/tree:/w" "$IMAGE" sh -c 'echo made >/w/made'
    [ "$status" -eq 0 ]
}

@test "run -d --rm, killed at every step" {
    after() {
        local id
        id=$(docker ps -aq --no-trunc --filter name=leak) || complain "ps does not work"
        [ -z "$id" ] || docker rm -f "$id" >/dev/null || complain "rm -f does not work"
        docker run -d --rm --name leak "$IMAGE" sleep 1000 >/dev/null || complain "the name cannot be used"
        docker rm -f leak >/dev/null
        until_true 20 nothing_left || complain "something is left"
    }
    walk run -d --rm --name leak "$IMAGE" sleep 1000
    [ "$status" -eq 0 ]
}

@test "start, killed at every step" {
    after() {
        docker start leak >/dev/null || complain "it cannot be started"
        [ "$(docker exec leak cat /kept)" = kept ] || complain "its files are lost"
        docker kill leak >/dev/null || complain "it cannot be killed"
        until_true 20 no_sandbox || complain "a sandbox is left"
    }
    n=0
    docker run --name leak "$IMAGE" sh -c 'echo kept >/kept' # what `start` starts runs again
    docker rm leak >/dev/null
    docker run --name leak "$IMAGE" sh -c 'echo kept >/kept; exec sleep 1000' &
    until_true 20 docker exec leak cat /kept
    docker kill leak >/dev/null
    wait $! || true
    walk start leak
    [ "$status" -eq 0 ]
    docker rm -f leak
    until_true 20 nothing_left || complain "something is left"
}

@test "exec, killed at every step: the container and its mount stay whole" {
    after() {
        [ "$(docker exec leak echo alive)" = alive ] || complain "the container does not answer"
        [ "$(cat tree/kept)" = kept ] || complain "the host's file is damaged"
        for file in tree/made*; do
            [ "$file" = 'tree/made*' ] || [ "$(cat "$file")" = made ] || complain "half a file came"
        done
    }
    mkdir tree
    echo kept >tree/kept
    docker run -d --rm --name leak -v "$PWD/tree:/w" "$IMAGE" sleep 1000
    walk exec leak sh -c 'echo made >/w/made$$'
    [ "$status" -eq 0 ]
    docker rm -f leak
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "stop, killed at every step" {
    after() {
        docker stop -t 1 leak >/dev/null || complain "it cannot be stopped"
        docker start leak >/dev/null || complain "it cannot be started"
    }
    docker run -d --name leak "$IMAGE" sleep 1000
    walk stop -t 1 leak
    [ "$status" -eq 0 ]
    docker rm -f leak
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "rm -f, killed at every step" {
    after() {
        until_true 20 docker rm -f leak || complain "rm -f does not work" # the monitor may be removing it
        until_true 20 nothing_left || complain "something is left"
        docker run -d --name leak "$IMAGE" sleep 1000 >/dev/null || complain "the name cannot be used"
    }
    docker run -d --name leak "$IMAGE" sleep 1000
    walk rm -f leak
    [ "$status" -eq 0 ]
    docker rm -f leak
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "a monitor that is killed is not missed" {
    docker run -d --rm --name leak "$IMAGE" sleep 8
    kill -9 "$(monitor_of leak)"
    n=0
    until_true 20 nothing_left || complain "something is left"
    docker run -d --name leak "$IMAGE" sh -c 'echo kept >/kept; exec sleep 1000'
    kill -9 "$(monitor_of leak)"
    docker stop -t 1 leak
    until_true 20 no_sandbox || complain "a sandbox is left"
    docker start leak
    [ "$(docker exec leak cat /kept)" = kept ]
    docker rm -f leak
    until_true 20 nothing_left || complain "something is left"
}

@test "an engine that is killed, and started again by the next command" {
    docker run -d --rm --name leak "$IMAGE" sleep 1000
    docker run -d --name kept "$IMAGE" sleep 1000
    kill -9 "$(engine_pid)"
    docker ps -a >/dev/null
    until_true 60 docker rm -f leak kept
    n=0
    until_true 60 nothing_left || complain "something is left"
}

@test "an engine killed while a client waits on it: the next run starts another, at once" {
    local client i
    for i in $(seq 10); do
        rm -f "$SUITE/up"
        docker run --rm --network none "$IMAGE" sh -c 'echo up; sleep 300' >"$SUITE/up" 2>/dev/null 3>&- &
        client=$!
        until_true 10 grep -qs up "$SUITE/up"
        kill -KILL "$(engine_pid)"
        sleep "0.0$((i % 3))" # dying, or dead
        [ "$(timeout 60 "$ATP_BIN/atp-docker" run --rm --network none "$IMAGE" echo fine)" = fine ]
        wait "$client" || continue
        return 1
    done
}

@test "two scopes on one engine never touch each other" {
    docker run -d --name same "$IMAGE" sleep 1000
    docker pull -q "$IMAGE" >/dev/null
    other() { XDG_STATE_HOME=$SUITE/state2 XDG_CONFIG_HOME=$SUITE/config2 "$@"; }
    mkdir -p "$SUITE/state2/atp-docker"
    ln -s "$(state)/engine" "$SUITE/state2/atp-docker/engine"
    other docker run -d --name same "$IMAGE" sleep 1000
    [ "$(other docker ps -q | wc -l)" -eq 1 ]
    other docker rm -f $(other docker ps -aq)
    other docker container prune -f
    [ "$(docker exec same echo alive)" = alive ]
    docker rm -f same
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "a deleted state folder: running containers are found again" {
    docker run -d --name lost -e A=b "$IMAGE" sh -c 'echo kept >/kept; exec sleep 1000'
    until_true 10 docker exec lost cat /kept
    find "$(state)" -mindepth 1 -maxdepth 1 ! -name engine -exec rm -rf {} +
    [ "$(docker ps --format '{{.Names}}')" = lost ]
    [ "$(docker exec lost sh -c 'cat /kept; echo $A')" = "$(printf 'kept\nb')" ]
    docker rm -f lost
    n=0
    until_true 20 nothing_left || complain "something is left"
}
