# docker exec and attach in containers that stay: the contracts of clients that do this hundreds of times.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    docker run -d --name box -e FROM_RUN=yes -w /tmp "$IMAGE" sleep 3600 >/dev/null 3>&-
}
teardown_file() {
    docker rm -f box >/dev/null
    suite_stop
}
# runs WORDS: a process of these words is in the box. stop WORDS ends it.
runs() {
    docker top box -eo pid,args | grep -q -- " $1\$"
}
stop() {
    docker exec box sh -c 'for p in /proc/[0-9]*; do
        [ "$(tr "\0" " " <$p/cmdline 2>/dev/null)" != "$1 " ] || kill "${p#/proc/}"
    done' sh "$1"
}
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

@test "streams are separate and byte-exact, nothing is added" {
    docker exec box sh -c 'printf "out\0x"; printf "err\n" >&2' >out 2>err
    printf 'out\0x' | cmp - out
    printf 'err\n' | cmp - err
}

@test "exit codes" {
    run -42 docker exec box sh -c 'exit 42'
    run -143 docker exec box sh -c 'kill -TERM $$'
    run -137 docker exec box sh -c 'kill -KILL $$'
}

@test "what cannot be run is said on stdout, on one line" {
    run -127 --separate-stderr docker exec box nosuch
    [[ "$output" == 'OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown'* ]]
    [ "${#lines[@]}" -eq 1 ]
    [ -z "$stderr" ]
    run -126 --separate-stderr docker exec box /etc/passwd
    [[ "$output" == 'OCI runtime exec failed'*'permission denied'* ]]
    run -126 --separate-stderr docker exec -u nobodyhere box true
    [[ "$output" == *'unable to find user nobodyhere: no matching entries in passwd file'* ]]
    run -127 --separate-stderr docker exec -w /nodir box true
    [[ "$output" == *'chdir to cwd ("/nodir")'* ]]
}

@test "user, directory and environment are the container's, or the line's" {
    [ "$(docker exec box sh -c 'pwd; echo $FROM_RUN')" = $'/tmp\nyes' ]
    printf '# note\nFILE=f\nBOTH=file\n' >env
    [ "$(GIVEN=g docker exec -w /etc -e GIVEN -e NOT_THERE -e BOTH=e --env-file env box \
        sh -c 'pwd; echo $GIVEN $FILE $BOTH ${NOT_THERE-none}')" = $'/etc\ng f e none' ]
    [ "$(docker exec -u 12:34 box id -u)" = 12 ]
    run -125 docker exec -e =x box true
}

@test "stdin is read with -i alone, and ends" {
    [ "$(printf 'a\nb\n' | docker exec -i box wc -l)" -eq 2 ]
    printf 'a\nb\n' | { docker exec box wc -l >n; cat >rest; }
    [ "$(cat n)" -eq 0 ]
    [ "$(wc -l <rest)" -eq 2 ]
}

@test "50 MiB through stdin and stdout" {
    head -c 52428800 /dev/urandom >big
    docker exec -i box cat <big | cmp - big
}

@test "1 MiB of arguments" {
    words=$(yes 0123456789012345678901234567890 | head -32768)
    [ "$(docker exec box sh -c 'echo $#' sh $words)" -eq 32768 ]
    [ "$(docker exec box sh -c 'echo ${#1}' sh "$(head -c 131000 /dev/zero | tr '\0' x)")" -eq 131000 ]
}

@test "a child in the background is not waited for long, and lives on" {
    start=$(date +%s%N)
    docker exec box sh -c 'sleep 77 >/dev/null 2>&1 </dev/null & echo started'
    [ $(($(date +%s%N) - start)) -lt 20000000000 ]
    docker exec box sh -c 'sleep 78 & echo started'
    [ $(($(date +%s%N) - start)) -lt 40000000000 ]
    runs 'sleep 77'
    runs 'sleep 78'
    stop 'sleep 77'
    stop 'sleep 78'
}

@test "-d returns at once and says nothing" {
    run -0 docker exec -d box sh -c 'sleep 1; echo done >/tmp/detached; exit 3'
    [ -z "$output" ]
    until_true 10 docker exec box test -e /tmp/detached
    docker exec box rm /tmp/detached
}

@test "a reader that has gone ends it at once, and the process with it" {
    start=$(date +%s%N)
    [ "$(docker exec box yes | head -1)" = y ]
    [ $(($(date +%s%N) - start)) -lt 20000000000 ]
    for _ in $(seq 300); do runs yes || break; sleep 0.1; done
    if runs yes; then return 1; fi
    docker exec box sh -c 'trap "" PIPE; while :; do echo here; sleep 0.1; done' 2>/dev/null | head -1
    [ $(($(date +%s%N) - start)) -lt 60000000000 ]
}

