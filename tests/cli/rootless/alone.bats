# What is different for the engine of an ordinary user; started by ../rootless.sh, as that user.
bats_require_minimum_version 1.5.0
load ../common

setup_file() { suite_start; }
teardown_file() { suite_stop; }

# Tests of the network want the device and the program, or want one of them away.
way_out() {
    if [ -w /dev/net/tun ] && [ -x "$(command -v slirp4netns)" ]; then
        [ "$1" = there ] || skip "this user has a way out"
    else
        [ "$1" = closed ] || skip "this user has no way out"
    fi
}

@test "limits without a cgroup of one's own are refused, not ignored" {
    local flag
    for flag in "-m 64m" "--cpus 1"; do
        run -125 docker run --rm --network none $flag "$IMAGE" true
        [[ "$output" == *"limit was asked for, but cgroup"* ]]
    done
    docker run --rm --network none "$IMAGE" true
}

@test "info: rootless, as Docker says it, and why there are no limits" {
    local shown
    docker run --rm --network none "$IMAGE" true
    [ "$(docker info --format '{{json .SecurityOptions}} {{.MemoryLimit}}')" = '["name=rootless"] false' ]
    shown=$(docker info 2>&1)
    [[ "$shown" == *$'Security Options:\n  rootless\n'* ]]
    [[ "$shown" == *"WARNING: no limits: "* ]]
}

@test "a folder for the socket that cannot be made" {
    local dir
    mkdir -m 500 "$SUITE/closed"
    for dir in "$SUITE/closed" "$SUITE/closed/nowhere"; do
        XDG_RUNTIME_DIR=$dir run -125 docker run --rm --network none "$IMAGE" true
        [[ "${lines[0]}" == *"the folder of the engine's socket (XDG_RUNTIME_DIR"*"Permission denied" ]]
    done
}

@test "without a way out: said by name; --network none needs none" {
    way_out closed
    local missing=/dev/net/tun
    [ ! -w "$missing" ] || missing="install the package slirp4netns"
    run -125 docker run --rm "$IMAGE" true
    [[ "$output" == *"no network for containers without root"*"$missing"* ]]
    [[ "$(docker info 2>&1 >/dev/null)" == *"WARNING: no network for containers without root"*"$missing"* ]]
    [ "$(docker run --rm --network none "$IMAGE" sh -c 'ls /sys/class/net; id -u')" = "$(printf 'lo\n0')" ]
}

@test "a way out, but not to the host's loopback" {
    way_out there
    local port address pid
    port=${REGISTRY#localhost:}
    [ "$(docker run --rm "$IMAGE" sh -c 'ls /sys/class/net | grep -v lo')" = eth0 ]
    run docker run --rm "$IMAGE" timeout 5 nc -w 3 10.0.2.2 "$port"
    [ "$status" -ne 0 ]
    run docker run --rm "$IMAGE" timeout 5 nc -w 3 127.0.0.1 "$port"
    [ "$status" -ne 0 ]
    address=$(hostname -I | cut -d' ' -f1)
    [ -n "$address" ] || skip "this machine has no address but loopback"
    port=$(free_port)
    busybox nc -l -p "$port" -e echo reached 3>&- &
    pid=$!
    [ "$(docker run --rm "$IMAGE" sh -c "sleep 0.5; nc -w 5 $address $port </dev/null")" = reached ]
    kill "$pid" 2>/dev/null || true
}

@test "users of the range: owners, modes and set-user-id programs are the container's own" {
    run --separate-stderr docker run --rm --network none "$IMAGE" sh -c '
        echo x >/f; chown 1234:4321 /f; stat -c "%u:%g" /f; chown 65535 /f && chown 70000 /f'
    [ "${lines[0]}" = 1234:4321 ] || { echo "$output"; false; }
    [ "$status" -ne 0 ] # there is no 70000 in a range of 65536
    push_image suid:1 '{}' 'chmod 4755 $tree/bin/busybox; mkdir -m 700 $tree/secret; chown 1000 $tree/secret'
    [ "$(docker run --rm --network none -u 1000 "$REGISTRY/suid:1" sh -c 'busybox stat -c %u:%a /bin/busybox /secret')" = "$(printf '0:4755\n1000:700')" ]
    run docker run --rm --network none -u 33 "$REGISTRY/suid:1" ls /secret
    [ "$status" -ne 0 ]
}

@test "whiteouts and opaque folders of an image" {
    push_image layers:1 '{}' 'mkdir -p $tree/dir; echo 1 >$tree/dir/one; mknod $tree/null c 1 3 2>/dev/null || true'
    docker run --rm --network none "$REGISTRY/layers:1" sh -c 'rm -r /dir && mkdir /dir && [ -z "$(ls /dir)" ] && rm /bin/true && ! ls /bin/true'
}

@test "an engine that is killed takes its containers and their networks with it" {
    local client mine network=none
    [ ! -w /dev/net/tun ] || network=bridge
    docker run --rm --network "$network" "$IMAGE" sh -c 'echo up; sleep 300' >"$SUITE/up" 2>&1 3>&- &
    client=$!
    for _ in $(seq 300); do grep -q up "$SUITE/up" && break; sleep 0.1; done
    [ "$network" = none ] || pgrep -u "$(id -u)" slirp4netns
    kill -KILL "$(engine_pid)"
    wait "$client" || true
    docker run --rm --network none "$IMAGE" true
    for _ in $(seq 300); do
        mine=$(ps -u "$(id -u)" -o pid=,stat=,args= | awk '$2 !~ /^Z/ && /slirp4netns|sleep 300/ && !/awk/')
        [ -n "$mine" ] || break
        sleep 0.1
    done
    [ -z "$mine" ] || { echo "$mine"; false; }
    # What it left on the disk is gone too, and so is what the engine after it made.
    for _ in $(seq 300); do
        mine=$(ls "$XDG_STATE_HOME/atp-docker/engine/runtime/containers")
        [ -n "$mine" ] || break
        sleep 0.1
    done
    [ -z "$mine" ] || { echo "$mine"; false; }
}
