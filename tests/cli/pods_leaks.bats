# Never a leak, with networks: a client is killed with -9 at every step by which it changes something outside itself; the
# next command works, and once nobody needs them neither pod, sandbox, row, intent nor folder is left.
bats_require_minimum_version 1.5.0
load common

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

state() { echo "$XDG_STATE_HOME/atp-docker"; }
sandboxes() { find "$(state)/engine/runtime/run" -mindepth 2 -maxdepth 2 -name 'sb-*' -printf '%f\n'; }
rows() { sqlite3 -readonly "$(state)/state.db" "SELECT 'container', name, status, sandbox_id FROM containers UNION ALL SELECT 'intent', container_id, ending, sandbox_id FROM intents UNION ALL SELECT 'pod', id, networks, sandbox_id FROM pods"; }
folders() { find "$(state)/containers" -mindepth 1 -maxdepth 1 2>/dev/null; }
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "never became true: $*"; return 1; }
        sleep 0.05
    done
}
nothing_left() { docker atp recover >/dev/null && [ -z "$(rows)$(folders)$(sandboxes)" ]; }
complain() {
    echo "killed at step $n: $1"
    rows
    folders
    sandboxes
    tail -15 "$(state)/engine/engine.log"
    return 1
}

# walk COMMAND...: kills it at step 1, 2, 3... until it survives; `after` is called after each with its exit code in $status.
walk() {
    for ((n = 1; n < 1000; n++)); do
        status=0
        "$ATP_TESTS/kill_at" "$n" "$ATP_BIN/atp-docker" "$@" >out 2>err </dev/null || status=$?
        after
        [ "$status" -eq 137 ] || break
    done
    [ "$n" -gt 10 ] || { cat err; return 1; }
    echo "$n steps"
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
    docker run -d --rm --name leak --network net1 "$IMAGE" sleep 1
    kill -9 "$(pgrep -f "atp monitor $(docker ps -q --no-trunc --filter name=leak)")"
    n=0
    until_true 20 nothing_left || complain "something is left"
}
