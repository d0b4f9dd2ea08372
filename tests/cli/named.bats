# Images that the server has by name: published by build, found again by machines that know nothing of them, on an engine
# that tells about its images and on one that tells no more than Modal does.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    mkdir "$SUITE/ctx"
    printf 'contents\n' >"$SUITE/ctx/file"
    cat >"$SUITE/ctx/Dockerfile" <<EOF
FROM $IMAGE
RUN echo built >/built && rm /bin/vi
COPY file /file
ENV WORD=said
USER 1000
WORKDIR /home
ENTRYPOINT ["/bin/sh", "-c", "echo \$WORD \$(cat /built /file) \$(id -u) \$PWD"]
EOF
}

teardown_file() {
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

teardown() {
    elsewhere docker rmi -f $(elsewhere docker images -q | sort -u) >/dev/null 2>&1 || true
    plain_stop
    [ ! -s "$WORK/logged.pid" ] || kill "$(cat "$WORK/logged.pid")"
    [ "$(sqlite3 "$XDG_STATE_HOME/atp-docker/state.db" 'SELECT count(*) FROM intents')" = 0 ]
}

# The same server, seen from a machine that has built nothing: another state folder, and the engine's address.
elsewhere() {
    XDG_STATE_HOME=$WORK/elsewhere XDG_CONFIG_HOME=$WORK/config "$@"
}

# An engine that has no calls of our own; all commands of the test go to it.
plain_start() {
    mkdir -p "$WORK/plain"
    "$ATP_BIN/atp-engine" --plain --listen 127.0.0.1:0 --env-file "$WORK/plain.env" --state-dir "$WORK/plain" \
        >"$WORK/plain.log" 2>&1 3>&- &
    echo $! >"$WORK/plain.pid"
    for _ in $(seq 100); do [ -s "$WORK/plain.env" ] && break; sleep 0.1; done
    . "$WORK/plain.env"
    export ATP_DOCKER_BACKEND=modal MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
    export XDG_STATE_HOME=$WORK/state
}

plain_stop() {
    local pid
    [ -s "$WORK/plain.pid" ] || return 0
    pid=$(cat "$WORK/plain.pid")
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 300); do process_gone "$pid" && return 0; sleep 0.1; done
    return 1
}

# The engine that was started on demand, as a server that two machines share.
shared_start() {
    mkdir -p "$WORK/shared"
    "$ATP_BIN/atp-engine" --listen 127.0.0.1:0 --env-file "$WORK/plain.env" --state-dir "$WORK/shared" \
        >"$WORK/plain.log" 2>&1 3>&- &
    echo $! >"$WORK/plain.pid"
    for _ in $(seq 100); do [ -s "$WORK/plain.env" ] && break; sleep 0.1; done
    . "$WORK/plain.env"
    export ATP_DOCKER_BACKEND=modal MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
    export XDG_STATE_HOME=$WORK/state
}

WANT="said built contents 1000 /home"

# What holds on both kinds of server.
built_here_runs_there() {
    docker build -q -t app "$SUITE/ctx" >id
    [ "$(docker run --rm app)" = "$WANT" ]
    run -0 --separate-stderr elsewhere docker run --rm app
    [ "$output" = "$WANT" ]
    [[ $stderr == *"Unable to find image 'app:latest' locally"* ]]
    [[ $stderr == *"latest: Pulling from modal://app"* ]]
    [[ $stderr == *"Status: Downloaded newer image for app:latest"* ]]
    [ "$(elsewhere docker images -q --no-trunc app)" = "$(cat id)" ]
    run -0 --separate-stderr elsewhere docker run --rm app # known now: nobody is asked
    [ -z "$stderr" ]
    [ "$(elsewhere docker inspect -f '{{.Config.User}} {{.Config.WorkingDir}}' app)" = "1000 /home" ]
    [ -z "$(docker ps -aq)" ]
}

@test "built here, run by name elsewhere" {
    shared_start
    built_here_runs_there
}

@test "the same on a server that does not tell configurations" {
    plain_start
    built_here_runs_there
}

