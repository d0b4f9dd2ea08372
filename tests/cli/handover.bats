# Who carries a command out: the real docker gets its own words whole, and nobody else's. No registry and no engine is
# needed; the real docker needs no daemon for what it is asked here.
bats_require_minimum_version 1.5.0

setup_file() {
    export ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export ATP_BIN=${ATP_BIN:-$ROOT/build/bin}
    export REAL=$(command -v docker || true)
    export SUITE=$(mktemp -d /tmp/atp-hand-XXXXXX)
    export HOME=$SUITE/home XDG_STATE_HOME=$SUITE/state XDG_CONFIG_HOME=$SUITE/config XDG_RUNTIME_DIR=$SUITE/run
    export NOWHERE=unix://$SUITE/no.sock
    mkdir -p "$HOME" "$XDG_RUNTIME_DIR" "$SUITE/link"
    ln -s "$ATP_BIN/atp-docker" "$SUITE/link/docker"
    ln -s docker "$SUITE/link/docker-compose"
    unset DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG DOCKER_TLS_VERIFY ATP_DOCKER_REAL ATP_DOCKER_TRACE ATP_DOCKER_HANDED_OVER
    unset MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH
}

teardown_file() { rm -rf "$SUITE"; }

setup() {
    cd "$SUITE"
    PATH=$SUITE/link:$PATH # `docker` is atp-docker
    export ATP_DOCKER_BACKEND=docker
}

needs_real() {
    { [ -n "$REAL" ] && "$REAL" --version | grep -q '^Docker version'; } || skip "no real docker"
}

# Where nothing but atp-docker is called docker.
alone() { PATH=$SUITE/link "$@"; }

@test "words arrive whole, through a link of our own that stands first" {
    needs_real
    odd=$'  a  b\n"c" $HOME * \\ \xc3\xa9'
    docker context create odd --description "$odd" --docker "host=$NOWHERE"
    [ "$(docker context inspect odd --format '{{.Metadata.Metadata.Description}}')" = "$odd" ]
    docker context create empty --description '' --docker "host=$NOWHERE"
    [ "$(docker context inspect empty --format '[{{.Metadata.Metadata.Description}}]')" = "[]" ]
    docker context rm odd empty
}

@test "options before the command arrive too" {
    needs_real
    docker --config "$SUITE/other" context create there --docker "host=$NOWHERE"
    [ -d "$SUITE/other/contexts" ]
    [ "$(docker --config "$SUITE/other" --log-level error context ls --format '{{.Name}}' | grep -c '^there$')" -eq 1 ]
    [ "$(docker context ls --format '{{.Name}}' | grep -c '^there$' || true)" -eq 0 ]
}

@test "exit codes are the real docker's" {
    needs_real
    for words in "context inspect nosuch" "-H $NOWHERE ps" "-H $NOWHERE run x" "-H $NOWHERE run --nosuch x" "-H $NOWHERE nosuch"; do
        code=0 real=0
        docker $words >ours.out 2>ours.err </dev/null || code=$?
        "$REAL" $words >real.out 2>real.err </dev/null || real=$?
        [ "$real" -ne 0 ]
        [ "$code" -eq "$real" ] || { echo "$words: $code, docker $real"; false; }
        cmp ours.out real.out
        cmp ours.err real.err
    done
}

@test "stdin and stdout are the real docker's" {
    needs_real
    docker context create first --docker "host=$NOWHERE"
    docker context export first - | docker context import second -
    [ "$(docker context inspect second --format '{{.Endpoints.docker.Host}}')" = "$NOWHERE" ]
    docker context rm first second
}

@test "started with closed descriptors" {
    needs_real
    docker context ls <&- | grep -q default
    docker context ls >&-
    docker --help <&- 2>&- | grep -q '^Usage:  docker'
    docker --help >&-
    run -1 bash -c 'docker --help >/dev/full'
    run -1 docker nosuch 2>&-
}

@test "what belongs to the real docker goes there whatever the back end is" {
    needs_real
    ATP_DOCKER_BACKEND=local docker context ls --format '{{.Name}}' | grep -qx default
    ATP_DOCKER_BACKEND=modal docker context ls --format '{{.Name}}' | grep -qx default
    ATP_DOCKER_BACKEND=bogus docker context ls --format '{{.Name}}' | grep -qx default
}

