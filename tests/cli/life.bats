# Containers that stay: every verb of their life, in both orders, and what is wrong with their lines.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}
teardown() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    [ -z "$(docker ps -aq)" ]
}

status_of() { docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
is_running() { [ "$(status_of "$1")" = "running 0" ]; }
said_again() { [ "$(docker logs "$1" | grep -c ready)" -ge 2 ]; }
says() { docker logs "$1" 2>/dev/null | grep "$2"; }
gone() { ! docker inspect "$1" >/dev/null 2>&1; }
daemon() { echo "Error response from daemon: $*"; }

@test "run -d prints the id and nothing else, and does not hold what it was given" {
    docker run -d --name keep "$IMAGE" sleep 1000 >out 2>err
    [ "$(wc -c <out)" -eq 65 ]
    grep -qE '^[0-9a-f]{64}$' out
    [ ! -s err ]
    [ "$(docker ps -q --no-trunc)" = "$(cat out)" ]
    # a pipe ends when the client does, not when the container does
    [ "$(timeout 60 "$ATP_BIN/atp-docker" run -d "$IMAGE" sleep 1000 2>&1 | wc -l)" -eq 1 ]
}

@test "run -d of what cannot start: the id, the error, its code; the container stays as created" {
    status=0
    docker run -d --name bad "$IMAGE" nosuch >out 2>err || status=$?
    [ "$status" -eq 127 ]
    grep -qE '^[0-9a-f]{64}$' out
    grep -q 'exec: "nosuch": executable file not found in $PATH' err
    [ "$(status_of bad)" = "created 127" ]
    docker inspect --format '{{.State.Error}}' bad | grep -q nosuch
    run -126 docker run -d --rm --name bad2 "$IMAGE" /etc/passwd
    gone bad2
}

@test "a container that ends by itself: its code, its log, its files; nothing runs any more" {
    docker run -d --name short "$IMAGE" sh -c 'echo out; echo err >&2; echo kept >/kept; exit 5'
    [ "$(docker wait short)" = 5 ]
    [ "$(status_of short)" = "exited 5" ]
    [ "$(docker logs short 2>err)" = out ]
    [ "$(cat err)" = err ]
    docker start -a short >out 2>err || [ $? -eq 5 ]
    [ "$(cat out)" = out ]
    [ "$(cat err)" = err ]
}

@test "files stay over stop and start, also twice" {
    docker run -d --name web "$IMAGE" sh -c 'trap "exit 3" TERM; echo x >>/count; while :; do sleep 0.1; done'
    until_true 10 docker exec web test -s /count
    for n in 1 2 3; do
        [ "$(docker exec web sh -c 'wc -l </count')" -eq "$n" ]
        docker stop -t 50 web
        [ "$(status_of web)" = "exited 3" ]
        docker start web
        until_true 10 docker exec web sh -c "[ \$(wc -l </count) -eq $((n + 1)) ]"
    done
}

@test "create makes nothing run; start runs it; the settings are those of create" {
    id=$(docker create --name made -e A=b -w /tmp -u user --label k=v "$IMAGE" sh -c 'echo $A $PWD $(id -un); exit 4')
    [ "$(status_of made)" = "created 0" ]
    [ -z "$(docker ps -q)" ]
    [ "$(docker wait made)" = 0 ]
    run docker start -a made
    [ "$status" -eq 4 ]
    [ "$output" = "b /tmp user" ]
    [ "$(docker inspect --format '{{.Id}} {{.Config.Labels.k}}' made)" = "$id v" ]
}

@test "stop: signals and times; what is stopped or never ran is stopped" {
    docker run -d --name one "$IMAGE" sh -c 'trap "exit 7" USR1; trap "" TERM; echo ready; while :; do sleep 0.1; done'
    until_true 10 says one ready
    docker stop -s USR1 -t 50 one
    [ "$(status_of one)" = "exited 7" ]
    [ "$(docker stop one)" = one ]
    docker start one
    until_true 10 said_again one
    SECONDS=0
    docker stop -t 1 one
    [ "$SECONDS" -le 9 ] # without -t it has ten
    [ "$(status_of one)" = "exited 137" ]
    docker create --name two --stop-signal USR1 --stop-timeout 30 "$IMAGE" sh -c 'trap "exit 8" USR1; echo ready; while :; do sleep 0.1; done'
    [ "$(docker stop two)" = two ]
    docker start two
    until_true 10 says two ready
    docker stop two
    [ "$(status_of two)" = "exited 8" ]
    run -1 docker stop -s FOO one
    [ "$output" = "$(daemon 'Invalid signal: FOO')" ]
}

@test "kill: one signal, or the end" {
    docker run -d --name one "$IMAGE" sh -c 'trap "echo got" USR1; echo ready; while :; do sleep 0.1; done'
    until_true 10 says one ready
    [ "$(docker kill -s SIGUSR1 one)" = one ]
    until_true 5 says one got
    [ "$(status_of one)" = "running 0" ]
    docker kill one
    [ "$(status_of one)" = "exited 137" ]
    run -1 docker kill one
    [[ "$output" == "$(daemon cannot kill container: one: container )"*" is not running" ]]
    run -1 docker kill nosuch
    [ "$output" = "$(daemon cannot kill container: nosuch: No such container: nosuch)" ]
    run -1 docker kill -s 99 one
}

@test "restart: in place, and from the end" {
    docker run -d --name one "$IMAGE" sh -c 'echo x >>/count; exec sleep 1000'
    until_true 10 docker exec one test -s /count
    docker restart -t 0 one
    until_true 10 docker exec one sh -c '[ $(wc -l </count) -eq 2 ]'
    docker kill one
    docker restart one
    until_true 10 docker exec one sh -c '[ $(wc -l </count) -eq 3 ]'
    docker create --name two "$IMAGE" sleep 1000
    docker restart two
    [ "$(status_of two)" = "running 0" ]
}

@test "wait: each code in its line, the missing one said" {
    docker run -d --name one "$IMAGE" sh -c 'sleep 1; exit 3'
    docker run -d --name two "$IMAGE" sh -c 'exit 4'
    status=0
    docker wait one nosuch two one >out 2>err || status=$?
    [ "$status" -eq 1 ]
    [ "$(cat out)" = "$(printf '3\n4\n3')" ]
    [ "$(cat err)" = "$(daemon No such container: nosuch)" ]
    docker run -d --rm --name three "$IMAGE" sh -c 'sleep 1; exit 6'
    [ "$(docker wait three)" = 6 ]
    until_true 10 gone three
}

@test "--rm: gone after its end, after stop, after kill; the name is free at once" {
    for end in stop kill 'rm -f'; do
        docker run -d --rm --name again "$IMAGE" sleep 1000
        docker $end again
        gone again
    done
    docker run -d --rm --name again "$IMAGE" true
    until_true 10 gone again
    docker run --rm --name again "$IMAGE" true
    docker run --rm --name again "$IMAGE" true
}

@test "rm: what runs is refused, -f ends it; several, some of them missing" {
    docker run -d --name one "$IMAGE" sleep 1000
    docker create --name two "$IMAGE" true
    run -1 docker rm one
    [ "$output" = "$(daemon 'cannot remove container "/one": container is running: stop the container before removing or force remove')" ]
    status=0
    docker rm nosuch two one >out 2>err || status=$?
    [ "$status" -eq 1 ]
    [ "$(cat out)" = two ]
    [ "$(wc -l <err)" -eq 2 ]
    docker rm -f nosuch one >out 2>err
    [ "$(cat out)" = one ]
    [ "$(cat err)" = "$(daemon No such container: nosuch)" ]
    run -125 docker rm -l two
}

@test "two removals at once: one of them does it, nobody hangs" {
    for round in 1 2 3; do
        docker run -d --name twice -v "$PWD/tree$round:/w" "$IMAGE" sh -c 'echo made >/w/made; exec sleep 1000'
        until_true 10 docker exec twice test -s /w/made
        first=0 second=0
        docker rm -f twice >out1 2>err1 &
        docker rm -f twice >out2 2>err2 || second=$?
        wait $! || first=$?
        [ "$first" -eq 0 ] || [ "$second" -eq 0 ]
        for file in err1 err2; do
            [ ! -s $file ] || grep -qE 'already in progress|No such container' $file
        done
        gone twice
        [ "$(cat "tree$round/made")" = made ]
    done
}

@test "names: resolved by id, name, prefix; ambiguous, missing, taken, bad" {
    one=$(docker create --name one "$IMAGE" true)
    two=$(docker create --name "${one:0:3}" "$IMAGE" true)
    [ "$(docker inspect --format '{{.Id}}' "${one:0:3}")" = "$two" ] # a name wins over a prefix
    [ "$(docker inspect --format '{{.Id}}' "${one:0:20}")" = "$one" ]
    [ "$(docker inspect --format '{{.Id}}' /one)" = "$one" ]
    for i in $(seq 16); do docker create "$IMAGE" true; done >ids
    double=$(cut -c1 ids | sort | uniq -d | head -1)
    run -1 docker stop "$double"
    [ "$output" = "$(daemon "Multiple IDs found with provided prefix: $double")" ]
    run -1 docker create --name one "$IMAGE" true
    [[ "$output" == *"Conflict. The container name \"/one\" is already in use by container \"$one\". You have to remove (or rename) that container to be able to reuse that name."* ]]
    run -125 docker run -d --name one "$IMAGE" true
    run -1 docker create --name '*bad' "$IMAGE" true
    for verb in start stop kill restart wait rm; do
        run -1 docker "$verb" nosuch
        [[ "$output" == *"No such container: nosuch"* ]]
        run -1 docker "$verb" ''
        run -1 docker "$verb" '*'
    done
}

@test "rename: the new name counts, the old one is free" {
    docker run -d --name old "$IMAGE" sleep 1000
    docker rename old new
    gone old
    [ "$(docker inspect --format '{{.Name}}' new)" = /new ]
    docker create --name old "$IMAGE" true
    run -1 docker rename new old
    [[ "$output" == "$(daemon 'Conflict. The container name "/old" is already in use')"* ]]
    run -1 docker rename new new
    run -1 docker rename new '*'
    run -1 docker rename nosuch other
    [[ "$output" == *"No such container: nosuch"*"failed to rename container named nosuch" ]]
    # its agent knows it too
    find "$XDG_STATE_HOME/atp-docker" -maxdepth 1 -name 'state.db*' -delete
    [ "$(docker ps --format '{{.Names}}')" = new ]
}

@test "start: several, one of them missing or broken; -a takes one" {
    docker create --name one "$IMAGE" sleep 1000
    docker create --name broken "$IMAGE" nosuch
    status=0
    docker start one nosuch broken >out 2>err || status=$?
    [ "$status" -eq 1 ]
    [ "$(cat out)" = one ]
    [ "$(tail -1 err)" = "Error: failed to start containers: nosuch, broken" ]
    run -1 docker start -a one broken
    [ "$output" = "you cannot start and attach multiple containers at once" ]
    [ "$(docker start one)" = one ]
}

@test "start -ai: stdin and output of a container that was made with -i" {
    docker create -i --name cat "$IMAGE" sh -c 'cat; exit 9' >/dev/null
    run -9 docker start -ai cat <<<'hello'
    [ "$output" = hello ]
}

@test "run -d -i: stdin stays open until somebody attaches" {
    docker run -d -i --name cat "$IMAGE" sh -c 'read line; echo "got $line"' >/dev/null
    sleep 0.5
    [ "$(status_of cat)" = "running 0" ]
    echo hello | docker attach cat >out
    [ "$(cat out)" = "got hello" ]
}

@test "a mount agrees after stop, kill, wait, rm, and after an end that nobody saw" {
    for end in 'stop -t 0' kill 'rm -f' wait; do
        rm -rf tree
        mkdir tree
        echo host >tree/host
        docker run -d --name sync -v "$PWD/tree:/w" "$IMAGE" sh -c 'cat /w/host; echo made >/w/made; rm /w/host; echo ready; sleep 1000'
        until_true 10 says sync ready
        [ "$end" != wait ] || docker exec sync pkill sleep || docker kill -s KILL sync
        docker $end sync >/dev/null
        [ "$(cat tree/made)" = made ]
        [ ! -e tree/host ]
        docker rm -f sync >/dev/null
    done
    docker run -d --rm --name sync -v "$PWD/tree:/w" "$IMAGE" sh -c 'sleep 0.5; echo late >/w/late'
    until_true 10 gone sync
    [ "$(cat tree/late)" = late ]
}

@test "a foreground run without --rm is found again, settled and started" {
    docker run --name one "$IMAGE" sh -c 'echo hi; echo x >>/count; exit 3' || [ $? -eq 3 ]
    [ "$(status_of one)" = "exited 3" ]
    [ "$(docker logs one)" = hi ]
    run -3 docker start -a one
    docker rm one
}

# The monitor of the first life sees its end late, while the second one's process is held up on its way by its mount.
@test "started again while the last life's monitor is still there: it ends nothing of the new one" {
    mkdir tree
    docker run -d --name again -v "$PWD/tree:/w" "$IMAGE" \
        sh -c '[ ! -e /again ] || { echo second; exit 6; }; touch /again; exec sleep 1000' >id
    until_true 10 docker exec again test -e /again
    monitor=$(pgrep -f "atp monitor $(cat id)")
    kill -STOP "$monitor"
    docker stop -t 0 again
    docker logs again # brings away what the first life left
    exec 9>"$XDG_STATE_HOME/atp-docker/containers/$(cat id)/mount-0.lock"
    flock 9
    docker start -a again >out 2>err 9>&- 3>&- &
    sleep 1
    kill -CONT "$monitor"
    sleep 2
    exec 9>&-
    status=0
    wait $! || status=$?
    cat err
    [ "$status" -eq 6 ]
    [ "$(cat out)" = second ]
    [ "$(status_of again)" = "exited 6" ]
}

@test "a foreground client that is killed leaves its container running, and --rm still removes it" {
    "$ATP_BIN/atp-docker" run --rm --name left "$IMAGE" sh -c 'until test -e /end; do sleep 0.1; done' 3>&- &
    until_true 10 docker exec left true
    kill -9 $!
    wait $! || true
    [ "$(status_of left)" = "running 0" ]
    docker exec left touch /end
    until_true 20 gone left
}

@test "stopped or removed from elsewhere, a foreground run ends with the command's code" {
    docker run --rm --name front "$IMAGE" sh -c 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done' >out 2>err 3>&- &
    until_true 10 grep -q ready out
    docker stop -t 50 front
    status=0
    wait $! || status=$?
    [ "$status" -eq 5 ]
    [ ! -s err ]
    docker run --name front "$IMAGE" sleep 1000 >out 2>err &
    until_true 10 docker exec front true
    docker rm -f front
    status=0
    wait $! || status=$?
    [ "$status" -eq 137 ]
    [ ! -s err ]
}

@test "stop, kill and rm -f of a foreground run that has just begun: done, its client ends, the name is free" {
    for verb in kill "kill -s TERM" stop "rm -f"; do
        for i in 1 2 3 4; do
            docker run --rm --name early "$IMAGE" sleep 1000 3>&- &
            client=$!
            until_true 10 is_running early
            docker $verb early
            wait_code=0
            timeout 60 tail --pid=$client -f /dev/null
            wait $client || wait_code=$?
            [ $wait_code -eq 137 ] || [ $wait_code -eq 143 ]
            [ "$verb" != "kill -s TERM" ] || until_true 5 gone early
            docker create --name early "$IMAGE" true
            docker rm early
        done
    done
}

@test "--restart: started again, counted, and stopped for good by stop" {
    docker run -d --name again --restart on-failure:2 "$IMAGE" sh -c 'echo x; exit 3'
    [ "$(docker wait again)" = 3 ]
    [ "$(docker logs again | wc -l)" -eq 3 ]
    [ "$(docker inspect --format '{{.RestartCount}}' again)" -eq 2 ]
    docker run -d --name ever --restart always "$IMAGE" sh -c 'echo x; sleep 0.2'
    until_true 20 sh -c "[ \$('$ATP_BIN/atp-docker' inspect --format '{{.RestartCount}}' ever) -ge 2 ]"
    docker stop -t 1 ever
    sleep 1
    [ "$(docker inspect --format '{{.State.Status}}' ever)" = exited ]
}

@test "modal.timeout ends a container that nobody looks at, and its changes come back" {
    mkdir tree
    docker run -d --name timed --label modal.timeout=2 -v "$PWD/tree:/w" "$IMAGE" sh -c 'echo made >/w/made; sleep 1000'
    until_true 30 sh -c "[ \"\$('$ATP_BIN/atp-docker' inspect --format '{{.State.Status}}' timed)\" = exited ]"
    [ "$(status_of timed)" = "exited 124" ]
    [ "$(cat tree/made)" = made ]
}

@test "container prune: asks, filters, removes what has ended and nothing else" {
    docker run -d --name runs "$IMAGE" sleep 1000
    docker create --name created --label k=v "$IMAGE" true
    docker run --name ended --label k=w "$IMAGE" true
    run -0 docker container prune <<<n
    [ "$(docker ps -aq | wc -l)" -eq 3 ]
    docker container prune -f --filter until=1h
    [ "$(docker ps -aq | wc -l)" -eq 3 ]
    docker container prune -f --filter label=k=v
    gone created
    docker container prune --filter label!=k=w <<<y
    docker inspect ended >/dev/null
    run -1 docker container prune -f --filter nosuch=1
    docker container prune -f
    gone ended
    [ "$(docker ps -q | wc -l)" -eq 1 ]
}

@test "many at once: stop, kill and rm of a dozen" {
    for i in $(seq 12); do docker run -d --name "many$i" "$IMAGE" sleep 1000; done >ids
    docker stop -t 1 $(head -6 ids) >out
    [ "$(cat out)" = "$(head -6 ids)" ]
    docker rm -f $(docker ps -aq) >out
    [ "$(wc -l <out)" -eq 12 ]
    [ -z "$(docker ps -aq)" ]
}

@test "a server that forgets the sandbox: the container has ended, and can be started again" {
    docker run -d --name lost "$IMAGE" sleep 1000
    kill -9 "$(engine_pid)"
    until_true 30 sh -c "[ \"\$('$ATP_BIN/atp-docker' inspect --format '{{.State.Status}}' lost)\" = exited ]"
    docker start lost
    [ "$(docker exec lost echo alive)" = alive ]
}
