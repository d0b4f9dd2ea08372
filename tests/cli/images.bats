# What becomes of images: nothing that was removed stays on the server, nothing that is needed goes, whatever is killed or
# refused in between. That texts are Docker's is the comparison's business (tests/conformance/images.txt).
bats_require_minimum_version 1.5.0
load common
load faulty

setup_file() {
    suite_start
    export ATP_TESTS=${ATP_TESTS:-$ROOT/build/tests}
    docker rmi "$IMAGE" # what another server has would stay in the state
    engine_stop
    export ATP_DOCKER_BACKEND=modal ENGINE_LOG=$SUITE/engine.log
    fault_engine_start 127.0.0.1:0 3>&-
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
}

teardown_file() {
    fault_engine_stop
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    . "$SUITE/engine.env" # a test may have started another one
    docker image prune -af >/dev/null
    [ -z "$(on_server)" ]
}

teardown() {
    fault ''
    for id in $(docker ps -aq); do docker rm -f "$id"; done
    no_sandbox
}

# What the server has, by its own names.
on_server() { ls "$SUITE/engine/images/images"; }
hidden() { sqlite3 -readonly "$XDG_STATE_HOME/atp-docker/state.db" "SELECT id FROM images WHERE removed"; }

@test "images with the same layers: one goes, the other runs" {
    tar -C / -cf - bin/busybox >tree.tar 2>/dev/null
    docker import -c 'ENTRYPOINT ["/bin/busybox","echo","one"]' tree.tar one:1
    docker import -c 'ENTRYPOINT ["/bin/busybox","echo","two"]' tree.tar two:1
    docker rmi one:1
    docker image rm -f one:1
    [ "$(docker run --rm two:1)" = two ]
    docker rmi two:1
    [ -z "$(on_server)" ]
    docker import -c 'ENTRYPOINT ["/bin/busybox","echo","three"]' tree.tar three:1
    [ "$(docker run --rm three:1)" = three ]
}

@test "removed by force: its containers go on, and the last one takes it along" {
    docker pull -q "$IMAGE"
    docker create --name one "$IMAGE" echo started
    docker run --name two "$IMAGE" sh -c 'echo kept >/kept'
    docker rmi -f "$(docker images -q "$IMAGE")"
    [ -z "$(docker images -aq)" ]
    [ -n "$(hidden)" ]
    [ "$(docker start -a one)" = started ]
    docker start -a two
    docker cp two:/kept - | tar -xOf - | grep kept
    docker rm one
    [ -n "$(hidden)" ]
    docker container prune -f
    [ -z "$(hidden)$(on_server)" ]
}

@test "removed by force and pulled again: it is there again" {
    docker pull -q "$IMAGE"
    docker create --name one "$IMAGE" echo started
    docker rmi -f "$IMAGE"
    docker pull -q "$IMAGE"
    [ -z "$(hidden)" ]
    docker rm one
    [ "$(docker run --rm --pull never "$IMAGE" echo here)" = here ]
}

@test "a server that refuses: the image is gone for us, and its copy with the next command" {
    docker pull -q "$IMAGE"
    fault 'fail=ImageDelete:1-1000:internal'
    docker rmi "$IMAGE"
    [ -z "$(docker images -aq)" ]
    [ -n "$(hidden)" ]
    [ -n "$(on_server)" ]
    fault ''
    docker image prune -f
    [ -z "$(hidden)$(on_server)" ]
}

@test "the answer is lost: the copy is gone all the same" {
    docker pull -q "$IMAGE"
    fault 'lost=ImageDelete:1'
    docker rmi "$IMAGE"
    fault ''
    docker image prune -f
    [ -z "$(hidden)$(on_server)" ]
}

@test "a copy that the server lost is no hindrance" {
    docker pull -q "$IMAGE"
    fault_engine_stop
    image_as_root rm -rf "$SUITE/engine/images/images"
    fault_engine_start "${MODAL_SERVER_URL#http://}" 3>&-
    docker rmi "$IMAGE"
    [ -z "$(docker images -aq)$(hidden)" ]
}

@test "rmi, killed at every step: nothing stays on the server, and the next rmi works" {
    for ((n = 1; n < 1000; n++)); do
        docker pull -q "$IMAGE" >/dev/null
        docker tag "$IMAGE" other:1
        status=0
        "$ATP_TESTS/kill_at" "$n" "$ATP_BIN/atp-docker" rmi -f "$(docker images -q other)" >out 2>err </dev/null || status=$?
        docker rmi -f "$IMAGE" other:1 >/dev/null 2>&1
        docker image prune -f >/dev/null
        [ -z "$(docker images -aq)$(hidden)$(on_server)" ] || { echo "killed at step $n: something is left"; false; }
        [ "$status" -eq 137 ] || break
    done
    [ "$status" -eq 0 ]
    [ "$n" -gt 5 ]
    echo "$n steps"
}

@test "prune, killed at every step: what a container has stays" {
    docker pull -q "$IMAGE" >/dev/null
    docker create --name keeps "$IMAGE" echo started
    tar -C / -cf tree.tar bin/busybox
    for ((n = 1; n < 1000; n++)); do
        docker import -c "LABEL n=$n" tree.tar >/dev/null
        status=0
        "$ATP_TESTS/kill_at" "$n" "$ATP_BIN/atp-docker" image prune -af >out 2>err </dev/null || status=$?
        [ "$(docker images --format '{{.Repository}}:{{.Tag}}' | grep -v none)" = "$IMAGE" ]
        [ "$status" -eq 137 ] || break
        n=$((n + 1)) # every second step: an import takes its time
    done
    [ "$status" -eq 0 ]
    [ "$(docker start -a keeps)" = started ]
    docker rm keeps
    docker image prune -af
    [ -z "$(docker images -aq)$(hidden)$(on_server)" ]
}
