# A host outside this machine, for tests of what reaches it: a network namespace behind a pair of devices; sourced; needs root.
#
#   outside_start N     begins it (N: 0-63, another one for each suite) and sets OUTSIDE, an address whose port 80 says "outside"
#   outside_stop        ends it

outside_start() {
    OUTSIDE_NAME=outside$1
    OUTSIDE=198.51.100.$(($1 * 4 + 2)) # of a range that is kept for examples
    ip netns add "$OUTSIDE_NAME" || return 1
    ip link add "${OUTSIDE_NAME}a" type veth peer name "${OUTSIDE_NAME}b" netns "$OUTSIDE_NAME"
    ip addr add "198.51.100.$(($1 * 4 + 1))/30" dev "${OUTSIDE_NAME}a"
    ip link set "${OUTSIDE_NAME}a" up
    ip -n "$OUTSIDE_NAME" addr add "$OUTSIDE/30" dev "${OUTSIDE_NAME}b"
    ip -n "$OUTSIDE_NAME" link set "${OUTSIDE_NAME}b" up
    ip netns exec "$OUTSIDE_NAME" busybox nc -ll -p 80 -e busybox echo outside >/dev/null 2>&1 3>&- &
    OUTSIDE_PID=$!
    export OUTSIDE OUTSIDE_NAME OUTSIDE_PID
    for _ in $(seq 100); do
        [ "$(busybox nc -w 2 "$OUTSIDE" 80 </dev/null 2>/dev/null)" != outside ] || return 0
        sleep 0.1
    done
    echo "the host outside does not answer" >&2
    return 1
}

outside_stop() {
    kill "$OUTSIDE_PID"
    ip link del "${OUTSIDE_NAME}a"
    ip netns del "$OUTSIDE_NAME"
}
