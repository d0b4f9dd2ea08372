# Clients that are killed with -9 at every step by which they change something outside themselves (tests/tools/kill_at.c).
# Loaded after common.
#
#   walk COMMAND...       kills it at step 1, 2, 3... until it survives, and calls `after` each time
#   complain TEXT         fails, with what there is
#   nothing_left          no row, no folder and no sandbox; no_sandbox: that alone

state() { echo "$XDG_STATE_HOME/atp-docker"; }
# Sandboxes that the engine has now.
sandboxes() { find "$(state)/engine/runtime/run" -mindepth 2 -maxdepth 2 -name 'sb-*' -printf '%f\n'; }
rows() {
    sqlite3 -readonly "$(state)/state.db" "SELECT 'container', name, status, sandbox_id FROM containers
        UNION ALL SELECT 'intent', container_id, ending, sandbox_id FROM intents UNION ALL SELECT 'pod', id, networks, sandbox_id FROM pods"
}
folders() { find "$(state)/containers" -mindepth 1 -maxdepth 1 2>/dev/null; }
no_sandbox() { [ -z "$(sandboxes)" ]; }
nothing_left() { docker atp recover >/dev/null && [ -z "$(rows)$(folders)$(sandboxes)" ]; }

# The process that looks after a container while nobody else does.
monitor_of() { pgrep -f "atp monitor $(docker ps -q --no-trunc --filter "name=$1")"; }

complain() {
    echo "killed at step $n: $1"
    rows
    folders
    sandboxes
    tail -n 15 "$(state)/engine/engine.log"
    return 1
}

# `after` finds the exit code in $status.
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
