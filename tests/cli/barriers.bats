# Mounts of containers that stay: both sides agree when a command starts and when it returns, for many commands, several
# at once, killed at any instant, and for several containers on one folder.
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}
teardown() { docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null; }

# A container that does nothing but stay, with this folder at /work.
stay() { docker run -d -v "$PWD:/work" -w /work "$@" "$IMAGE" sleep 1000 3>&-; }

# Nothing runs in it but what it was made for.
only_main() { [ "$(docker top "$1" | wc -l)" = 2 ]; }

# The same names and contents on both sides, and nothing unfinished.
agree() {
    [ -z "$(find . -name '.atp*')" ]
    diff <(find . -type f -print0 | sort -z | xargs -0 -r sha256sum) \
        <(docker exec "$1" sh -c 'find . -type f -print0 | sort -z | xargs -0 -r sha256sum')
}

@test "what the host wrote is there in the next command, what that wrote is here when it returns" {
    c=$(stay)
    for i in 1 2 3 4 5; do
        echo "host $i" >in
        [ "$(docker exec "$c" sh -c 'cat in; echo "container of $(cat in)" >out')" = "host $i" ]
        [ "$(cat out)" = "container of host $i" ]
    done
    agree "$c"
}

@test "deletions go both ways" {
    mkdir d && echo 1 >d/a && echo 2 >d/b && echo 3 >c
    id=$(stay)
    rm d/a
    docker exec "$id" sh -c '! test -e d/a && test -e d/b && rm -r d'
    [ ! -e d ]
    [ "$(cat c)" = 3 ]
    docker exec "$id" rm c
    [ -z "$(ls -A)" ]
    [ -z "$(docker exec "$id" ls -A)" ]
}

@test "a failing command is a barrier too; where nothing changed nothing is stored" {
    c=$(stay)
    run docker exec "$c" sh -c 'echo x >left; exit 3'
    [ "$status" -eq 3 ]
    [ "$(cat left)" = x ]
    docker exec "$c" true
    before=$(cd "$XDG_STATE_HOME" && find . -name 'mount-*' -printf '%p %i %C@\n' | sort)
    sleep 0.1
    for i in 1 2 3; do docker exec "$c" true; done
    after=$(cd "$XDG_STATE_HOME" && find . -name 'mount-*' -printf '%p %i %C@\n' | sort)
    [ -n "$before" ]
    [ "$before" = "$after" ]
}

@test "twenty commands at once, each with a file of its own" {
    for i in $(seq 30); do echo "$i" >"f$i"; done
    c=$(stay)
    pids=()
    for i in $(seq 20); do
        docker exec "$c" sh -c "echo $i >made$i; echo more >>f$i; sleep 0.0$((i % 7)); rm f$((i + 10)) 2>/dev/null; true" \
            >"$SUITE/out$i" 2>&1 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    for i in $(seq 20); do
        [ "$(cat "made$i")" = "$i" ]
        [ ! -s "$SUITE/out$i" ] || { cat "$SUITE/out$i"; false; }
    done
    agree "$c"
    [ -z "$(find "$XDG_STATE_HOME" -path '*conflicts*' -type f)" ]
}

@test "two containers on one folder meet in it" {
    echo 1 >one
    a=$(stay) b=$(stay)
    docker exec "$a" sh -c 'echo a >from-a'
    [ "$(docker exec "$b" cat from-a one | tr '\n' ' ')" = 'a 1 ' ]
    docker exec "$b" sh -c 'rm one; echo b >from-b'
    docker exec "$a" sh -c '! test -e one && test "$(cat from-b)" = b'
    for i in 1 2 3; do
        docker exec "$a" sh -c "echo $i >>from-a" 3>&- &
        pa=$!
        docker exec "$b" sh -c "echo $i >>from-b" 3>&- &
        pb=$!
        wait $pa && wait $pb
    done
    [ "$(tr '\n' ' ' <from-a)" = 'a 1 2 3 ' ]
    [ "$(tr '\n' ' ' <from-b)" = 'b 1 2 3 ' ]
    agree "$a"
    agree "$b"
}

@test "a command killed at any instant, and the next one is right" {
    for i in $(seq 50); do echo "$i" >"f$i"; done
    c=$(stay)
    for wait in 0.01 0.03 0.05 0.07 0.1 0.2; do
        echo "$wait" >host
        rm -f gone && echo x >"new$wait"
        "$ATP_BIN/atp-docker" exec "$c" sh -c "echo $wait >>log; rm -f f50; head -c 3000000 /dev/urandom >big; sleep 0.05" 3>&- &
        pid=$!
        sleep "$wait"
        kill -9 $pid || true # it may be through
        wait $pid || true
        [ "$(docker exec "$c" cat host "new$wait" | tr '\n' ' ')" = "$wait x " ]
    done
    until_true 10 only_main "$c"
    docker exec "$c" true
    agree "$c"
    [ "$(ls f? f?? | wc -l)" -ge 49 ]
    [ -z "$(find "$XDG_STATE_HOME" -path '*conflicts*' -type f)" ]
}

@test "both changed one file: both survive, and one line says where" {
    echo old >both
    c=$(stay)
    mkfifo "$SUITE/tube"
    docker exec -i "$c" sh -c 'echo container >both; echo written; cat' <"$SUITE/tube" >"$SUITE/said" 2>"$SUITE/notes" 3>&- &
    pid=$!
    exec 4>"$SUITE/tube"
    until_true 10 grep -q written "$SUITE/said"
    echo host >both
    exec 4>&- # it ends
    wait $pid
    [ "$(cat both)" = host ]
    [ "$(grep -c conflict "$SUITE/notes")" = 1 ]
    [ "$(cat "$(find "$XDG_STATE_HOME" -path '*conflicts*' -name both)")" = container ]
    [ "$(docker exec "$c" cat both)" = host ]
}

@test "a source that is gone stops the command, and deletes nothing" {
    mkdir src && echo x >src/a
    c=$(docker run -d -v "$PWD/src:/work" -w /work "$IMAGE" sleep 1000 3>&-)
    docker exec "$c" cat a
    mv src away
    run docker exec "$c" cat a
    [ "$status" -ne 0 ]
    [[ "$output" == *"$PWD/src"* ]]
    [ ! -e src ]
    mv away src
    [ "$(docker exec "$c" cat a)" = x ]
    [ "$(cat src/a)" = x ]
    rm -r src
    docker stop -t 1 "$c"
    [ "$(docker ps -aq --filter status=exited | wc -l)" = 1 ]
    [ ! -e src ]
    docker rm "$c"
}

@test "stop brings the last changes home, and start goes on from there" {
    c=$(docker run -d -v "$PWD:/work" -w /work "$IMAGE" sh -c 'trap "echo bye >bye; exit 0" TERM; echo up >>log; while :; do sleep 0.05; done' 3>&-)
    docker exec "$c" sh -c 'until test -e log; do sleep 0.05; done; echo own >/root/own'
    docker stop "$c"
    [ "$(cat bye)" = bye ]
    rm bye && echo edited >while-stopped
    docker start "$c" 3>&-
    [ "$(docker exec "$c" sh -c 'until test $(wc -l <log) = 2; do sleep 0.05; done; cat while-stopped /root/own')" = 'edited
own' ]
    docker exec "$c" sh -c '! test -e bye'
    agree "$c"
}
