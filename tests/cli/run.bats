# docker run in the foreground: exit codes, streams, words, users, directories.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

@test "output and errors come on their own streams, byte for byte" {
    docker run --rm "$IMAGE" sh -c 'printf "out\0x"; printf "err\n" >&2' >out 2>err
    printf 'out\0x' | cmp - out
    printf 'err\n' | cmp - err
}

@test "the exit code is the command's" {
    run docker run --rm "$IMAGE" sh -c 'exit 42'
    [ "$status" -eq 42 ]
    run docker run --rm "$IMAGE" sh -c 'kill -TERM $$'
    [ "$status" -eq 143 ]
}

@test "a command that is not there is 127, one that cannot run is 126" {
    run -127 docker run --rm "$IMAGE" nosuch
    [[ "$output" == *'exec: "nosuch": executable file not found in $PATH'* ]]
    run docker run --rm "$IMAGE" /etc/passwd
    [ "$status" -eq 126 ]
    [[ "$output" == *'permission denied'* ]]
}

@test "stdin reaches the command only with -i" {
    [ "$(printf 'a\nb\n' | docker run --rm -i "$IMAGE" wc -l)" -eq 2 ]
    [ "$(printf 'a\nb\n' | docker run --rm "$IMAGE" wc -l)" -eq 0 ]
}

@test "20 MiB through stdin and stdout" {
    head -c 20971520 /dev/urandom >big
    docker run --rm -i "$IMAGE" cat <big | cmp - big
}

@test "ENTRYPOINT and CMD of the image, overridden as Docker does" {
    push_image words:1 '{"Entrypoint":["echo","entry"],"Cmd":["cmd"],"Env":["A=image"],"WorkingDir":"/var","User":"user"}' :
    [ "$(docker run --rm "$REGISTRY/words:1" 2>/dev/null)" = "entry cmd" ]
    [ "$(docker run --rm "$REGISTRY/words:1" x y)" = "entry x y" ]
    [ "$(docker run --rm --entrypoint pwd "$REGISTRY/words:1")" = /var ]
    [ "$(docker run --rm --entrypoint id "$REGISTRY/words:1" -un)" = user ]
    [ "$(docker run --rm --entrypoint '' "$REGISTRY/words:1" sh -c 'echo $A $HOME')" = "image /home/user" ]
    run docker run --rm --entrypoint '' "$REGISTRY/words:1"
    [ "$status" -eq 125 ]
}

@test "an image whose ENTRYPOINT fails still runs what --entrypoint says" {
    push_image false:1 '{"Entrypoint":["/bin/false"]}' :
    run docker run --rm "$REGISTRY/false:1" echo hi
    [ "$status" -eq 1 ]
    [ "$(docker run --rm --entrypoint echo "$REGISTRY/false:1" hi)" = hi ]
}

@test "environment: -e, --env-file, inherited, TERM only with -t" {
    printf 'B=file\n# no\nC="kept"\nINHERITED\n' >env
    INHERITED=yes D=client docker run --rm -e A=1 -e D -e NOSUCH --env-file env "$IMAGE" env >out
    grep -qx 'A=1' out
    grep -qx 'B=file' out
    grep -qx 'C="kept"' out
    grep -qx 'INHERITED=yes' out
    grep -qx 'D=client' out
    if grep -q NOSUCH out; then return 1; fi
    if grep -q '^TERM=' out; then return 1; fi
    grep -qx 'HOME=/root' out
    [[ "$(grep '^HOSTNAME=' out)" =~ ^HOSTNAME=[0-9a-f]{12}$ ]]
}

@test "-w makes a missing directory, -u takes names and numbers" {
    [ "$(docker run --rm -w /new/dir "$IMAGE" pwd)" = /new/dir ]
    [ "$(docker run --rm -u user "$IMAGE" id)" = "uid=1000(user) gid=1000(user) groups=50(staff),1000(user)" ] ||
        [ "$(docker run --rm -u user "$IMAGE" id -u)" = 1000 ]
    [ "$(docker run --rm -u 1234:99 "$IMAGE" sh -c 'id -u; id -g')" = $'1234\n99' ]
    run docker run --rm -u nosuch "$IMAGE" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"unable to find user nosuch: no matching entries in passwd file"* ]]
    run docker run --rm -w rel "$IMAGE" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"the working directory 'rel' is invalid, it needs to be an absolute path"* ]]
}

@test "-t gives a terminal: CRLF on one stream" {
    docker run --rm -t "$IMAGE" sh -c 'tty >/dev/null && echo yes; echo err >&2' >out 2>err
    printf 'yes\r\nerr\r\n' | cmp - out
    [ ! -s err ]
}

@test "-it without a terminal is refused with 1" {
    run docker run --rm -it "$IMAGE" true </dev/null
    [ "$status" -eq 1 ]
    [[ "$output" == *"the input device is not a TTY"* ]]
}

@test "limits are enforced" {
    run docker run --rm -m 32m "$IMAGE" sh -c 'head -c 200m /dev/zero | tail | wc -c'
    [ "$status" -ne 0 ] || [[ "$output" != 209715200 ]]
    run docker run --rm -m 1m "$IMAGE" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"Minimum memory limit allowed is 6MB"* ]]
}

@test "--network none has no interface but lo" {
    [ "$(docker run --rm --network none "$IMAGE" sh -c 'ls /sys/class/net')" = lo ]
}

@test "signals are passed on" {
    "$ATP_BIN/atp-docker" run --rm "$IMAGE" sh -c 'trap "exit 42" TERM; echo up; while :; do sleep 0.1; done' >out &
    pid=$!
    for _ in $(seq 100); do grep -q up out && break; sleep 0.1; done
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    [ "$status" -eq 42 ]
}

@test "--cidfile: written without a newline, refused when it exists" {
    docker run --rm --cidfile id "$IMAGE" true
    [ "$(wc -c <id)" -eq 64 ]
    run docker run --rm --cidfile id "$IMAGE" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"container ID file found"* ]]
}

@test "a megabyte of arguments, single ones of 128 KiB" {
    big=$(head -c 131000 /dev/zero | tr '\0' x)
    [ "$(docker run --rm "$IMAGE" sh -c 'echo $# ${#1}' sh "$big" "$big" "$big" "$big" "$big" "$big" "$big" "$big")" = "8 131000" ]
}

@test "a flag that is not carried out is refused by name" {
    for flag in --privileged --read-only "--pid host" "-p 80:80/udp" "--restart always" "--security-opt label=type:x"; do
        run docker run --rm $flag "$IMAGE" true
        [ "$status" -eq 125 ] || { echo "$flag: $status $output"; false; }
    done
}

@test "an image that is not there" {
    run docker run --rm "$REGISTRY/nosuch:1" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"Unable to find image"* ]]
    [[ "$output" == *"manifest"* ]]
    run docker run --rm "localhost:1/x" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"localhost:1"* ]]
    run docker run --rm "Bad//Ref" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"invalid reference format"* ]]
}

@test "nothing is left: no container, no sandbox" {
    running=$XDG_STATE_HOME/atp-docker/engine/runtime/run # what the runtime knows of
    "$ATP_BIN/atp-docker" run --rm "$IMAGE" sh -c 'echo up; sleep 3' >out 3>&- &
    until_true 20 grep -q up out
    [ "$(find "$running" -name 'sb-*' | wc -l)" -ge 1 ]
    wait $!
    for _ in $(seq 300); do
        n=$(find "$running" -name 'sb-*' | wc -l)
        [ "$n" -eq 0 ] && break
        sleep 0.1
    done
    [ "$n" -eq 0 ]
}
