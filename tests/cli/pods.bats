# Containers that share networks: they know each other by name, and each of them is a container like any other.
bats_require_minimum_version 1.5.0
load common

. "$ROOT/tests/lib/outside.sh"

setup_file() {
    suite_start
    outside_start 1
}
teardown_file() {
    outside_stop
    suite_stop
}
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    docker network create net1 >/dev/null
    docker network create net2 >/dev/null
}
teardown() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    docker network prune -f >/dev/null
    until_true 20 no_sandbox
}

sandboxes() { find "$XDG_STATE_HOME/atp-docker/engine/runtime/run" -mindepth 2 -maxdepth 2 -name 'sb-*' -printf '%f\n' 2>/dev/null; }
no_sandbox() { [ -z "$(sandboxes)" ]; }
begun() { [ "$(docker logs box)" = begun ]; }
# serve NAME WORDS...: a container that says its name to whoever connects to port 80.
serve() {
    docker run -d --name "$1" "${@:2}" "$IMAGE" sh -c "while :; do echo $1 | nc -l -p 80; done"
}
# asks NAME FROM WHAT: what NAME hears from the container it reaches by WHAT.
hears() {
    docker exec "$1" sh -c "for i in \$(seq 100); do nc $2 80 </dev/null && exit 0; sleep 0.2; done; exit 1"
}

@test "two containers of a network reach each other by name, alias and short id" {
    id=$(serve server --network net1 --network-alias www --network-alias api)
    docker run -d --name client --network net1 "$IMAGE" sleep 1000
    for name in server www api "${id:0:12}"; do
        [ "$(hears client $name)" = server ]
    done
    [ "$(docker run --rm --network net1 "$IMAGE" sh -c 'until nc server 80 </dev/null; do sleep 0.1; done')" = server ]
    run docker exec client nc nosuchname 80
    [ "$status" -ne 0 ]
    [ "$(sandboxes | wc -l)" -eq 1 ]
}

@test "a restarted container is found again, a stopped one is not" {
    serve server --network net1
    docker run -d --name client --network net1 "$IMAGE" sleep 1000
    [ "$(hears client server)" = server ]
    docker stop -t 0 server
    until_true 10 sh -c "! '$ATP_BIN/atp-docker' exec client nslookup server"
    docker start server
    [ "$(hears client server)" = server ]
}

@test "names are a network's own; who shares none is not let in" {
    serve first --network net1
    docker create --name both --network net1 --network net2 "$IMAGE" sleep 1000
    docker start both
    run -125 --separate-stderr docker run -d --name second --network net2 --network-alias other "$IMAGE" sleep 1000
    [[ "$stderr" == *"share a sandbox with first and could reach it, though they share no network"* ]]
    export ATP_DOCKER_APPROXIMATE=all
    serve second --network net2 --network-alias other
    [ "$(hears both first)" = first ]
    [ "$(hears both other)" = second ]
    run docker exec second nslookup first
    [ "$status" -ne 0 ]
    unset ATP_DOCKER_APPROXIMATE
}

# knows WHO NAME: the address that WHO is told for NAME; nothing for a name that is nobody's.
knows() { docker exec "$1" nslookup "$2" 2>/dev/null | sed -n '/^Name/,$s/^Address: *//p' | head -1; }

@test "a container that runs joins a network and leaves it: its names come and go" {
    docker run -d --name server --network net1 "$IMAGE" sleep 1000
    docker run -d --name client --network net1 "$IMAGE" sleep 1000
    ip=$(knows client server)
    [ -n "$ip" ]
    docker network connect --alias www --alias api net2 server
    [ -z "$(knows client www)" ]
    docker network connect net2 client
    for name in www API server.net2 server.net1 www.net2.; do
        [ "$(knows client $name)" = "$ip" ] || { echo "$name: $(knows client $name)"; return 1; }
    done
    run -1 --separate-stderr docker network connect net2 client
    [ "$stderr" = "Error response from daemon: endpoint with name client already exists in network net2" ]
    [ "$(docker network inspect -f '{{range .Containers}}{{.Name}} {{end}}' net2 | tr ' ' '\n' | sort | xargs)" = "client server" ]
    run -1 docker network rm net2
    [[ "$output" == *"has active endpoints"* ]]
    docker restart -t 0 server
    [ "$(knows client www)" = "$ip" ]
    docker network disconnect net2 server
    [ -z "$(knows client www)" ]
    [ "$(knows client server)" = "$ip" ]
    [ "$(docker ps --format '{{.Networks}}' -f name=server)" = net1 ]
    docker network disconnect net2 client
    docker network rm net2
    docker network create net2
}

