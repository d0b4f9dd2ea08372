# What a network, a busy service and a dying machine do to the commands on a container that stays. Under every fault each of
# them ends in time, with the right result or with one clear line and Docker's exit code; what it left half-done the same
# command, given again, finishes; and no sandbox is left.
bats_require_minimum_version 1.5.0
load common
load faulty

setup_file() {
    suite_start
    engine_stop
    export ATP_DOCKER_BACKEND=modal ENGINE_LOG=$SUITE/engine.log
    fault_engine_start 127.0.0.1:0 3>&-
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
    head -c 1048576 /dev/urandom >"$SUITE/input"
    docker pull -q "$IMAGE" >/dev/null 3>&-
}

teardown_file() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    no_sandbox
    fault_engine_stop
    suite_stop
}

setup() {
    WORK=$SUITE/work-$BATS_TEST_NUMBER
    mkdir "$WORK"
    cd "$WORK"
    box
}

teardown() {
    fault ''
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    no_sandbox
}

# A container that stays, with a mount; it ends with 7 when it is told to.
box() {
    mkdir -p tree
    docker run -d --name box --label modal.orphan_grace=5 -v "$PWD/tree:/w" "$IMAGE" \
        sh -c 'trap "exit 7" TERM; echo one; echo two >&2; while :; do sleep 0.1; done' >/dev/null 3>&-
    until_true 10 said_two
}

