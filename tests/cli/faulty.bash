# An engine of the suite's own that makes faults on request (backends/engine/fault.h); the client talks to it as it would to
# Modal. Loaded after common.
#
#   fault_engine_start HOST:PORT [OPTION...] / fault_engine_stop    $ENGINE_LOG is its log
#   fault SPEC                                                      from now on; an empty one ends them
#   no_sandbox                                                      fails unless all sandboxes end

# Its pid goes into a file, its address and credentials into the environment.
fault_engine_start() {
    local listen=$1
    shift
    rm -f "$SUITE/engine.env"
    "$ATP_BIN/atp-engine" --listen "$listen" --env-file "$SUITE/engine.env" --state-dir "$SUITE/engine" --fault '' --log "$ENGINE_LOG" "$@" 3>&- &
    echo $! >"$SUITE/engine.pid"
    until_true 20 test -s "$SUITE/engine.env"
    . "$SUITE/engine.env"
}

engine_gone() { process_gone "$(cat "$SUITE/engine.pid")"; }

fault_engine_stop() {
    kill "$(cat "$SUITE/engine.pid")" 2>/dev/null || true
    until_true 30 engine_gone
}

# Asking is subject to the faults that there are.
fault() {
    [ -n "$1" ] || { until_true 30 put_fault ''; return; }
    put_fault "$1"
}

put_fault() {
    curl -sS -f -m 20 -X PUT -H "x-modal-token-id: $MODAL_TOKEN_ID" -H "x-modal-token-secret: $MODAL_TOKEN_SECRET" \
        --data-binary "$1" "$MODAL_SERVER_URL/engine/fault"
}

# Every sandbox that was created has ended, and the runtime knows of none.
all_ended() {
    [ -z "$(comm -3 <(sed -n 's/.* sandbox \(sb-[^ ]*\) created$/\1/p' "$ENGINE_LOG" | sort -u) \
        <(sed -n 's/.* sandbox \(sb-[^ ]*\) ended: .*/\1/p' "$ENGINE_LOG" | sort -u))" ] &&
        [ -z "$(find "$SUITE/engine/runtime/run" -mindepth 2 -maxdepth 2 -name 'sb-*')" ]
}

no_sandbox() {
    until_true 40 all_ended || { echo "a sandbox is left"; tail -n 5 "$ENGINE_LOG"; return 1; }
}
