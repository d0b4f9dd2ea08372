# docker compose watch and up --watch: files of this machine are followed, and services follow the files.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    export PROJECT=$SUITE/watched COMPOSE_PROJECT_NAME=watched COMPOSE_PROGRESS=plain
    mkdir -p "$PROJECT/src/skip" "$PROJECT/only" "$PROJECT/first" "$PROJECT/bound"
    cd "$PROJECT"
    cat >compose.yaml <<YAML
services:
  web:
    build: .
    command: [sh, -c, "echo begun >>/begun; exec sleep 1000"]
    stop_grace_period: 0s
    volumes: ["./bound:/bound"]
    develop:
      watch:
        - {action: sync, path: src, target: /app, ignore: [skip/, "*.tmp"]}
        - {action: sync, path: only, target: /only, include: ["*.c"]}
        - {action: sync, path: first, target: /first, initial_sync: true}
        - {action: sync, path: bound, target: /elsewhere}
        - {action: sync+restart, path: conf, target: /conf}
        - {action: sync+exec, path: hook, target: /hook, exec: {command: [sh, -c, "echo hooked \$\$(cat /hook)"]}}
        - {action: restart, path: again}
        - {action: rebuild, path: Dockerfile}
  other:
    image: $IMAGE
    command: sleep 1000
    stop_grace_period: 0s
YAML
    printf 'FROM %s\nCOPY src /app\n' "$IMAGE" >Dockerfile
    echo one >src/one
    echo new >first/new
    touch -d 'now + 1 day' first/new
    touch -d 2001-01-01 first/old
}
teardown_file() {
    (cd "$PROJECT" && docker compose --progress quiet down -v -t 0 3>&-)
    suite_stop
}
setup() {
    cd "$PROJECT"
    export OUT=$SUITE/out.$BATS_TEST_NUMBER
}
teardown() { end_watch; }

dc() { docker compose "$@"; }
in_web() { dc exec -T web "$@"; }
# begin_watch WORDS...: in the background; the process is the program itself.
begin_watch() {
    "$ATP_BIN/atp-docker" compose "$@" >"$OUT" 2>"$OUT.err" 3>&- &
    WATCH=$!
    until_said "Watch enabled"
}
end_watch() {
    [ -z "${WATCH:-}" ] || { kill -KILL "$WATCH" && wait "$WATCH"; } 2>/dev/null || true
    WATCH=
}
# until COMMAND: it succeeds some time.
until_true() {
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return
        [ -z "${WATCH:-}" ] || kill -0 "$WATCH" 2>/dev/null || break
        sleep 0.1
    done
    echo "never: $*"
    cat "$OUT" "$OUT.err"
    return 1
}
until_said() { until_true grep -F -- "$1" "$OUT"; }
# The container's file says so.
holds() { [ "$(in_web cat "$1")" = "$2" ]; }
lacks() { ! in_web test -e "$1"; }
id_of() { dc ps -q "$1"; }
starts() { in_web grep -c begun /begun; }
has_started() { [ "$(starts)" -ge "$1" ]; }

@test "it builds, starts and syncs what is newer than the image" {
    begin_watch watch --quiet
    holds /app/one one
    holds /first/new new
    lacks /first/old
    grep -q "path '$PROJECT/bound' also declared by a bind mount volume" "$OUT.err"
}

@test "sync: files are made, changed, moved and taken away, in new folders too" {
    begin_watch watch --no-up
    echo two >src/two
    mkdir -p src/deep/er
    echo three >src/deep/er/three
    chmod 755 src/two
    until_true holds /app/two two
    until_true holds /app/deep/er/three three
    [ "$(in_web stat -c %a /app/two)" = 755 ]
    grep -Eq '^Syncing service "web" after [0-9]+ changes were detected$' "$OUT"
    echo changed >src/two
    until_true holds /app/two changed
    mv src/deep src/moved
    until_true holds /app/moved/er/three three
    until_true lacks /app/deep
    echo late >src/moved/er/late
    until_true holds /app/moved/er/late late
    rm -r src/moved src/two
    until_true lacks /app/two
    until_true lacks /app/moved
}

@test "what is ignored, or not included, stays out" {
    begin_watch watch --no-up
    echo no >src/skip/a
    echo no >src/b.tmp
    echo no >src/.c.swp
    echo no >only/d.h
    mkdir -p src/.git
    echo no >src/.git/HEAD
    echo yes >only/d.c
    echo yes >src/last
    until_true holds /app/last yes
    until_true holds /only/d.c yes
    lacks /app/skip/a
    lacks /app/b.tmp
    lacks /app/.c.swp
    lacks /app/.git
    lacks /only/d.h
    lacks /elsewhere
}

