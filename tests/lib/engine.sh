# The engine that `docker` starts on demand, found by its lock and ended by pid; sourced. It needs XDG_STATE_HOME.

# Its pid, nothing when none runs.
engine_pid() {
    local pid
    pid=$(cat "$XDG_STATE_HOME/atp-docker/engine/lock" 2>/dev/null) || return 0
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
    */atp-engine*) echo "$pid" ;;
    esac
}

# Whether a process has ended; one that only waits to be collected (there may be no init that does) has.
process_gone() {
    local state
    state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) || return 0
    case $state in
    '' | Z* | X*) return 0 ;;
    *) return 1 ;;
    esac
}

# Asks it to end and waits until it has: it cleans up after its sandboxes.
engine_stop() {
    local pid
    pid=$(engine_pid)
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 300); do
        ! process_gone "$pid" || return 0
        sleep 0.1
    done
    echo "the engine (pid $pid) does not end" >&2
    return 1
}