@test "the process outlives a client that is killed or told to end" {
    "$ATP_BIN/atp-docker" exec box sleep 55 3>&- &
    pid=$!
    until_true 10 runs 'sleep 55'
    kill -KILL $pid
    wait $pid || true
    runs 'sleep 55'
    "$ATP_BIN/atp-docker" exec box sleep 56 3>&- &
    pid=$!
    until_true 10 runs 'sleep 56'
    kill -TERM $pid
    code=0; wait $pid || code=$?
    [ $code -eq 0 ]
    runs 'sleep 56'
    stop 'sleep 55'
    stop 'sleep 56'
}

@test "partial output before a time-out" {
    timeout 100 "$ATP_BIN/atp-docker" exec box sh -c 'echo before; sleep 44' >out 3>&- &
    pid=$!
    until_true 10 grep -q before out
    kill $pid # as when its time is over
    wait $pid || true
    [ "$(cat out)" = before ]
    stop 'sleep 44'
}

@test "stdout and stderr into one pipe keep their order" {
    docker exec box sh -c 'for i in 1 2 3; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done' >both 2>&1
    [ "$(cat both)" = $'out1\nerr1\nout2\nerr2\nout3\nerr3' ]
}

@test "a terminal without one of ours, and one that is refused" {
    [ "$(docker exec -t box sh -c 'test -t 1 && echo tty')" = $'tty\r' ]
    run -1 docker exec -it box true </dev/null
    [ "$output" = "the input device is not a TTY" ]
    run -1 docker exec -it nobox true </dev/null
    [[ "$output" == *"No such container: nobox"* ]]
}

@test "detach keys leave the process, and say so" {
    (until_true 10 runs 'sleep 33'; sleep 1; printf '\030a'; sleep 1) |
        script -qefc "$ATP_BIN/atp-docker exec -it --detach-keys ctrl-x,a box sleep 33" out >/dev/null && code=0 || code=$?
    [ $code -eq 1 ]
    grep -q 'read escape sequence' out
    runs 'sleep 33'
    stop 'sleep 33'
    run docker exec -t --detach-keys foo box true
    [ "$status" -ne 0 ]
    [[ "$output" == *"invalid detach keys (foo)"* ]]
}

@test "a container that has stopped" {
    docker run -d --name gone "$IMAGE" true >/dev/null 3>&-
    docker wait gone
    run -1 docker exec gone true
    [[ "$output" == "Error response from daemon: "*ontainer\ $(docker ps -aq --no-trunc --filter name=gone)\ is\ not\ running ]]
    run -1 docker attach gone
    [ "$output" = "You cannot attach to a stopped container, start it first" ]
    docker rm gone
}

@test "attach: output from now on, the exit code, and stdin" {
    docker run -d -i --name reads "$IMAGE" sh -c 'while read x; do echo "got $x"; [ "$x" = end ] && exit 7; done' >/dev/null 3>&-
    (sleep 0.3; echo one; echo end) | docker attach reads >out && code=0 || code=$?
    [ $code -eq 7 ]
    [ "$(cat out)" = $'got one\ngot end' ]
    docker rm -f reads
}

@test "an exec that its container's end has killed: whoever asks next is told that it has ended" {
    for i in 1 2 3 4 5; do
        docker run -d --name dies "$IMAGE" sh -c 'until test -e /go; do sleep 0.05; done; exit 3' >/dev/null 3>&-
        run -137 docker exec dies sh -c 'touch /go; exec sleep 30'
        [ "$(docker ps -a --filter name=dies --format '{{.State}}')" = exited ]
        [ "$(docker inspect -f '{{.State.ExitCode}}' dies)" = 3 ]
        docker rm dies
    done
    run -137 docker exec box sh -c 'kill -KILL $$'
    [ "$(docker inspect -f '{{.State.Status}}' box)" = running ]
}

@test "attach: the terminal in there gets our size" {
    docker run -dit --name sized "$IMAGE" sh -c 'while [ "$(stty size)" != "24 80" ]; do sleep 0.05; done; stty size; exit 4' >/dev/null 3>&-
    sleep 5 | timeout 60 script -qefc "stty rows 24 cols 80; $ATP_BIN/atp-docker attach sized" out >/dev/null && code=0 || code=$?
    [ $code -eq 4 ]
    grep -q '^24 80' out
    docker rm sized
}
