#!/usr/bin/env bats
# Containers whose agent was replaced by who is root in them: it lies, says nothing, or is not there. Every verb ends
# with a line of its own, nothing that is printed as ours speaks to the terminal, and stop, kill and rm -f end the
# container whatever is said in it.

setup_file() {
    . "$BATS_TEST_DIRNAME/common.bash"
    suite_start
}

teardown_file() {
    . "$BATS_TEST_DIRNAME/common.bash"
    suite_stop
}

setup() {
    . "$BATS_TEST_DIRNAME/common.bash"
    LIAR=${ATP_TESTS:-$(dirname "$ATP_BIN")/tests}/liar
    HELLO=$("$LIAR" hello | wc -c) # bytes of a HELLO, which grows
}

teardown() {
    docker rm -f liar >/dev/null 2>&1 || true
}

# liar SCRIPT WORD...: a container "liar" whose agent is SCRIPT, which may say the frames WORD... from the file /frames.
liar() {
    local script=$1
    shift
    docker run -d --name liar "$IMAGE" sleep 1000 >/dev/null 3>&-
    "$LIAR" "$@" | docker exec -i liar sh -c 'cat >/frames'
    docker exec liar sh -c "cd /.atp/*/ && printf '%s\n' '#!/bin/sh' '$script' >/agent.new && chmod 755 /agent.new &&
        rm agent && mv /agent.new agent"
}

# No control character but newline, and the carriage return that docker puts behind a refusal of exec.
is_tame() {
    ! printf '%s' "$1" | tr -d '\r\n' | grep -q '[[:cntrl:]]'
}

@test "refusals and errors with escape sequences are printed without them, by every verb" {
    local words verb

    for words in 'refused=3,\e]0;pwned\n\e[2Jdocker: all is well' 'error=0,\e]0;pwned\n\e[2Jdocker: all is well'; do
        liar 'cat /frames; exec sleep 1000' hello "$words"
        for verb in "exec liar true" "top liar" "logs liar" "attach --no-stdin liar" "wait liar" \
            "cp liar:/etc/passwd -" "kill -s HUP liar" "restart -t 1 liar" "kill liar"; do
            run docker $verb
            [[ $output == *pwned* ]] || { echo "$verb: $output"; false; }
            is_tame "$output" || { echo "$verb: $output"; false; }
            [[ $output != *$'\n'"docker: all is well"* && $output != *$'\n?'* ]] || { echo "$verb: $output"; false; }
        done
        [[ $(docker ps -a --format '{{.Status}}') == "Exited (137)"* ]]
        docker rm liar
    done
}

@test "stop and rm -f of a container whose agent is not there" {
    local verb

    for verb in "stop -t 1" "kill" "rm -f"; do
        liar 'exit 1'
        docker exec liar true 3>&- && false
        run docker $verb liar
        [ "$status" -eq 0 ]
        [[ $verb == rm* || $output == *"the agent of container liar has failed"*"the server ends its sandbox"* ]]
        run docker ps -q
        [ -z "$output" ]
        docker rm -f liar
    done
}

@test "its files are kept all the same, and it can be asked for them" {
    liar 'exit 1'
    docker stop -t 1 liar
    run docker wait liar
    [ "$output" = 137 ]
    run docker logs liar # what it wrote is with its agent, and lost
    [ -z "$output" ]
}

@test "rm -f of one that keeps its lease and never answers" {
    liar 'cat /frames; while :; do printf "\023\000\000\000\000"; sleep 1; done' hello
    run timeout 120 "$ATP_BIN/atp-docker" rm -f liar
    [ "$status" -eq 0 ]
    [ -z "$(docker ps -aq)" ]
}

@test "ends that no process has are not believed" {
    local frame

    for frame in exit=256 exit=-1 refused=99,x hello=2,-1; do
        if [[ $frame == hello* ]]; then
            liar 'cat /frames; exec sleep 1000' "$frame"
        else
            liar 'cat /frames; exec sleep 1000' hello "$frame"
        fi
        run docker exec liar true
        [ "$status" -eq 1 ]
        [[ $output == *"the connection to the container is lost: the container's agent: "* ]]
        docker rm -f liar
    done
}

@test "frames after the end, twice the end, a frame of four GiB: one line each" {
    liar 'cat /frames; exec sleep 1000' hello exit=3 exit=4
    run docker exec liar true
    [ "$status" -eq 3 ]
    docker rm -f liar
    liar 'cat /frames; exec sleep 1000' hello big=13,4294967295
    run docker exec liar true
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
}

@test "a log out of order and a log without end" {
    liar 'cat /frames; exec sleep 1000' hello 'log=9223372036854775807,late\n' 'log=-9223372036854775808,early\n' exit=0
    run docker logs -t liar
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    docker rm -f liar
    liar "head -c $HELLO /frames; while :; do tail -c +$((HELLO + 1)) /frames; done" hello 'log=1,yes\n'
    run bash -c "'$ATP_BIN/atp-docker' logs liar | head -n 1000 | sort | uniq -c"
    [[ $output == *"1000 yes" ]]
}

@test "a list of processes without end is refused, not gathered" {
    liar "head -c $HELLO /frames; while :; do tail -c +$((HELLO + 1)) /frames; done" hello 'stdout={"pid":1}\n'
    run docker top liar
    [ "$status" -eq 1 ]
    [[ $output == *"the list of processes is too long"* || $output == *"does not answer"* ]]
    docker rm -f liar # whose answer is as long
    [ -z "$(docker ps -aq)" ]
}
