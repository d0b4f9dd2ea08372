# docker events: what is told, how it is written, how soon, and what a filter lets pass. And pause, which is one.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    SINCE=$(date +%s.%N)
}
teardown() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    [ -z "$(docker ps -aq)" ]
}

# Whoever writes starts into a file has begun to follow: it has seen one.
follows() {
    docker run --rm --name seen "$IMAGE" true
    [ -s "$1" ]
}
# What happened in this test so far.
told() { docker events --since "$SINCE" --until "$(date +%s.%N)" "$@"; }
actions() { told --format '{{.Action}}' "$@" | xargs; }

@test "a container's life, in order, each end once" {
    docker run --name c1 --label k=v "$IMAGE" sh -c 'exit 3' || [ $? -eq 3 ]
    docker start c1
    docker wait c1
    docker rm c1
    [ "$(actions --filter type=container)" = "create attach start die start die destroy" ]
    [ "$(told --filter event=die --format '{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}} {{.Actor.Attributes.k}}' | head -1)" = "3 c1 v" ]
}

@test "stop, kill, restart, rename, exec, pause, rm -f" {
    docker run -d --name c1 "$IMAGE" sleep 1000
    docker exec c1 true
    docker pause c1
    docker unpause c1
    docker rename c1 d1
    docker restart -t 0 d1
    docker stop -t 0 d1
    docker start d1
    docker kill d1
    docker rm d1
    docker run -d --name e1 "$IMAGE" sleep 1000
    docker rm -f e1
    actions --filter type=container >all
    # a restart and a stop without grace end by KILL, whether their first signal did it already or not
    sed -i 's/kill kill die stop/kill die stop/g' all
    [ "$(cat all)" = "create start exec_create: true exec_start: true exec_die pause unpause rename kill die stop start restart kill die stop start kill die destroy create start kill die destroy" ] || { cat all; false; }
    [ "$(told --filter event=rename --format '{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}')" = "/c1 d1" ]
    [ "$(told --filter event=exec_create --format '{{.Action}}')" = "exec_create: true " ]
}

@test "one that could not be started never started and never died" {
    docker run --name bad "$IMAGE" nosuch 2>/dev/null || [ $? -eq 127 ]
    docker rm bad
    [ "$(actions)" = "create attach destroy" ]
}

@test "as text, as JSON, as a template" {
    id=$(docker run -d --name c1 --label a=b "$IMAGE" sleep 1000)
    told --filter event=start >line
    grep -qE "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}(Z|[+-][0-9]{2}:[0-9]{2}) container start $id \(a=b, image=$IMAGE, name=c1\)$" line
    told --filter event=start --format '{{json .}}' >json
    told --filter event=start --format json | cmp - json
    grep -qE '^\{"status":"start","id":"'"$id"'","from":"'"$IMAGE"'","Type":"container","Action":"start","Actor":\{"ID":"'"$id"'","Attributes":\{"a":"b","image":"'"$IMAGE"'","name":"c1"\}\},"scope":"local","time":[0-9]{10},"timeNano":[0-9]{19}\}$' json
    [ "$(told --filter event=start --format '{{.Status}} {{.ID}} {{.Type}} {{.Actor.ID}} {{.Scope}}')" = "start $id container $id local" ]
    [ "$(told --filter event=start --format '{{.TimeNano}}')" = "$(sed 's,.*"timeNano":,,; s,}$,,' json)" ]
    run -64 docker events --format '{{' --until 0
    [[ "$output" = *"Error parsing format: template: :1:"* ]]
}

@test "the bridge and volumes: connected and mounted at the start, and the other way at the end" {
    docker volume create vol
    docker run --rm --name c1 -v vol:/data:ro "$IMAGE" true
    docker run --rm --network none "$IMAGE" true
    docker volume rm vol
    [ "$(told --format '{{.Type}} {{.Action}}' | sed -n '2,11p' | xargs)" = \
        "container create container attach network connect volume mount container start container die network disconnect volume unmount container destroy container create" ]
    [ "$(told --filter type=network --format '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}' | xargs)" = \
        "connect bridge bridge disconnect bridge bridge" ]
    [ "$(told --filter event=connect --format '{{.Actor.ID}}')" = "$(docker network ls -q --no-trunc --filter name=bridge)" ]
    [ "$(told --filter event=mount --format '{{.Actor.ID}} {{index .Actor.Attributes "destination"}} {{index .Actor.Attributes "read/write"}}')" = "vol /data false" ]
}

@test "a restart says how the life before it ended" {
    docker run -d --name c1 "$IMAGE" sh -c 'trap "exit 7" TERM; touch /ready; while :; do sleep 0.1; done'
    until docker exec c1 test -e /ready; do sleep 0.1; done
    docker restart -t 100 c1
    [ "$(told --filter event=die --format '{{.Actor.Attributes.exitCode}}')" = 7 ]
    docker restart -s KILL c1
    [ "$(told --filter event=die --format '{{.Actor.Attributes.exitCode}}' | xargs)" = "7 137" ]
}

