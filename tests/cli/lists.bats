# docker ps, inspect and top: what they show of containers in every state, and what they refuse.
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
}

@test "nothing there: a header, an empty list, an error for each word" {
    [ "$(docker ps -a)" = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES" ]
    [ -z "$(docker ps -aq)" ]
    run -1 --separate-stderr docker inspect nope other
    [ "$output" = "[]" ]
    [ "$stderr" = "Error: No such object: nope
Error: No such object: other" ]
    run -1 --separate-stderr docker inspect -f '{{.Id}}' nope
    [ -z "$output" ]
}

@test "every state, in order, and back" {
    docker create --name made "$IMAGE" true >/dev/null
    docker run --name ended "$IMAGE" sh -c 'exit 7' || [ $? -eq 7 ]
    docker run -d --name runs "$IMAGE" sleep 1000 >/dev/null
    [ "$(docker ps -a --format '{{.Names}} {{.State}}')" = "runs running
ended exited
made created" ]
    [ "$(docker ps --format '{{.Names}}')" = runs ]
    [[ "$(docker ps -a -f name=ended --format '{{.Status}}')" == "Exited (7) "*" ago" ]]
    [[ "$(docker ps -f name=runs --format '{{.Status}}')" == "Up "* ]]
    [ "$(docker inspect -f '{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{eq .State.Pid 0}}' made ended runs)" = \
        "created false 0 true
exited false 7 true
running true 0 false" ]
    [ "$(docker inspect -f '{{.State.StartedAt}}' made)" = 0001-01-01T00:00:00Z ]
}

@test "filters of what harnesses ask: labels with slashes, blanks, JSON and line breaks" {
    a=$(docker create -l devcontainer.local_folder='/home/a b/x' -l config=/home/c.json "$IMAGE" true)
    b=$(docker create -l devcontainer.local_folder='/home/a b/x' -l config=/other "$IMAGE" true)
    docker create -l 'meta=[{"k":"v \"q\""},
{"n":"=,"}]' --name meta "$IMAGE" true >/dev/null
    [ "$(docker ps -q -a --no-trunc --filter 'label=devcontainer.local_folder=/home/a b/x' --filter label=config=/home/c.json)" = "$a" ]
    [ "$(docker ps -aq --no-trunc --filter 'label=devcontainer.local_folder=/home/a b/x' | sort)" = "$(printf '%s\n' "$a" "$b" | sort)" ]
    [ "$(docker inspect -f '{{index .Config.Labels "meta"}}' meta)" = '[{"k":"v \"q\""},
{"n":"=,"}]' ]
    [ -z "$(docker ps -aq --filter label=config=/home)" ]
}

@test "bytes that are no UTF-8 are shown as Docker shows them" {
    docker create --name odd -e "B=$(printf '\377x')" "$IMAGE" echo "$(printf 'a\377')" >/dev/null
    [ "$(docker inspect -f '{{index .Config.Env 0}} {{index .Args 0}}' odd)" = "B=$(printf '\357\277\275')x a$(printf '\357\277\275')" ]
    docker ps -a --no-trunc --format '{{.Command}}' | grep -q "a$(printf '\357\277\275')"
}

@test "labels, volumes and ports of the image are the container's" {
    push_image rich:1 '{"Cmd":["true"],"Labels":{"from":"image","both":"image"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}}}' :
    docker create --name rich -l both=line "$REGISTRY/rich:1" >/dev/null 2>&1
    [ "$(docker inspect -f '{{json .Config.Labels}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}}' rich)" = \
        '{"both":"line","from":"image"} {"80/tcp":{}} {"/data":{}}' ]
    [ "$(docker ps -a -f label=from=image -f expose=80 --format '{{.Names}}')" = rich ]
    [ -z "$(docker ps -aq -f expose=81 -f label=from)" ]
}

@test "our own part of inspect: Modal's options as they were given" {
    mkdir src
    ATP_DOCKER_MODAL_REGION=here docker create --name own -l modal.timeout=99 -v "$PWD/src:/src" --cpus 1.5 -m 100m "$IMAGE" true >/dev/null
    [ "$(docker inspect -f '{{.Atp.Lifetime}} {{.Atp.Modal.region.Value}} {{.Atp.Modal.region.Source}} {{.Atp.Modal.timeout.Source}} {{.Atp.Resources.MilliCpu}} {{.Atp.Resources.MemoryMiB}}' own)" = \
        "99 here env label 1500 100" ]
    [ "$(docker inspect -f '{{range .Mounts}}{{.Source}} {{.Destination}} {{.RW}}{{end}}' own)" = "$PWD/src /src true" ]
}

@test "--restart: what is asked for is shown, what contradicts itself refused" {
    docker create --name again --restart on-failure:3 "$IMAGE" true >/dev/null
    [ "$(docker inspect -f '{{json .HostConfig.RestartPolicy}}' again)" = '{"Name":"on-failure","MaximumRetryCount":3}' ]
    run -125 docker run --rm --restart always "$IMAGE" true
    [[ "$output" == *"conflicting options: cannot specify both --restart and --rm"* ]]
    run docker create --restart sometimes "$IMAGE" true
    [ "$status" -ne 0 ]
    [[ "$output" == *"invalid restart policy: unknown policy 'sometimes'"* ]]
}

@test "a rename and a removal are seen at once" {
    docker create --name one "$IMAGE" true >/dev/null
    docker rename one two
    [ "$(docker inspect -f '{{.Name}}' two)" = /two ]
    run -1 docker inspect --type container one
    docker rm two
    run -1 docker inspect two
    [ -z "$(docker ps -aq)" ]
}

@test "an image whose name was taken away is shown by its id" {
    push_image moving:1 '{"Cmd":["true"]}' :
    docker create --name old "$REGISTRY/moving:1" >/dev/null 2>&1
    id=$(docker inspect -f '{{.Image}}' old)
    push_image moving:1 '{"Cmd":["false"]}' 'echo new >"$tree/new"'
    docker pull -q "$REGISTRY/moving:1" >/dev/null
    [ "$(docker ps -a --format '{{.Image}}')" = "$(echo "$id" | cut -c8-19)" ]
    [ "$(docker ps -a --no-trunc --format '{{.Image}}')" = "$id" ]
}

@test "top: columns of ps, users of the container, what is refused" {
    docker run -d --name tt -u user "$IMAGE" sh -c 'sleep 1000 & sleep 2000; true' >/dev/null
    for _ in $(seq 300); do
        [ "$(docker top tt | wc -l)" -eq 4 ] && break
        sleep 0.1
    done
    [ "$(docker top tt -o pid,user,args | tail -n +2 | awk '{$1 = ""; print}' | sort)" = " user sh -c sleep 1000 & sleep 2000; true
 user sleep 1000
 user sleep 2000" ]
    docker top tt aux | awk 'NR > 1 && !($5 > 0 && $6 > 0) { exit 1 }'
    run -1 docker top tt -o cmd
    [[ "$output" == *"Couldn't find PID field in ps output" ]]
    run -1 docker top tt --forest
    [[ "$output" == *"'--forest' is not carried out"* ]]
    docker create --name idle "$IMAGE" true >/dev/null
    run -1 docker top idle
    [[ "$output" == "Error response from daemon: container "*" is not running" ]]
}

@test "fifty lists at once, while containers come and go" {
    for i in 1 2 3 4 5; do (docker create --name "busy$i" "$IMAGE" true && docker rm "busy$i") >/dev/null 3>&- & done
    for i in $(seq 50); do
        docker ps -a --format '{{.Names}} {{.Status}}' >"list$i" 2>"err$i" 3>&- &
        pids="${pids:-} $!"
    done
    for pid in $pids; do wait "$pid"; done
    wait
    [ -z "$(cat err*)" ]
    if grep -hvE '^busy[1-5] (Created|Removal In Progress)$' list*; then return 1; fi
}