@test "without a real docker its words are refused in one line" {
    for words in "context ls" "swarm init" "trust inspect x" "buildx ls"; do
        case $words in
        buildx*) command=$words ;; # the group is ours, what is below it is not
        *) command=${words%% *} ;;
        esac
        run --separate-stderr env ATP_DOCKER_BACKEND=local PATH="$SUITE/link" docker $words
        [ "$status" -eq 125 ]
        [ -z "$output" ]
        [ "$stderr" = "docker $command is carried out by the real docker: no real docker was found on PATH (set ATP_DOCKER_REAL to its path)" ]
    done
}

@test "the back end docker without a docker: said for every command, and help still works" {
    for words in "ps" "images" "run x" "pull x" "compose up"; do
        run --separate-stderr alone docker $words
        [ "$status" -eq 125 ] || { echo "$words: $status"; false; }
        [[ "$stderr" == *"ATP_DOCKER_BACKEND asks for docker, but there is no other docker on the PATH"* ]]
        [ -z "$output" ]
    done
    alone docker run --help | grep -q '^Usage:  docker run'
    run -125 --separate-stderr alone docker -H "$NOWHERE" images
    [[ "$stderr" == *"-H names the daemon $NOWHERE, but there is no other docker on the PATH"* ]]
}

@test "we are never taken for the real docker: links, hard links, other names" {
    mkdir -p names hard
    ln -sf "$ATP_BIN/atp-docker" names/docker
    ln -f "$ATP_BIN/atp-docker" hard/docker 2>/dev/null || ln -sf "$ATP_BIN/atp-docker" hard/docker
    run -125 --separate-stderr env PATH="$SUITE/names:$SUITE/hard:$SUITE/link" docker context ls
    [[ "$stderr" == *"no real docker was found on PATH"* ]]
    needs_real
    env PATH="$SUITE/names:$SUITE/hard:$PATH" docker context ls --format '{{.Name}}' | grep -qx default
}

@test "a docker that calls us back does not loop" {
    mkdir -p back copy
    printf '#!/bin/sh\nexec "%s/link/docker" "$@"\n' "$SUITE" >back/docker
    chmod 755 back/docker
    cp "$ATP_BIN/atp-docker" copy/docker
    for dir in back copy; do
        run -125 --separate-stderr timeout 20 env PATH="$SUITE/link:$SUITE/$dir:/bin" docker context ls
        [[ "$stderr" == *"the program that was taken for the real docker calls atp-docker again: set ATP_DOCKER_REAL to the real one" ]]
    done
}

@test "a wrapper around the real docker is a real docker" {
    needs_real
    mkdir -p wrapped
    printf '#!/bin/sh\necho wrapped >&2\nexec "%s" "$@"\n' "$REAL" >wrapped/docker
    chmod 755 wrapped/docker
    run --separate-stderr env PATH="$SUITE/link:$SUITE/wrapped:/bin" docker context ls --format '{{.Name}}'
    [ "$status" -eq 0 ]
    [ "$output" = default ]
    [ "$stderr" = wrapped ]
}

@test "ATP_DOCKER_REAL names it, wherever it is and whatever it is called" {
    needs_real
    ln -sf "$REAL" "$SUITE/another-name"
    ATP_DOCKER_REAL=$SUITE/another-name alone docker context ls --format '{{.Name}}' | grep -qx default
}

@test "an ATP_DOCKER_REAL that cannot be it is refused by name" {
    touch "$SUITE/not-executable"
    for real in /nosuch "$SUITE" "$SUITE/not-executable" "$SUITE/link/docker" "$ATP_BIN/atp-docker"; do
        run -125 --separate-stderr env ATP_DOCKER_BACKEND=local ATP_DOCKER_REAL="$real" docker context ls
        [[ "$stderr" == *"ATP_DOCKER_REAL=$real is not another executable program than atp-docker" ]]
    done
}

@test "ATP_DOCKER_TRACE=route says why, on stderr only" {
    needs_real
    export ATP_DOCKER_TRACE=route
    run --separate-stderr docker context ls --format '{{.Name}}'
    [ "$output" = default ]
    [ "$stderr" = "atp-docker: back end docker: ATP_DOCKER_BACKEND asks for the real docker" ]
    ATP_DOCKER_BACKEND=local run --separate-stderr docker context ls --format '{{.Name}}'
    [ "$output" = default ]
    [[ "$stderr" == *"back end local: ATP_DOCKER_BACKEND asks for the engine on this machine"* ]]
    [[ "$stderr" == *'`docker context` belongs to the real docker: '* ]]
    unset ATP_DOCKER_TRACE
    run --separate-stderr docker context ls --format '{{.Name}}'
    [ -z "$stderr" ]
}

