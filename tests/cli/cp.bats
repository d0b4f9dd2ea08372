# Copies into and out of containers where they can go wrong: large, slow, cut off, changing, unprivileged. What docker
# says and leaves behind line by line is in tests/conformance/cp.txt.

setup_file() {
    load common
    suite_start
    docker run -d --name cc "$IMAGE" sleep 100000 3>&-
}

teardown_file() {
    load common
    docker rm -f cc >/dev/null 2>&1 || true
    suite_stop
}

setup() {
    load common
    WORK=$SUITE/work-$BATS_TEST_NUMBER
    mkdir -p "$WORK"
    cd "$WORK"
}

# Runs with little room: what is held of a file is bounded.
narrow() {
    bash -c '[ -n "${ASAN_OPTIONS:-}" ] || ulimit -v 300000; exec "$@"' bash "$ATP_BIN/atp-docker" "$@" # its shadow needs terabytes
}

@test "a file larger than the memory goes in and out" {
    head -c 400000000 /dev/urandom >big
    narrow cp big cc:/big
    narrow cp cc:/big back
    cmp big back
    narrow cp cc:/big - | tar xOf - | cmp - big
    tar cf - big | narrow cp - cc:/tmp
    [ "$(docker exec cc sha256sum /tmp/big | cut -d' ' -f1)" = "$(sha256sum <big | cut -d' ' -f1)" ]
    docker exec cc rm /big /tmp/big
}

@test "a sparse file costs what it holds" {
    size=5G
    [ "${ATP_ENGINE_RUNTIME:-}" != runsc ] || size=1G # it knows of no holes: zeros are read to be found
    truncate -s "$size" sparse
    echo end >>sparse
    timeout 100 "$ATP_BIN/atp-docker" cp sparse cc:/sparse
    timeout 100 "$ATP_BIN/atp-docker" cp cc:/sparse back
    [ "$(stat -c %s back)" = "$(stat -c %s sparse)" ]
    [ "$(du -k back | cut -f1)" -lt 1000 ]
    [ "$(tail -c 4 back)" = end ]
    docker exec cc rm /sparse
}

@test "a reader, and an archive, slower than the lease" {
    head -c 12000000 /dev/urandom >slow
    docker cp slow cc:/slow
    tar cf slow.tar slow
    (head -c 50000 slow.tar; sleep 17; tail -c +50001 slow.tar) | docker cp - cc:/tmp 3>&- &
    docker cp cc:/slow - | (sleep 17; tar xOf -) | cmp - slow
    wait $!
    docker cp cc:/tmp/slow back
    cmp slow back
}

@test "a killed copy leaves the old file in the container" {
    head -c 300000000 /dev/urandom >big
    docker exec cc sh -c 'echo old >/victim'
    "$ATP_BIN/atp-docker" cp big cc:/victim 3>&- &
    sleep 0.4
    kill -KILL $!
    wait $! || true
    run docker exec cc head -c 3 /victim
    [ "$output" = old ] || [ "$(docker exec cc stat -c %s /victim)" = 300000000 ]
    for _ in $(seq 300); do # until the agent knows: its lease is 15 s
        [ -z "$(docker exec cc find / -maxdepth 1 -name '.atp-tmp*')" ] && break
        sleep 0.2
    done
    [ -z "$(docker exec cc find / -maxdepth 1 -name '.atp-tmp*')" ]
}

@test "a full disk here says so and leaves nothing half-made" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    mkdir small
    mount -t tmpfs -o size=1m none small
    docker exec cc sh -c 'mkdir -p /many && head -c 3000000 /dev/urandom >/many/much'
    run docker cp cc:/many small
    umount_left=$(find small -name '.atp-tmp*')
    umount small
    [ "$status" = 1 ]
    [[ $output == *"No space left on device"* ]]
    [ -z "$umount_left" ]
}

@test "a file that grows and shrinks while it is read" {
    : >moving
    (while :; do head -c $((RANDOM * 50)) /dev/zero >moving; done) 3>&- &
    mover=$!
    for _ in 1 2 3 4 5 6 7 8; do
        docker cp moving cc:/moving
        docker cp cc:/moving back
    done
    kill $mover
    [ -f back ]
}

@test "a container that makes the source a link meanwhile" {
    docker exec -d cc sh -c 'mkdir -p /race/d; echo x >/race/d/f; cd /race; while :; do mv d e; ln -s / d; rm d; mv e d; done'
    for _ in 1 2 3 4 5; do
        docker cp cc:/race out || true
        [ -L out/d ] || [ ! -e out/d/bin ] # the link itself may be what is found
        rm -rf out
    done
    docker exec cc pkill -f 'ln -s' || true
}

@test "many copies at once" {
    for i in 1 2 3 4 5 6 7 8; do
        echo "$i" >"f$i"
        (docker cp "f$i" "cc:/f$i" && docker cp "cc:/f$i" "g$i") 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    for i in 1 2 3 4 5 6 7 8; do [ "$(cat "g$i")" = "$i" ]; done
}

@test "compose's clients: the file that is there stays that file" {
    : >there
    ino=$(stat -c %i there)
    docker cp -L -- cc:/etc/passwd there
    [ "$(stat -c %i there)" = "$ino" ]
    grep -q '^root:' there
    run docker cp -L -- cc:/etc there
    [ "$status" = 1 ]
    [[ $output == *"cannot copy directory"* ]]
}

@test "what arrives here is the caller's, without special bits" {
    docker exec cc sh -c 'mkdir -p /own/d; echo s >/own/d/f; chown 12:34 /own/d/f; chmod 4640 /own/d/f; chmod 555 /own/d'
    docker cp cc:/own/d kept
    [ "$(stat -c '%u %a' kept/f)" = "$(id -u) 640" ]
    [ "$(stat -c %a kept)" = 555 ]
}
