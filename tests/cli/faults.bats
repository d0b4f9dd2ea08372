# What a network, a busy service and a dying machine do to a run. An engine of this suite's own makes the faults; the client
# talks to it as it would to Modal. Whatever happens, a run ends in time with the right result, or with one clear line, Docker's
# exit code and the host's tree as it was; and no sandbox is left.
bats_require_minimum_version 1.5.0
load common
load faulty

setup_file() {
    suite_start
    engine_stop
    export ATP_DOCKER_BACKEND=modal ENGINE_LOG=$SUITE/engine.log
    fault_engine_start 127.0.0.1:0 3>&-
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
    head -c 8388608 /dev/urandom >"$SUITE/input"
    fresh_tree "$SUITE/old"
    fresh_tree "$SUITE/new"
    (cd "$SUITE/new" && rm old && mkdir made && echo new >made/file && cp "$SUITE/input" made/big)
    docker pull -q "$IMAGE" >/dev/null
    docker run --rm "$IMAGE" true
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
    no_sandbox
}

# The methods that a run needs. The last one is asked for again by the command that follows.
CONTROL_METHODS="AuthTokenGet AppGetOrCreate ImageGetOrCreate SandboxCreateV2 SandboxWaitV2 SandboxTerminateV2"
ROUTER_METHODS="TaskExecStart TaskExecStdinWrite TaskExecStdioRead"

# ---- the exchange ----

# What a run pushes.
fresh_tree() {
    rm -rf "$1"
    mkdir -p "$1/dir"
    echo old >"$1/old"
    echo kept >"$1/kept"
    head -c 300000 /dev/zero >"$1/dir/zeros"
}

# exchange SPEC SECONDS: three times as many on a slow machine. 8 MiB through stdin and stdout, a tree pushed, changed and pulled, exit code 7, under a fault.
exchange() {
    local began
    spec=$1
    fresh_tree tree
    fault "$spec"
    began=$(date +%s%N)
    status=0
    timeout -s KILL $((3 * $2)) "$ATP_BIN/atp-docker" run --rm -i --label modal.orphan_grace=1 -v "$PWD/tree:/w" "$IMAGE" sh -c \
        'echo err >&2; mkdir /w/made; tee /w/made/big; rm /w/old; echo new >/w/made/file; exit 7' <"$SUITE/input" >out 2>err || status=$?
    took=$((($(date +%s%N) - began) / 1000000))
    fault ''
    sed -i -E '/^Unable to find image |: Pulling from |: Pull(ing fs layer| complete)$|^Digest: |^Status: /d' err
    [ "$status" -ne 137 ] || complain "it hung for $2 s"
}

complain() {
    echo "under '$spec': $1 (exit code $status after $took ms, $(stat -c %s out) bytes out, stderr: $(head -c 500 err))"
    tail -n 5 "$ENGINE_LOG"
    return 1
}

right() {
    [ "$status" -eq 7 ] || complain "the wrong exit code"
    cmp out "$SUITE/input" || complain "the wrong output"
    [ "$(cat err)" = err ] || complain "the wrong stderr"
    diff -r tree "$SUITE/new" || complain "the wrong tree"
}

# One line says why; the output is as far as it came, the tree as it was. A command that ended unheard gives its code, if
# that is not success.
refused() {
    [ "$status" -eq 125 ] || { [ "$status" -ne 0 ] && grep -q "has ended ($status)" err; } || complain "the wrong exit code"
    [ "$(grep -c '^docker: ..' err)" -eq 1 ] || complain "not one line"
    [ -z "$(grep -v -e '^docker: ' -e '^err$' -e '^$' -e "^Run 'docker run --help'" err)" ] || complain "more than one line"
    cmp -n "$(stat -c %s out)" out "$SUITE/input" || complain "the wrong output"
    diff -r tree "$SUITE/old" >/dev/null || complain "a changed tree"
}

right_or_refused() {
    if grep -q '^docker: ' err; then refused; else right; fi
}

# A client that knows nothing makes every call that there is.
forget() { rm -f "$XDG_STATE_HOME/atp-docker/state.db"*; }

# ---- slow ----

@test "no fault at all" {
    exchange '' 15
    right
    run ! fault nonsense
}

@test "latency of 100 ms" {
    exchange 'latency=100' 25
    right
}

@test "small bandwidth" {
    exchange 'bandwidth=6000000' 25
    right
}