@test "what a container that runs cannot join or leave is said" {
    docker network create --internal inner
    docker run -d --name one --network net1 "$IMAGE" sleep 1000
    docker run -d --name two --network net2 "$IMAGE" sleep 1000
    docker run -d --name in --network inner "$IMAGE" sleep 1000
    run -1 docker network connect net2 one
    [[ "$output" == *"containers of network net2 run in another sandbox; stop one and those"* ]]
    run -1 docker network connect net1 in
    [[ "$output" == *"the way out is settled at its start"* ]]
    run -1 docker network disconnect net1 one
    [[ "$output" == *"it would still reach what is outside"* ]]
    docker network create net3
    docker run -d --name both --network net1 --network net3 "$IMAGE" sleep 1000
    run -1 docker network disconnect net1 both
    [[ "$output" == *"it and one are in one sandbox and would still reach each other"* ]]
    [ -n "$(knows one both)" ]
    ATP_DOCKER_APPROXIMATE=all docker network disconnect net1 both
    [ -z "$(knows one both)" ]
    [ "$(docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}' both)" = "net3 " ]
}

@test "renamed while it runs: the new name is answered, the old one is not" {
    docker run -d --name server --network net1 --network-alias www "$IMAGE" sleep 1000
    docker run -d --name client --network net1 "$IMAGE" sleep 1000
    ip=$(knows client server)
    docker rename server other
    [ "$(knows client other)" = "$ip" ]
    [ -z "$(knows client server)" ]
    [ "$(knows client www)" = "$ip" ]
    docker run -d --name server --network net1 "$IMAGE" sleep 1000
    [ -n "$(knows client server)" ]
    [ "$(knows client server)" != "$ip" ]
}

@test "extra hosts, in a network and alone" {
    docker run -d --name server --network net1 --add-host extra:10.9.8.7 "$IMAGE" sleep 1000
    docker exec server nslookup extra | grep -q 10.9.8.7
    docker run --rm --add-host extra=10.9.8.7 "$IMAGE" nslookup extra | grep -q 10.9.8.7
}

@test "all that is done with a container is done with one in a network" {
    docker run -d --name box --network net1 "$IMAGE" sh -c 'echo begun; exec sleep 1000'
    [ "$(docker exec -e A=b -w /tmp box sh -c 'echo $A $PWD')" = "b /tmp" ]
    [ "$(echo piped | docker exec -i box cat)" = piped ]
    run -7 docker exec box sh -c 'exit 7'
    until_true 10 begun
    docker top box | grep -q sleep
    echo in >in
    docker cp in box:/in
    docker cp box:/in out
    cmp in out
    [ "$(docker ps --format '{{.Names}} {{.Networks}}')" = "box net1" ]
    [ "$(docker inspect -f '{{.State.Status}} {{.HostConfig.NetworkMode}}' box)" = "running net1" ]
    docker rename box other
    docker restart -t 0 other
    [ "$(docker exec other cat /in)" = in ]
    docker kill other
    [ "$(docker wait other)" = 137 ]
    docker rm other
    run -127 docker run --rm --network net1 "$IMAGE" nosuchcommand
    [ "$(docker run --rm -i --network net1 "$IMAGE" sh -c 'cat; exit 0' <<<text)" = text ]
    run -9 docker run --network net1 --name fg "$IMAGE" sh -c 'exit 9'
    run -9 docker start -a fg
    mkdir d
    docker run --rm --network net1 -v "$PWD/d:/d" "$IMAGE" sh -c 'echo made >/d/f'
    [ "$(cat d/f)" = made ]
}

