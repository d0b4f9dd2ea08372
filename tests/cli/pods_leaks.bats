# Never a leak, with networks: a client is killed with -9 at every step by which it changes something outside itself; the
# next command works, and once nobody needs them neither pod, sandbox, row, intent nor folder is left.
bats_require_minimum_version 1.5.0
load common
load killed

setup_file() {
    suite_start
    export ATP_TESTS=${ATP_TESTS:-$ROOT/build/tests}
    docker network create net1
    docker run --rm --network net1 "$IMAGE" true
}
teardown_file() { suite_stop; }

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

@test "run --rm into a network of its own making, killed at every step" {
    after() {
        docker ps -a >/dev/null || complain "ps does not work"
        docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null || true
        until_true 20 nothing_left || complain "something is left"
    }
    walk run --rm --network net1 --name leak "$IMAGE" true
    [ "$status" -eq 0 ]
}

@test "run -d beside another container, killed at every step" {
    docker run -d --name stays --network net1 "$IMAGE" sleep 1000
    others() { docker atp recover >/dev/null && [ "$(rows | grep -c .)" -eq 4 ] && [ "$(sandboxes | wc -l)" -eq 1 ]; }
    after() {
        docker rm -f leak >/dev/null 2>&1 || true
        until_true 20 others || complain "not only the other one is left"
        docker exec stays true || complain "the other one is gone"
    }
    walk run -d --network net1 --name leak "$IMAGE" sleep 1000
    [ "$status" -eq 0 ]
    docker rm -f stays
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "stop and rm -f of the last one, killed at every step" {
    after() {
        until_true 20 docker rm -f leak || complain "rm -f does not work" # the monitor may be removing it
        until_true 20 nothing_left || complain "something is left"
        docker run -d --name leak --network net1 "$IMAGE" sleep 1000 >/dev/null || complain "the name cannot be used"
    }
    docker run -d --name leak --network net1 "$IMAGE" sleep 1000
    walk stop -t 0 leak
    walk rm -f leak
    docker rm -f leak
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "start of one that was stopped, killed at every step" {
    after() {
        docker ps -a >/dev/null || complain "ps does not work"
        docker start leak >/dev/null || complain "it does not start any more"
        [ "$(docker exec leak cat /kept)" = kept ] || complain "its files are gone"
        docker stop -t 0 leak >/dev/null || complain "it does not stop"
    }
    docker run -d --name leak --network net1 "$IMAGE" sh -c 'echo kept >/kept; exec sleep 1000'
    docker stop -t 0 leak
    walk start leak
    [ "$status" -eq 0 ]
    docker rm -f leak
    n=0
    until_true 20 nothing_left || complain "something is left"
}

@test "a monitor that is killed is not missed" {
    docker run -d --rm --name leak --network net1 "$IMAGE" sleep 8
    kill -9 "$(monitor_of leak)"
    n=0
    until_true 20 nothing_left || complain "something is left"
}
