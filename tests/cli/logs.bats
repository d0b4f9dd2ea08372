# docker logs: what a container wrote, while it runs and after.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

# ended NAME COMMAND: a container that has run to its end.
ended() {
    docker run -d --name "$1" "$IMAGE" sh -c "$2" >/dev/null 3>&-
    docker wait "$1" >/dev/null
}

@test "both streams, byte for byte, running and ended" {
    docker run -d --name l1 "$IMAGE" sh -c 'printf "a\0b\n"; printf "err" >&2; printf "no newline"; sleep 3600' >/dev/null 3>&-
    for i in $(seq 300); do docker logs l1 2>/dev/null | grep -aq 'no newline' && break; sleep 0.1; done
    docker logs l1 >out 2>err
    printf 'a\0b\nno newline' | cmp - out
    printf 'err' | cmp - err
    docker kill l1
    docker logs l1 >out2 2>err2
    cmp out out2
    cmp err err2
    docker rm l1
}

@test "tail, since, until and time stamps" {
    ended l2 'for i in 1 2 3 4 5; do echo $i; done; sleep 1.2; echo late >&2; printf part'
    [ "$(docker logs --tail 2 l2 2>&1)" = $'late\npart' ]
    [ "$(docker logs -n 3 l2 2>/dev/null)" = $'5\npart' ]
    [ -z "$(docker logs --tail 0 l2 2>&1)" ]
    [ "$(docker logs --tail bogus l2 2>/dev/null | wc -l)" -eq 5 ]
    docker logs -t l2 2>/dev/null | head -1 | grep -Eq '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z 1$'
    stamp=$(docker logs -t l2 2>&1 >/dev/null | cut -d' ' -f1)
    [ "$(docker logs --since "$stamp" l2 2>&1)" = $'late\npart' ]
    [ "$(docker logs --until "$stamp" l2 2>&1)" = $'1\n2\n3\n4\n5' ]
    [ -z "$(docker logs --until 1h l2 2>&1)" ]
    run -1 docker logs --since foo l2
    [ "$output" = 'invalid value for "since": failed to parse value as time or duration: "foo"' ]
    docker rm l2
}

@test "-f goes on until the end, and ends with 0" {
    docker run -d --name l3 "$IMAGE" sh -c 'for i in 1 2 3; do echo $i; sleep 0.4; done; exit 9' >/dev/null 3>&-
    [ "$(timeout 60 "$ATP_BIN/atp-docker" logs -f l3)" = $'1\n2\n3' ]
    docker rm -f l3
}

@test "earlier runs stay" {
    ended l4 'echo run'
    docker start l4 3>&-
    docker wait l4
    [ "$(docker logs l4)" = $'run\nrun' ]
    [ "$(docker logs --tail 1 l4)" = run ]
    docker rm l4
}

@test "100 MB cost no memory" {
    ended l5 'yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678 | head -1250000'
    /usr/bin/env bash -c '[ -n "${ASAN_OPTIONS:-}" ] || ulimit -v 1500000; "$0/atp-docker" logs l5 | md5sum' "$ATP_BIN" >sum
    [ "$(cut -c1-32 sum)" = "$(yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678 | head -1250000 | md5sum | cut -c1-32)" ]
    [ "$(docker logs --tail 2 l5 | wc -l)" -eq 2 ]
    docker rm l5
}

@test "no such container" {
    run -1 docker logs nobody
    [[ "$output" == *"No such container: nobody"* ]]
}