@test "a sandbox that starts after 20 s, longer than a peer may be silent" {
    exchange 'slow-start=20000' 35
    right
    [ "$took" -ge 20000 ]
}

# ---- cut ----

@test "each connection cut once, at any byte in either direction" {
    for bytes in 1 24 100 700 3000 20000 100000 300000 1000000 4000000 8000000 8600000 12000000; do
        for way in drop drop-in; do
            exchange "$way=${bytes}x2" 15
            right
        done
    done
}

@test "many connections cut in a row" {
    for bytes in 3000 300000; do
        for way in drop drop-in; do
            exchange "$way=${bytes}x10" 20
            right_or_refused
        done
    done
}

@test "a line that never holds: given up in time" {
    exchange drop-in=200000x9999 30
    refused
}

# ---- refused ----

@test "the k-th call refused as unavailable, or its answer lost" {
    for k in $(seq 16); do
        forget
        exchange "fail=*:$k" 15
        right
        forget
        exchange "lost=*:$k" 15
        right
    done
}

@test "the k-th call of each method that a run makes" {
    for method in $CONTROL_METHODS $ROUTER_METHODS; do
        for k in 1 2 5; do
            exchange "fail=$method:$k, lost=$method:$((k + 1))" 15
            right
        done
    done
}

@test "a busy service that says when to come back" {
    for method in $CONTROL_METHODS; do
        forget
        exchange "fail=$method:1-2:resource_exhausted:0.2" 15
        right
    done
    docker run --rm "$IMAGE" true # its terminate was put off: the next command sees to it
}

@test "a method that is always refused: one line, in time" {
    for method in $ROUTER_METHODS $CONTROL_METHODS; do
        for code in unavailable resource_exhausted; do
            forget
            exchange "fail=$method:1-9999:$code" 20
            right_or_refused
        done
    done
    docker run --rm "$IMAGE" true
}

@test "a sandbox that was made but never heard of is found by the next command and ended" {
    spec=lost=SandboxCreateV2:1-99
    fault "$spec"
    run -125 timeout -s KILL 60 "$ATP_BIN/atp-docker" run --rm --label modal.orphan_grace=600 --name unheard "$IMAGE" true
    [ "$(grep -c '^docker: ..' <<<"$output")" -eq 1 ]
    fault ''
    run ! all_ended
    docker run --rm --name unheard "$IMAGE" true
    no_sandbox
}

@test "tokens that expire between runs and during one" {
    exchange 'expire-tokens' 15
    right
    exchange 'token-ttl=3' 15
    right
    exchange 'token-ttl=4, bandwidth=3000000' 30
    right
}

# ---- ended ----

# ends FAULT CODE LABEL...: a command that would go on is ended under a fault, within 15 s of it.
ends() {
    local began=$SECONDS
    spec=$1
    fresh_tree tree
    cp -a tree before
    fault "$spec"
    status=0
    timeout -s KILL 90 "$ATP_BIN/atp-docker" run --rm "${@:3}" -v "$PWD/tree:/w" "$IMAGE" sh -c 'echo up; echo x >/w/old; sleep 1000' >out 2>err || status=$?
    took=$(((SECONDS - began) * 1000))
    fault ''
    [ "$status" -eq "$2" ] || complain "the wrong exit code"
    [ "$took" -le 30000 ] || complain "too late" # twice the time, for a slow machine
    [ "$(grep -c '^docker: ..' err)" -eq 1 ] || complain "not one line"
    [ "$(wc -l <err)" -eq 1 ] || complain "more than one line"
    [ "$(cat out)" = up ] || complain "the wrong output"
    diff -r tree before >/dev/null || { echo x >before/old && diff -r tree before; } || complain "a tree neither old nor complete"
    rm -r before
    no_sandbox
}

@test "a sandbox that dies while the command runs" {
    ends 'die-after=1500' 1
    grep -q 'lost' err
}

@test "a lifetime that ends" {
    ends '' 124 --label modal.timeout=2
}

@test "an idle engine that has ended and comes back" {
    address=${MODAL_SERVER_URL#http://}
    fault_engine_stop
    fault_engine_start "$address" --idle-exit 1
    exchange '' 15
    right
    until_true 20 engine_gone
    run ! docker run --rm "$IMAGE" true
    fault_engine_start "$address"
    exchange '' 15
    right
}