@test "modal:// names and ids, pulled, tagged, inspected, removed" {
    plain_start
    docker build -q -t app:v1 "$SUITE/ctx" >/dev/null
    run -125 elsewhere docker run --rm --pull=never modal://app:v1
    [[ $output == *"No such image: modal://app:v1"* ]]
    run -125 elsewhere docker run --rm modal://app:v2
    [[ $output == *"No such image: modal://app:v2"* ]]
    run -0 elsewhere docker pull modal://app:v1
    [ "${lines[-1]}" = modal://app:v1 ]
    [[ $output == *"Status: Downloaded newer image for modal://app:v1"* ]]
    run -0 elsewhere docker pull -q modal://app:v1
    [ "$output" = modal://app:v1 ]
    [ "$(elsewhere docker images --format '{{.Repository}} {{.Tag}}')" = "modal://app v1" ]
    [ "$(elsewhere docker run --rm --pull=never modal://app:v1)" = "$WANT" ]
    elsewhere docker tag modal://app:v1 mine
    [ "$(elsewhere docker inspect -f '{{.RepoTags}}' mine)" = "[mine:latest modal://app:v1]" ]
    id=$(sqlite3 "$WORK/elsewhere/atp-docker/state.db" "SELECT modal_id FROM server_images WHERE layer = 'base'")
    elsewhere docker rmi modal://app:v1 mine
    [ -z "$(elsewhere docker images -aq)" ]
    [ "$(elsewhere docker run --rm "$id" 2>/dev/null)" = "$WANT" ] # the server's image is not ours to delete
    [ "$(elsewhere docker run --rm --pull=always app:v1 2>/dev/null)" = "$WANT" ]
}

@test "rmi: what was published stays on Modal" {
    plain_start
    docker build -q -t app "$SUITE/ctx" >/dev/null
    docker run --rm app >/dev/null
    docker rmi app
    docker image prune -af
    [ -z "$(docker images -aq)" ]
    [ "$(elsewhere docker run --rm app 2>/dev/null)" = "$WANT" ]
    [ "$(docker run --rm app 2>/dev/null)" = "$WANT" ]
}

@test "rmi: the embedded engine forgets both" {
    shared_start
    docker build -q -t app "$SUITE/ctx" >/dev/null
    docker run --rm app >/dev/null
    docker rmi app
    run -125 docker run --rm modal://app
    run -125 elsewhere docker run --rm modal://app
    [[ $output == *"No such image: modal://app:latest"* ]]
    [ -z "$(ls "$WORK/shared/images/images")" ]
}

@test "a name that is published again: those who have it keep theirs until they pull" {
    plain_start
    printf 'FROM %s\nCMD ["echo", "one"]\n' "$IMAGE" | docker build -q -t app - >/dev/null
    [ "$(elsewhere docker run --rm app 2>/dev/null)" = one ]
    printf 'FROM %s\nCMD ["echo", "two"]\n' "$IMAGE" | docker build -q -t app - >/dev/null
    [ "$(elsewhere docker run --rm app)" = one ]
    [ "$(elsewhere docker run --rm --pull=always app 2>/dev/null)" = two ]
    [ "$(elsewhere docker run --rm app)" = two ]
    [ "$(docker run --rm app)" = two ]
}

@test "several pulls of one image at once fetch it once" {
    shared_start
    push_image once:1 '{}' 'head -c 20000000 /dev/urandom >$tree/big'
    sed "s/^log:.*/log: {level: info}/" "$SUITE/registry/config.yml" >logged.yml
    registry_serve logged.yml logged # the same registry once more, with a log of who fetches what
    REGISTRY=localhost:$SERVED_PORT
    echo "$SERVED_PID" >logged.pid
    pids=
    for i in 1 2 3 4 5; do
        docker pull -q "$REGISTRY/once:1" >"out$i" 2>&1 3>&- &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid"; done
    [ "$(docker run --rm "$REGISTRY/once:1" stat -c %s /big)" = 20000000 ]
    [ "$(cat out? | sort -u)" = "$REGISTRY/once:1" ]
    layer=$(skopeo inspect --tls-verify=false "docker://$REGISTRY/once:1" | grep -o 'sha256:[0-9a-f]*' | tail -1)
    [ "$(grep -c "GET /v2/once/blobs/$layer" logged)" = 1 ]
    [ "$(ls "$WORK/shared/images/images" | wc -l)" = 1 ]
    [ "$(docker images -q | wc -l)" = 1 ]
}

@test "what is only known by name, saved and pushed" {
    plain_start
    docker build -q -t app "$SUITE/ctx" >/dev/null
    elsewhere docker pull -q modal://app
    elsewhere docker save -o app.tar modal://app 2>err
    grep -q 'all of it is one layer' err
    tar -xOf app.tar manifest.json | grep -q '"RepoTags":\(null\|\[\]\)'
    docker rmi app
    id=$(docker load -i app.tar | sed -n 's/^Loaded image ID: //p')
    [ "$(docker run --rm "$id")" = "$WANT" ]
    docker rmi "$id"
    elsewhere docker tag modal://app "$REGISTRY/squashed"
    elsewhere docker push -q "$REGISTRY/squashed"
    [ "$(docker run --rm "$REGISTRY/squashed" 2>/dev/null)" = "$WANT" ]
    docker rmi "$REGISTRY/squashed"
}

@test "a name with a domain is the registry's, whatever the server has" {
    shared_start
    docker build -q -t busybox:1 "$SUITE/ctx" >/dev/null
    [ "$(docker run --rm "$IMAGE" echo registry 2>/dev/null)" = registry ]
    run -125 elsewhere docker run --rm docker.io/library/busybox:1
    [[ $output != *modal* ]]
}

@test "the order of the places" {
    shared_start
    docker build -q -t app "$SUITE/ctx" >/dev/null
    ATP_DOCKER_LOOKUP=local,registry run -125 elsewhere docker run --rm app
    [[ $output != *modal* ]]
    mkdir -p "$WORK/config/atp-docker"
    echo 'images: {lookup: [local, hub]}' >"$WORK/config/atp-docker/config.yaml"
    run -125 elsewhere docker run --rm app
    [[ $output == *"config.yaml:1: images.lookup: 'hub' is no place"* ]]
    echo 'images: {lookup: [modal]}' >"$WORK/config/atp-docker/config.yaml"
    [ "$(elsewhere docker run --rm app 2>/dev/null)" = "$WANT" ]
}

@test "what is not published" {
    shared_start
    ATP_DOCKER_PUBLISH=0 docker build -q -t secret "$SUITE/ctx" >/dev/null
    docker build -q -t user/app "$SUITE/ctx" >/dev/null
    docker build -q -t "$REGISTRY/app" "$SUITE/ctx" >/dev/null
    for name in secret user/app app; do
        run -125 elsewhere docker run --rm "modal://$name"
        [[ $output == *"No such image"* ]]
    done
}

@test "FROM a published name, and what it leads to" {
    plain_start
    docker build -q -t app "$SUITE/ctx" >/dev/null
    for from in app modal://app; do
        printf 'FROM %s\nUSER 0\nRUN echo again >>/built\n' "$from" | elsewhere docker build -q -t "next" - >/dev/null
        [ "$(elsewhere docker run --rm next)" = "said built again contents 0 /home" ]
    done
    [ "$(docker run --rm modal://next 2>/dev/null)" = "said built again contents 0 /home" ]
    [ "$(docker run --rm app)" = "$WANT" ]
}

# open-atp build-modal-image: build, publish by name; --force builds all of it again.
@test "the recipe of open-atp: unchanged is kept, --no-cache is built anew" {
    shared_start
    printf 'FROM %s\nRUN cat /proc/sys/kernel/random/uuid >/uuid\nCMD ["cat", "/uuid"]\n' "$IMAGE" >Dockerfile
    docker build -q -t open-atp . >/dev/null
    first=$(elsewhere docker run --rm open-atp 2>/dev/null)
    docker build -q -t open-atp . >/dev/null
    [ "$(elsewhere docker run --rm --pull=always open-atp 2>/dev/null)" = "$first" ]
    docker build -q --no-cache -t open-atp . >/dev/null
    second=$(elsewhere docker run --rm --pull=always open-atp 2>/dev/null)
    [ -n "$second" ]
    [ "$second" != "$first" ]
    [ "$(docker run --rm open-atp)" = "$second" ]
}