@test "a path that is not there yet is waited for; sync+restart restarts after it" {
    local before
    begin_watch watch --no-up
    before=$(starts)
    echo 1 >conf
    until_said 'service(s) ["web"] restarted'
    holds /conf 1
    until_true has_started $((before + 1))
}

@test "restart: nothing is copied" {
    local before
    begin_watch watch --no-up
    before=$(starts)
    echo 1 >again
    until_said 'service(s) ["web"] restarted'
    until_true has_started $((before + 1))
    run ! grep Syncing "$OUT"
}

@test "sync+exec: the command runs when the file is there, and what it says is printed" {
    begin_watch watch --no-up
    echo now >hook
    until_said "hooked now"
}

@test "every container of a service, also one that is stopped meanwhile" {
    dc up -d --scale web=2 --no-recreate --no-build
    begin_watch watch --no-up
    echo both >src/both
    until_true holds /app/both both
    until_true dc exec -T --index 2 web grep both /app/both
    dc up -d --scale web=1 --no-recreate --no-build
    rm src/both
    until_true lacks /app/both
}

@test "rebuild: image and containers anew, others are left alone" {
    local web other image
    dc stop -t 0 other
    begin_watch watch --no-up
    web=$(id_of web)
    image=$(docker images -q --no-trunc watched-web)
    echo "RUN echo built >/built" >>Dockerfile
    until_said 'Rebuilding service(s) ["web"] after changes were detected...'
    until_said 'service(s) ["web"] successfully built'
    until_true holds /built built
    [ "$(id_of web)" != "$web" ]
    grep -q '\[2/3\] COPY src /app\|RUN echo built' "$OUT"
    [ -z "$(dc ps -q other)" ]
    gone() { ! docker image inspect "$image"; }
    until_true gone
}

@test "a build that fails is told, and watching goes on" {
    begin_watch watch --no-up
    cp Dockerfile "$SUITE/Dockerfile"
    echo "RUN false" >>Dockerfile
    until_said "Build failed. Error:"
    until_true grep -q "Error handling changed files" "$OUT.err"
    cp "$SUITE/Dockerfile" Dockerfile
    until_said 'service(s) ["web"] successfully built'
    echo after >src/after
    until_true holds /app/after after
}

@test "one at a time; Ctrl-C ends it with 130, kill -9 leaves nothing" {
    local code=0
    begin_watch watch --no-up
    run -1 dc watch --no-up
    [ "$output" = "cannot take exclusive lock for project \"watched\": process with PID $WATCH is still running" ]
    kill -INT "$WATCH"
    wait "$WATCH" || code=$?
    WATCH=
    [ "$code" = 130 ]
    begin_watch watch --no-up
    kill -KILL "$WATCH"
    wait "$WATCH" || true
    nothing() { ! pgrep -f "$ATP_BIN/atp-docker compose watch"; }
    until_true nothing
    begin_watch watch --no-up
}

@test "nothing to watch, and rules that cannot be" {
    mkdir -p "$SUITE/none"
    cd "$SUITE/none"
    echo "services: {a: {image: $IMAGE, command: sleep 9, stop_grace_period: 0s}}" >compose.yaml
    run -1 dc -p none watch --no-up
    [ "$output" = "none of the selected services is configured for watch, consider setting a 'develop' section" ]
    run -1 dc -p none up --watch
    [[ $output = *"none of the selected services is configured for watch, see https://docs.docker.com/compose/how-tos/file-watch/" ]]
    dc -p none --progress quiet down -t 0
    echo "services: {a: {image: $IMAGE, develop: {watch: [{action: rebuild, path: .}]}}}" >compose.yaml
    run -1 dc -p none watch --no-up
    [ "$output" = "can't watch service \"a\" with action rebuild without a build context" ]
    run -1 dc -p none up -d --watch
    [[ $output = "--detach cannot be combined with "*"or --watch" ]]
    run -1 dc -p none up --no-build --watch
    [ "$output" = "--no-build and --watch are incompatible" ]
}

@test "up --watch: between the lines of the containers; a container that is made anew is followed" {
    dc --progress quiet down -t 0
    begin_watch up --watch
    until_said "         ⦿ Watch enabled" # as wide as "other-1 |"
    grep -Eq '^Attaching to (other-1, web-1|web-1, other-1)$' "$OUT"
    echo attached >src/attached
    until_true holds /app/attached attached
    grep -Eq '^         ⦿ Syncing service "web" after [0-9]+ changes were detected$' "$OUT"
    echo "RUN true" >>Dockerfile
    until_said 'service(s) ["web"] successfully built'
    until_said "web-1 has been recreated"
    kill -INT "$WATCH"
    local code=0
    wait "$WATCH" || code=$?
    WATCH=
    [ "$code" = 130 ]
    [ -z "$(dc ps -q)" ]
}