@test "its files stay when it is stopped: what was made, changed and deleted" {
    docker run -d --name box --network net1 "$IMAGE" sleep 1000
    docker exec box sh -c 'echo kept >/kept; mkdir -m 700 /dir; ln -s kept /link; chown 5:6 /dir'
    docker stop -t 0 box
    until_true 10 no_sandbox
    docker cp box:/kept - | tar -xO | grep -q kept
    echo later >later
    docker cp later box:/later
    docker start box
    [ "$(docker exec box sh -c 'cat /kept /later /link; stat -c "%a %u:%g" /dir')" = "kept
later
kept
700 5:6" ]
    docker exec box sh -c 'rm -r /kept /home; echo changed >/later'
    docker stop -t 0 box
    docker start box
    [ "$(docker exec box sh -c 'cat /later; ls -d /kept /home 2>/dev/null; ls /bin/sh')" = "changed
/bin/sh" ]
    docker commit box committed
    [ "$(docker run --rm committed cat /later)" = changed ]
}

@test "files that are the same are each container's own" {
    for name in one two; do docker run -d --name $name --network net1 "$IMAGE" sleep 1000; done
    docker stop -t 0 one two
    docker start one
    docker stop -t 0 one
    docker start one
    docker exec one true
    docker rm -f one
    docker start two
    docker exec two true
}

@test "the hub goes with the last container, however it ends" {
    docker run -d --name one --network net1 "$IMAGE" sleep 1000
    docker run -d --name two --network net1 "$IMAGE" sleep 1000
    docker run -d --rm --network net1 "$IMAGE" sleep 0.2
    [ "$(sandboxes | wc -l)" -eq 1 ]
    docker rm -f one
    [ "$(sandboxes | wc -l)" -eq 1 ]
    docker stop -t 0 two
    until_true 10 no_sandbox
    docker start two
    [ "$(sandboxes | wc -l)" -eq 1 ]
    docker kill two
    until_true 10 no_sandbox
    docker run --rm --network net1 "$IMAGE" true
    until_true 10 no_sandbox
    [ "$(sqlite3 -readonly "$XDG_STATE_HOME/atp-docker/state.db" 'SELECT count(*) FROM pods')" -eq 0 ]
}

@test "an internal network leads nowhere but to its containers" {
    docker network create --internal inner
    serve server --network inner
    docker run -d --name client --network inner "$IMAGE" sleep 1000
    [ "$(hears client server)" = server ]
    [ "$(docker run --rm "$IMAGE" nc -w 20 "$OUTSIDE" 80)" = outside ]
    [ "$(docker run --rm --network net1 "$IMAGE" nc -w 20 "$OUTSIDE" 80)" = outside ]
    run ! docker exec client nc -w 3 "$OUTSIDE" 80
    run ! docker run --rm --network inner "$IMAGE" nc -w 3 "$OUTSIDE" 80
    run ! docker run --rm --network none "$IMAGE" nc -w 3 "$OUTSIDE" 80
    [ "$(hears client server)" = server ]
}

@test "a state folder that is lost: containers, names and networks are found again" {
    serve server --network net1 --network-alias www
    docker run -d --name client --network net1 "$IMAGE" sleep 1000
    mkdir lost
    mv "$XDG_STATE_HOME"/atp-docker/state.db* "$XDG_STATE_HOME/atp-docker/containers" lost
    [ "$(docker ps --format '{{.Names}}' | sort)" = "client
server" ]
    [ "$(docker network ls -f type=custom --format '{{.Name}}')" = net1 ]
    docker network create net2 # teardown's
    [ "$(docker inspect -f '{{.HostConfig.NetworkMode}}' server)" = net1 ]
    [ "$(hears client www)" = server ]
    docker pull -q "$IMAGE"
    [ "$(docker run --rm --network net1 "$IMAGE" sh -c 'until nc www 80 </dev/null; do sleep 0.1; done')" = server ]
    docker rm -f server client
    until_true 10 no_sandbox
}

@test "two scopes with the same names never meet" {
    serve server --network net1
    (
        export ATP_DOCKER_SCOPE=other XDG_STATE_HOME=$WORK/state
        mkdir -p "$XDG_STATE_HOME/atp-docker"
        ln -s "$SUITE/state/atp-docker/engine" "$XDG_STATE_HOME/atp-docker/engine"
        docker network create net1
        [ -z "$(docker ps -aq)" ]
        docker run -d --name client --network net1 "$IMAGE" sleep 1000
        run docker exec client nslookup server
        [ "$status" -ne 0 ]
        docker rm -f client
    )
    [ "$(docker ps --format '{{.Names}}')" = server ]
    docker exec server true
}

@test "the engine is killed: what was in the pod has ended, and starts again" {
    docker run -d --name one --network net1 "$IMAGE" sleep 1000
    docker run -d --name two --network net1 "$IMAGE" sleep 1000
    kill -9 "$(engine_pid)"
    until_true 30 sh -c "[ -z \"\$('$ATP_BIN/atp-docker' ps -q)\" ]"
    docker start one two
    docker exec one true
    docker exec two true
}