@test "a daemon on the command line wins over every setting" {
    needs_real
    for setting in auto local modal docker; do
        run -1 --separate-stderr env ATP_DOCKER_BACKEND=$setting ATP_DOCKER_TRACE=route docker -H "$NOWHERE" images
        [[ "$stderr" == *"-H names the daemon $NOWHERE"* ]] || [ "$setting" = docker ]
        [[ "$stderr" == *"$SUITE/no.sock"* ]]
        run --separate-stderr env ATP_DOCKER_BACKEND=$setting ATP_DOCKER_TRACE=route docker --context nosuch images
        [ "$status" -ne 0 ]
        [[ "$stderr" == *'context "nosuch"'* ]]
    done
    ATP_DOCKER_BACKEND=local ATP_DOCKER_TRACE=route run --separate-stderr docker --tlsverify images
    [[ "$stderr" == *"--tls names the daemon behind TLS"* ]]
}

@test "DOCKER_HOST and DOCKER_CONTEXT decide when nothing else was asked for" {
    needs_real
    export ATP_DOCKER_TRACE=route ATP_DOCKER_BACKEND=auto
    DOCKER_HOST=$NOWHERE run -1 --separate-stderr docker images
    [[ "$stderr" == *"back end docker: DOCKER_HOST names the daemon $NOWHERE"* ]]
    DOCKER_CONTEXT=nosuch run --separate-stderr docker images
    [ "$status" -ne 0 ]
    [[ "$stderr" == *"back end docker: DOCKER_CONTEXT names the daemon nosuch"* ]]
    # an explicit back end is a stronger word than a variable that other programs left
    ATP_DOCKER_BACKEND=local DOCKER_HOST=$NOWHERE run -0 --separate-stderr docker images -q
    [[ "$stderr" == *"back end local: "* ]]
}

@test "a context called default is no daemon's name" {
    ATP_DOCKER_BACKEND=local ATP_DOCKER_TRACE=route run -0 --separate-stderr docker --context default images -q
    [[ "$stderr" == *"back end local: "* ]]
    ATP_DOCKER_BACKEND=local run -0 docker -H '' images -q
}

@test "as docker-compose we hand over to docker-compose, never to docker" {
    needs_real
    mkdir -p later
    printf '#!/bin/sh\nprintf "<%%s>" "$@"; exit 42\n' >later/docker-compose
    chmod 755 later/docker-compose
    run --separate-stderr env PATH="$SUITE/link:$SUITE/later:${REAL%/*}:/bin" DOCKER_HOST="$NOWHERE" ATP_DOCKER_BACKEND=auto docker-compose -f 'a b' up ''
    [ "$status" -eq 42 ]
    [ "$output" = '<-f><a b><up><>' ]
    run --separate-stderr env PATH="$SUITE/link" DOCKER_HOST="$NOWHERE" ATP_DOCKER_BACKEND=auto docker-compose up
    [ "$status" -eq 125 ]
    [[ "$stderr" == *"there is no other docker on the PATH"* ]]
    ATP_DOCKER_BACKEND=local run docker-compose --help
    [ "$status" -eq 0 ]
    [[ "$output" == "Usage:  docker compose "* ]]
}

@test "help, versions and unknown commands need no back end" {
    for setting in bogus modal; do
        export ATP_DOCKER_BACKEND=$setting
        docker --help | grep -q '^Usage:  docker'
        docker help | grep -q '^Usage:  docker'
        docker run --help | grep -q '^Usage:  docker run'
        docker help run | grep -q '^Usage:  docker run'
        docker ps --help | grep -q '^Usage:  docker ps'
        docker image 2>&1 >/dev/null | grep -q '^Usage:  docker image'
        docker --version | grep -q '^Docker version'
        run -0 --separate-stderr docker
        [ -z "$output" ]
        run -1 docker nosuch
        [[ "${lines[0]}" == "docker: unknown command: docker nosuch" ]]
        run -1 docker help nosuch
        [ "$output" = "unknown help topic: nosuch" ]
        run -125 docker --nosuch
    done
}

@test "a back end that cannot be had is said in one line" {
    ATP_DOCKER_BACKEND=bogus run -125 docker images
    [ "$output" = "ATP_DOCKER_BACKEND: 'bogus' is not a back end; it is one of modal, local, docker, auto" ]
    ATP_DOCKER_BACKEND=modal run -125 docker run x
    [[ "$output" == "docker: ATP_DOCKER_BACKEND asks for Modal, but there are no credentials: "* ]]
    ATP_DOCKER_BACKEND=modal MODAL_TOKEN_ID=ak-x run -125 docker run x
    [[ "$output" == *MODAL_TOKEN_SECRET* ]]
}
