# The same build again: nothing of the context is sent, nothing is done, and the image is the same. Two at once do the work once.
bats_require_minimum_version 1.5.0
load common
load faulty

setup_file() {
    suite_start
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
}

teardown() {
    fault ''
    docker image prune -af >/dev/null
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# A context of 30 MB that no compression makes smaller: one large file and many small ones.
large_context() {
    local i
    mkdir -p context/many
    head -c 20000000 /dev/urandom >context/large
    for i in $(seq 100); do head -c 100000 /dev/urandom >context/many/$i; done
    printf 'FROM %s\nCOPY . /all/\nRUN cat /all/many/* /all/large | sha256sum >/sum && sleep 3\nRUN echo second >/second\nCMD ["cat", "/sum"]\n' "$IMAGE" >context/Dockerfile
}

@test "a second build sends no contents, takes under a tenth of the time, and gives the same image" {
    local began first second

    large_context
    began=$(milliseconds)
    docker build -t app --iidfile one context
    first=$(($(milliseconds) - began))
    touch context/large context/many/* # times alone change nothing
    fault 'drop-in=200000' # a connection that carries more to the engine is cut
    for _ in 1 2 3 4 5; do # other work on the machine only ever adds time
        began=$(milliseconds)
        docker build -t again --iidfile two context
        second=$(($(milliseconds) - began))
        cmp one two
        [ $((second * 10)) -ge "$first" ] || break
    done
    fault ''
    echo "first $first ms, second $second ms"
    [ $((second * 10)) -lt "$first" ]
    [ "$(docker run --rm again)" = "$(cd context/many && LC_ALL=C cat * ../large | sha256sum)" ]
}

@test "one small change: that file alone is sent, and what stands before it is not done again" {
    large_context
    printf 'FROM %s\nCOPY large /large\nRUN cat /proc/sys/kernel/random/uuid >/stamp\nCOPY many /many\n' "$IMAGE" >context/Dockerfile
    docker build -q -t app context
    docker run --rm app cat /stamp >before
    echo changed >context/many/7
    fault 'drop-in=200000'
    docker build -q -t app context
    fault ''
    docker run --rm app cat /stamp | cmp - before
    [ "$(docker run --rm app cat /many/7)" = changed ]
}

@test "--no-cache does it again" {
    printf 'FROM %s\nRUN cat /proc/sys/kernel/random/uuid >/stamp\n' "$IMAGE" >Dockerfile
    docker build -q -t one .
    docker build -q -t two .
    docker build -q --no-cache -t three .
    docker run --rm one cat /stamp >one
    docker run --rm two cat /stamp | cmp - one
    if docker run --rm three cat /stamp | cmp - one; then return 1; fi
    # What was made last is what the next one stands on.
    docker build -q -t four .
    [ "$(docker run --rm four cat /stamp)" = "$(docker run --rm three cat /stamp)" ]
}

@test "two builds of the same at once do the work once" {
    printf 'FROM %s\nRUN sleep 2; cat /proc/sys/kernel/random/uuid >/stamp\nRUN sleep 1; cat /proc/sys/kernel/random/uuid >>/stamp\n' "$IMAGE" >Dockerfile
    docker build -t one --iidfile one.id . >one.log 2>&1 3>&- &
    local first=$!
    docker build -t two --iidfile two.id . >two.log 2>&1
    wait "$first"
    cmp one.id two.id
    [ "$(docker run --rm one cat /stamp)" = "$(docker run --rm two cat /stamp)" ]
}

@test "a client that is killed while it builds: the next one gets an image, and nothing is left" {
    printf 'FROM %s\nRUN echo begun; sleep 3; echo made >/made\n' "$IMAGE" >Dockerfile
    "$ATP_BIN/atp-docker" build --progress=plain -t app . >log 2>&1 3>&- &
    local pid=$!
    until_true 20 grep -q begun log
    kill -9 "$pid"
    wait "$pid" || true
    docker build -q -t app .
    [ "$(docker run --rm app cat /made)" = made ]
    no_sandbox
}