@test "images: tag, commit, save, load, push, build; and what is copied" {
    local id
    docker run -d --name c1 "$IMAGE" sleep 1000
    docker commit -m words c1 made:1
    id=$(docker images -q --no-trunc made:1)
    docker tag made:1 "$REGISTRY/made:2"
    docker push -q "$REGISTRY/made:2"
    docker save -o made.tar made:1
    docker load -q -i made.tar
    printf 'FROM %s\nLABEL a=b\n' "$IMAGE" | docker build -q -t built:3 -
    [ "$(told --filter type=image --format '{{.Action}} {{.Actor.Attributes.name}}' | xargs)" = \
        "tag made:1 tag $REGISTRY/made:2 push $REGISTRY/made save $id load $id tag built:3" ]
    [ "$(told --filter event=push --format '{{.Actor.ID}}')" = "$REGISTRY/made:2" ]
    [ "$(told --filter event=commit --format '{{.Actor.Attributes.comment}} {{.Actor.Attributes.imageID}} {{.Actor.Attributes.imageRef}}')" = "words $id made:1" ]
    docker cp c1:/etc/passwd .
    docker cp passwd c1:/tmp
    docker export c1 >/dev/null
    [ "$(actions --filter container=c1 | cut -d' ' -f3-)" = "commit archive-path extract-to-dir export" ]
    docker rmi made:1 "$REGISTRY/made:2" built:3
}

@test "filters: the same key twice is or, two keys are and" {
    docker run -d --name one --label set=x "$IMAGE" sleep 1000
    docker run -d --name two "$IMAGE" sleep 1000
    [ "$(actions --filter container=one)" = "create start" ]
    [ "$(actions --filter container=one --filter container=two --filter event=start)" = "start start" ]
    [ "$(actions --filter label=set)" = "create start" ]
    [ "$(actions --filter label=set=y)" = "" ]
    [ "$(actions --filter image="$IMAGE" --filter event=create)" = "create create" ]
    [ "$(actions --filter type=network)" = "connect connect" ]
    [ "$(actions --filter type=network --filter event=disconnect)" = "" ]
    run -1 docker events --until 0 --filter nosuch=1
    [ "$output" = "Error response from daemon: invalid filter 'nosuch'" ]
}

@test "followed: the line is there within a tenth of a second, and a signal ends it" {
    "$ATP_BIN/atp-docker" events --format '{{json .}}' --filter event=start >lines 3>&- &
    follower=$!
    until_true 20 follows lines
    docker run -d --name c1 "$IMAGE" sleep 1000
    for _ in $(seq 20); do ! grep -q '"c1"' lines || break; sleep 0.1; done # two where others keep the machine busy
    [ "$(jq -r .Actor.Attributes.name lines | sort -u)" = $'c1\nseen' ]
    kill -INT "$follower"
    code=0
    wait "$follower" || code=$?
    [ "$code" -eq 130 ]
    "$ATP_BIN/atp-docker" events --filter event=start 3>&- >more &
    follower=$!
    until_true 20 follows more
    kill "$follower"
    code=0
    wait "$follower" || code=$?
    [ "$code" -eq 143 ]
}

@test "an attached run is told while it runs; health too" {
    "$ATP_BIN/atp-docker" events --filter event=start --filter event=health_status >lines 3>&- &
    follower=$!
    until_true 20 follows lines
    "$ATP_BIN/atp-docker" run --name c1 --health-cmd true --health-interval 200ms "$IMAGE" sleep 1000 3>&- &
    client=$!
    until_true 10 grep -q 'health_status: healthy' lines
    grep -q ' container start .*name=c1' lines
    grep -q ' container health_status: healthy ' lines
    kill "$follower"
    wait "$follower" || true
    docker kill c1
    wait "$client" || [ $? -eq 137 ]
}

@test "what ends of itself while nobody looks" {
    docker run -d --name c1 "$IMAGE" sh -c 'sleep 0.2; exit 9'
    docker wait c1
    [ "$(told --filter event=die --format '{{.Actor.Attributes.exitCode}}')" = 9 ]
    docker run -d --rm --name gone "$IMAGE" true
    for _ in $(seq 300); do
        [ -n "$(told --filter event=destroy)" ] && break
        sleep 0.05
    done
    [ "$(actions --filter container=gone)" = "create start die destroy" ]
}

@test "pause: nothing runs until unpause; what cannot be paused" {
    docker run -d --name c1 "$IMAGE" sh -c 'i=0; while :; do i=$((i+1)); echo $i >/m; mv /m /n; sleep 0.05; done'
    [ "$(docker pause c1)" = c1 ]
    [ "$(docker inspect --format '{{.State.Status}} {{.State.Paused}} {{.State.Running}}' c1)" = "paused true true" ]
    [[ "$(docker ps --format '{{.Status}}')" = "Up "*" (Paused)" ]]
    run -1 docker exec c1 true
    [ "$output" = "Error response from daemon: Container c1 is paused, unpause the container before exec" ]
    run -1 docker pause c1
    [[ "$output" = "Error response from daemon: Container "*" is already paused" ]]
    [ "$(docker unpause c1)" = c1 ]
    run -1 docker unpause c1
    [[ "$output" = "Error response from daemon: Container "*" is not paused" ]]
    first=$(docker exec c1 cat /n)
    until_true 10 docker exec c1 sh -c '[ "$(cat /n)" -gt "$1" ]' sh "$first"
    docker pause c1
    docker stop -t 0 c1
    run -1 docker pause c1
    [[ "$output" = "Error response from daemon: Container "*" is not running" ]]
}
