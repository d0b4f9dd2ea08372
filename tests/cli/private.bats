# Registries that want a login: for pull, run and FROM, and what becomes of the login on its way to the server.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    export DOCKER_CONFIG=$SUITE/docker PASSWORD=pass-$RANDOM-word
    mkdir -p "$DOCKER_CONFIG" "$SUITE/locked"
    htpasswd -Bbn user "$PASSWORD" >"$SUITE/locked/htpasswd"
    locked_start
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false --dest-creds "user:$PASSWORD" \
        "docker-archive:$SUITE/busybox.tar" "docker://$LOCKED/secret:1"
}

teardown_file() {
    kill "$LOCKED_PID"
    suite_stop
}

# A registry that lets nobody in without a password.
locked_start() {
    cat >"$SUITE/locked/config.yml" <<EOF
version: 0.1
storage: {filesystem: {rootdirectory: $SUITE/locked/data}}
http: {addr: 127.0.0.1:0}
auth: {htpasswd: {realm: locked, path: $SUITE/locked/htpasswd}}
EOF
    registry_serve "$SUITE/locked/config.yml" "$SUITE/locked/log"
    export LOCKED=localhost:$SERVED_PORT LOCKED_PID=$SERVED_PID
}

setup() {
    cd "$SUITE"
    docker rmi -f "$LOCKED/secret:1" >/dev/null 2>&1 || true
    log_out
}

log_in() { printf '{"auths":{"%s":{"auth":"%s"}}}' "$LOCKED" "$(printf "user:$1" | base64 -w0)" >"$DOCKER_CONFIG/config.json"; }
log_out() { rm -f "$DOCKER_CONFIG/config.json"; }

@test "nobody is logged in" {
    run -1 docker pull "$LOCKED/secret:1"
    [[ $output == *"no basic auth credentials"* ]]
    run -125 docker run --rm "$LOCKED/secret:1" true
    run ! docker build -q - <<<"FROM $LOCKED/secret:1"
    [ -z "$(docker images -q "$LOCKED/secret")" ]
}

@test "a wrong password" {
    log_in wrong
    run -1 docker pull "$LOCKED/secret:1"
    [[ $output != *wrong* ]]
    [ -z "$(docker images -q "$LOCKED/secret")" ]
}

@test "logged in: pull, run, and FROM an image that is not here" {
    log_in "$PASSWORD"
    docker pull -q "$LOCKED/secret:1"
    [ "$(docker run --rm "$LOCKED/secret:1" echo in)" = in ]
    docker rmi "$LOCKED/secret:1"
    printf 'FROM %s\nRUN echo on >/on\nCMD ["cat", "/on"]\n' "$LOCKED/secret:1" | docker build -q -t onto -
    [ "$(docker run --rm onto)" = on ]
    docker rmi onto
}

@test "a stage of the private registry and one of another" {
    log_in "$PASSWORD"
    printf 'FROM %s AS a\nRUN echo a >/a\nFROM %s\nCOPY --from=a /a /a\nCMD ["cat", "/a"]\n' "$LOCKED/secret:1" "$IMAGE" |
        docker build -q -t two -
    [ "$(docker run --rm two)" = a ]
    docker rmi two
}

@test "a secret that the server has lost is handed over again" {
    log_in "$PASSWORD"
    docker pull -q "$LOCKED/secret:1"
    docker rmi "$LOCKED/secret:1"
    sqlite3 "$XDG_STATE_HOME/atp-docker/state.db" "UPDATE cache SET value = 'st-0000000000000000000000' WHERE key LIKE 'registry secret %'"
    docker pull -q "$LOCKED/secret:1"
    [ "$(docker run --rm "$LOCKED/secret:1" echo again)" = again ]
}

@test "the password is in no line and in no file of the client's" {
    log_in "$PASSWORD"
    export ATP_DOCKER_TRACE=route
    run -0 docker pull "$LOCKED/secret:1"
    [[ $output != *"$PASSWORD"* ]]
    docker run --rm "$LOCKED/secret:1" env >out 2>&1 || true
    if grep -q "$PASSWORD" out; then return 1; fi
    if grep -rqs "$PASSWORD" "$XDG_STATE_HOME/atp-docker"/state.db* "$XDG_CONFIG_HOME"; then return 1; fi
}