said_two() { docker logs box 2>&1 | grep -q two; }
status_of() { docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1" 2>/dev/null; }

# Every call that there is, made by a client that remembers no token, no address and no image. Its containers it must
# remember: they are its own.
forget() { sqlite3 -cmd '.timeout 10000' "$XDG_STATE_HOME/atp-docker/state.db" 'DELETE FROM cache'; }

# ---- the frame ----

# try LIMIT COMMAND...: its output in out and err, $status, $took; it must end within LIMIT seconds, three times as many where
# the machine is slow.
try() {
    local limit=$1 began
    shift
    what=$*
    began=$(date +%s%N)
    status=0
    timeout -s KILL $((3 * limit)) "$ATP_BIN/atp-docker" "$@" >out 2>err </dev/fd/9 || status=$?
    took=$((($(date +%s%N) - began) / 1000000))
    [ "$took" -lt $((3000 * limit)) ] || complain "it hung for $limit s"
    [ -z "${ATP_SHOW_TIMES:-}" ] || echo "# $took ms, exit $status: $what under '$spec': $(head -1 err | head -c 200)" >&3
}

complain() {
    fault ''
    echo "under '$spec': docker $what: $1 (exit code $status after $took ms, $(stat -c %s out) bytes out, stderr: $(head -c 500 err))"
    tail -n 5 "$ENGINE_LOG"
    return 1
}

# One line says why, with a code that docker has for it.
said() {
    [ "$status" -eq 1 ] || [ "$status" -eq 125 ] || complain "the wrong exit code"
    [ "$(wc -l <err)" -eq 1 ] || complain "not one line"
}

# ---- the commands: each is tried once, judged, and must work when the fault has passed ----

# 1 MiB through stdin and stdout, and an exit code.
try_exec() {
    try "$1" exec -i box sh -c 'cat; echo err >&2; exit 7' 9<"$SUITE/input"
    if [ "$status" -eq 7 ]; then
        cmp out "$SUITE/input" || complain "the wrong output"
        [ "$(cat err)" = err ] || complain "the wrong stderr"
    else
        sed -i '/^err$/d' err
        said
        cmp -n "$(stat -c %s out)" out "$SUITE/input" || complain "the wrong output"
    fi
}

# A tree that the host and the container change in turn: never half a file, never one too many or too few.
try_mount() {
    rm -rf tree/*
    echo host >tree/host
    cp "$SUITE/input" tree/big
    try "$1" exec box sh -c 'cmp /w/big /w/../w/big && mkdir -p /w/made && cp /w/big /w/made/big && rm /w/host && exit 7' 9</dev/null
    [ ! -e tree/host ] || [ "$(cat tree/host)" = host ] || complain "a damaged file"
    [ ! -e tree/made/big ] || cmp tree/made/big "$SUITE/input" || complain "half a file"
    cmp tree/big "$SUITE/input" || complain "a damaged file"
    if [ "$status" -eq 7 ]; then
        [ ! -e tree/host ] && [ -e tree/made/big ] || complain "the wrong tree"
    else
        said
        [ -z "$recovers" ] || { fault '' && docker exec box true 2>/dev/null && settled_mount && fault "$spec"; }
    fi
}

# What is not here yet comes with the next command: both sides agree then.
settled_mount() {
    [ "$(docker exec box sh -c 'cd /w && find . -type f | sort | xargs sha256sum')" = "$(cd tree && find . -type f | sort | xargs sha256sum)" ] ||
        complain "the two sides do not agree"
}

try_cp() {
    try "$1" cp "$SUITE/input" box:/tmp/input 9</dev/null
    [ "$status" -eq 0 ] || said
    cp "$SUITE/input" there
    echo old >back
    try "$1" cp box:/etc/passwd back 9</dev/null
    if [ "$status" -eq 0 ]; then grep -q ^root: back || complain "the wrong file"; else said; [ "$(cat back)" = old ] || complain "half a file"; fi
}

try_logs() {
    try "$1" logs box 9</dev/null
    if [ "$status" -eq 0 ]; then
        [ "$(cat out)" = one ] && [ "$(cat err)" = two ] || complain "the wrong lines"
    else
        sed -i '/^two$/d' err
        said
    fi
}

# Lines that come while it listens, up to the container's end.
try_follow() {
    docker rm -f talk >/dev/null 2>&1 || true
    docker run -d --name talk "$IMAGE" sh -c 'for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.15; done' >/dev/null 3>&-
    fault "$spec"
    try "$1" logs -f talk 9</dev/null
    if [ "$status" -eq 0 ]; then [ "$(cat out)" = "$(seq 8)" ] || complain "the wrong lines"; else said; fi
    cmp -n "$(stat -c %s out)" out <(seq 8) || complain "the wrong lines"
}

try_ps() {
    try "$1" ps -a --filter name=box --format '{{.Names}} {{.State}}' 9</dev/null
    if [ "$status" -eq 0 ]; then [ "$(cat out)" = "box running" ] || complain "the wrong list"; else said; fi
}

# Ended, started, removed; each may be refused, and then works when it is asked again without the fault.
try_life() {
    try "$1" stop -t 5 box 9</dev/null
    if [ "$status" -eq 0 ]; then [ "$(cat out)" = box ] || complain "the wrong name"; else refused_then stop box; fi
    fault ''
    [ "$(status_of box)" = "exited 7" ] || [ "$died" ] || complain "a wrong end: $(status_of box)"
    fault "$spec"
    try "$1" start box 9</dev/null
    if [ "$status" -eq 0 ]; then [ "$(cat out)" = box ] || complain "the wrong name"; else refused_then start box; fi
    fault ''
    [ "$(docker exec box echo alive)" = alive ] || complain "it is not there"
    fault "$spec"
    try "$1" rm -f box 9</dev/null
    if [ "$status" -eq 0 ]; then [ "$(cat out)" = box ] || complain "the wrong name"; else refused_then rm -f box; fi
    fault ''
    [ -z "$(status_of box)" ] || complain "it is still there"
    fault "$spec"
    try "$1" run -d --name box -v "$PWD/tree:/w" --label modal.orphan_grace=5 "$IMAGE" \
        sh -c 'trap "exit 7" TERM; echo one; echo two >&2; while :; do sleep 0.1; done' 9</dev/null
    if [ "$status" -ne 0 ]; then
        sed -i "/^Run 'docker run --help'/d; /^\$/d" err
        said
        fault ''
        docker rm -f box >/dev/null 2>&1 || true
        box
    fi
}

# It was refused, which is said; without the fault it works.
refused_then() {
    sed -i '/^Error: failed to start containers: box$/d' err # docker's second line
    said
    fault ''
    docker "$@" >/dev/null || complain "it does not work afterwards either"
}

# under SPEC LIMIT COMMAND...: each under the fault as it is set anew.
under() {
    spec=$1
    recovers=yes died=
    for name in "${@:3}"; do
        fault "$spec"
        "try_$name" "$2"
    done
    fault ''
}

ALL="exec mount cp logs follow ps life"

@test "no fault at all" {
    under '' 10 $ALL
}

# ---- slow ----

@test "latency of 100 ms" {
    under 'latency=100' 20 $ALL
}

@test "1 MB per second" {
    under 'bandwidth=1000000' 25 $ALL
}

# ---- cut ----

@test "each connection cut once, at any byte in either direction" {
    for bytes in 24 300 1500 20000 700000; do
        for way in drop drop-in; do
            under "$way=${bytes}x2" 15 exec mount cp logs ps
        done
    done
    for bytes in 300 3000; do
        for way in drop drop-in; do
            under "$way=${bytes}x2" 20 follow life
        done
    done
}

@test "a line that never holds: given up in time" {
    under 'drop=1500x9999' 20 cp logs ps
    under 'drop-in=1500x9999' 20 exec life
}

# ---- refused ----

@test "the k-th call refused as unavailable or busy, or its answer lost" {
    for k in 1 2 3 4 5; do
        for fault in "fail=*:$k" "lost=*:$k" "fail=*:$k:resource_exhausted:0.2"; do
            forget
            under "$fault" 15 exec mount cp logs ps
        done
    done
    for k in 2 4; do
        under "fail=*:$k" 20 life
        under "lost=*:$k" 20 life
    done
}

@test "a method that is always refused: one line, in time" {
    under 'fail=TaskExecStart:1-9999:unavailable' 20 exec
    under 'fail=TaskExecStart:1-9999:resource_exhausted' 20 logs
}

@test "tokens that expire between commands and during one" {
    under 'expire-tokens' 15 $ALL
    forget
    under 'token-ttl=3' 15 life # over as it comes, as if the clock here were ahead
    under 'token-ttl=4, bandwidth=1000000' 25 exec mount
}

# ---- ended ----

# begin NAME COMMAND...: in the background, its output in NAME.out and NAME.err.
begin() {
    local name=$1
    shift
    timeout -s KILL 90 "$ATP_BIN/atp-docker" "$@" >"$name.out" 2>"$name.err" <"${INPUT:-/dev/null}" 3>&- &
    pids[$name]=$!
}

# lost NAME CODE...: within 17 s of now (twice that on a slow machine), with one of the codes and at most one line.
lost() {
    local name=$1 status=0
    shift
    wait "${pids[$name]}" || status=$?
    [ $((SECONDS - began)) -le 34 ] || { echo "$name: only after $((SECONDS - began)) s"; return 1; }
    [[ " $* " == *" $status "* ]] || { echo "$name: exit code $status: $(cat "$name.err")"; return 1; }
    [ "$(sed '/^two$/d' "$name.err" | wc -l)" -le 1 ] || { echo "$name: $(cat "$name.err")"; return 1; }
}

# All that can be under way with a container when it goes; up and running when this returns.
busy() {
    declare -gA pids=()
    begin exec exec "$1" sh -c 'echo up; exec sleep 1000'
    begin mount exec "$1" sh -c 'echo up; echo x >/w/made; exec sleep 1000'
    begin follow logs -f "$1"
    begin attach attach "$1"
    mkfifo never # an archive that does not go on
    exec 8<>never
    INPUT=never begin cp cp - "$1:/tmp"
    begin wait wait "$1"
    until_true 10 grep -q up exec.out
    until_true 10 grep -q up mount.out
    until_true 10 grep -q one follow.out
}

# Whoever was told why says so; a process that was in it was killed.
all_lost() {
    lost exec 1 125 137
    lost mount 1 125 137
    lost follow 0 1 125
    lost attach 0 1 125 137
    lost wait 0 1 125
    lost cp 1
    [ ! -e tree/made ] || [ "$(cat tree/made)" = x ]
}

@test "a sandbox that dies under all of them: what is left starts again" {
    docker rm -f box >/dev/null
    fault 'die-after=3000'
    box
    busy box
    began=$((SECONDS + 3))
    all_lost
    fault ''
    until_true 15 has_ended
    [ "$(docker stop box)" = box ]
    run -1 docker exec box true
    [[ "$output" == *"is not running" ]]
    docker start box
    [ "$(docker exec box echo alive)" = alive ]
}

has_ended() { [ "$(docker inspect -f '{{.State.Status}}' box)" = exited ]; }

# With an engine that is started on demand, and folders of its own.
killed_engine() {
    export ATP_DOCKER_BACKEND=local XDG_STATE_HOME=$PWD/own XDG_RUNTIME_DIR=$PWD/run
    mkdir run
    docker pull -q "$IMAGE" >/dev/null 3>&-
    box
    docker run -d --name other "$IMAGE" sh -c 'trap "" TERM; sleep 1000' >/dev/null 3>&-
    busy box
    begin stop stop -t 60 other
    sleep 0.3
    began=$SECONDS
    kill -9 "$(engine_pid)"
    all_lost
    lost stop 0 1
    [ "$(docker ps -a --format '{{.Names}}' 3>&- | sort)" = $'box\nother' ]
    until_true 20 has_ended 3>&-
    docker start box other >/dev/null 3>&-
    [ "$(docker exec box echo alive)" = alive ]
    docker rm -f box other >/dev/null 3>&-
    [ -z "$(docker ps -aq 3>&-)" ]
}

@test "an engine killed with -9 under all of them, and started by the next command" {
    docker rm -f box >/dev/null
    status=0
    (killed_engine) & # not left of ||, where a failure would go on
    wait $! || status=$?
    (export XDG_STATE_HOME=$PWD/own && engine_stop)
    [ "$status" -eq 0 ]
}
