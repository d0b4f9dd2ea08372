# docker network create, ls, inspect, rm, prune, connect, disconnect; the texts are those of a real daemon.
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
    docker network prune -f >/dev/null
}

# says CODE TEXT COMMAND...: on stderr, and nothing on stdout.
says() {
    run "-$1" --separate-stderr "${@:3}"
    [ -z "$output" ] || { echo "stdout: $output"; return 1; }
    [ "$stderr" = "$2" ] || { echo "stderr: $stderr"; return 1; }
}
daemon="Error response from daemon:"

@test "created, listed, shown, removed" {
    id=$(docker network create --label a=b --label c --label a=last --internal -o x=y nn)
    [[ "$id" =~ ^[0-9a-f]{64}$ ]]
    [ "$(docker network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}}')" = "bridge bridge local false
host host local false
nn bridge local true
none null local false" ]
    [ "$(docker network ls | head -1)" = "NETWORK ID     NAME      DRIVER    SCOPE" ]
    [ "$(docker network ls --format '{{.ID}} {{.Labels}} {{.Label "a"}}' -f name=nn)" = "${id:0:12} a=last,c= last" ]
    [[ "$(docker network ls --format json -f id=$id)" == '{"CreatedAt":"20'*' +0000 UTC","Driver":"bridge","ID":"'"${id:0:12}"'",'*'"Name":"nn","Scope":"local"}' ]]
    [ "$(docker network ls -q --no-trunc -f type=custom)" = "$id" ] || [ "$(docker network ls -q -f type=custom)" = "${id:0:12}" ]
    docker network inspect nn | python3 -c '
import json, sys
n, = json.load(sys.stdin)
assert n["Name"] == "nn" and n["Internal"] is True and n["Attachable"] is False
assert n["Labels"] == {"a": "last", "c": ""} and n["Options"] == {"x": "y"} and n["Containers"] == {}
assert list(n)[:5] == ["Name", "Id", "Created", "Scope", "Driver"] and n["Created"].endswith("Z")'
    [ "$(docker inspect -f '{{.Name}} {{.Id}}' nn "${id:0:7}")" = "nn $id
nn $id" ]
    [ "$(docker network rm "${id:0:9}")" = "${id:0:9}" ]
    says 1 "$daemon network nn not found
exit status 1" docker network rm nn
    [ -z "$(docker network rm -f nn)" ]
}

@test "what cannot be made" {
    docker network create nn
    says 1 "$daemon network with name nn already exists" docker network create nn
    says 1 "$daemon operation is not permitted on predefined host network" docker network create host
    says 1 "$daemon plugin \"foo\" not found" docker network create -d foo mm
    says 1 "$daemon only one instance of \"host\" network is allowed" docker network create -d host mm
    says 1 "--driver macvlan is not carried out by atp-docker: networks here are bridges" docker network create -d macvlan mm
    run -125 docker network create --subnet 10.0.0.0/8 mm
    run -1 docker network create -o com.docker.network.bridge.enable_icc=false mm
    run -1 docker network create -o modal.nosuch=1 mm
    run -1 docker network create -o modal.memory=many mm
    [ "$(docker network ls -q -f type=custom | wc -l)" -eq 1 ]
}

@test "what is not there, what is predefined, what is in use" {
    says 1 "[]
$daemon network nope not found" sh -c '"$0" network inspect nope >&2' "$ATP_BIN/atp-docker"
    run -1 --separate-stderr docker network inspect -f '{{.Name}}' bridge nope none
    [ "$output" = "bridge
none" ]
    [ "$stderr" = "$daemon network nope not found" ]
    says 1 "$daemon bridge is a pre-defined network and cannot be removed
exit status 1" docker network rm -f bridge
    id=$(docker network create nn)
    docker run -d --network nn --name runs "$IMAGE" sleep 1000
    says 1 "$daemon error while removing network: network nn id $id has active endpoints
exit status 1" docker network rm nn
    [ -z "$(docker network prune -f)" ]
    [ "$(docker network inspect -f '{{range .Containers}}{{.Name}}{{end}}' nn)" = runs ]
    [ "$(docker network ls -f dangling=true -q | wc -l)" -eq 0 ]
    docker stop -t 0 runs
    [ "$(docker network prune -f)" = "Deleted Networks:
nn" ]
    says 1 "$daemon network nn not found
Error: failed to start containers: runs" docker start runs
}

@test "filters that are none" {
    says 1 "$daemon invalid filter 'foo'" docker network ls -f foo=bar
    says 1 "$daemon invalid filter: 'type'='x'" docker network ls -f type=x
    says 1 "$daemon invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")" docker network ls -f dangling=x
    run -1 docker network prune -f --filter foo=x
    [ "$(docker network ls -f scope=global -q)" = "" ]
    docker network create nn
    docker network create xnn
    [ "$(docker network ls -f name=^n --format '{{.Name}}')" = "nn
none" ]
    [ "$(docker network ls -f name=nn --format '{{.Name}}')" = "nn
xnn" ]
}

@test "prune by label and age, and its question" {
    docker network create --label keep nn
    docker network create mm
    [[ "$(echo n | docker network prune)" == "WARNING! This will remove all custom networks not used by at least one container."* ]]
    [ -z "$(docker network prune -f --filter until=1h)" ]
    [ "$(docker network prune -f --filter label!=keep)" = "Deleted Networks:
mm" ]
    docker network create --label keep --label k=v both
    [ "$(docker network prune -f --filter label!=keep --filter label!=k=v)" = "Deleted Networks:
nn" ] # one that has them all is spared, as Docker has it
    docker network rm both
    docker network create --label keep nn
    [ "$(docker network ls -f type=custom --format '{{.Name}}')" = nn ]
}

@test "connect and disconnect change what a container that does not run will join" {
    docker network create nn
    docker network create mm
    docker create --name box "$IMAGE" true
    docker network connect --alias one --alias two nn box
    docker network connect mm box
    [ "$(docker inspect -f '{{.HostConfig.NetworkMode}} {{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.Aliases}} {{end}}' box)" = "nn mm [] nn [one two] " ]
    [ "$(docker ps -a -f network=mm --format '{{.Names}} {{.Networks}}')" = "box nn,mm" ] || [ "$(docker ps -a -f network=mm --format '{{.Names}} {{.Networks}}')" = "box mm,nn" ]
    docker network disconnect nn box
    [ "$(docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}' box)" = "mm " ]
    says 1 "$daemon container $(docker ps -aq --no-trunc -f name=box) is not connected to the network nn" docker network disconnect nn box
    says 1 "$daemon No such container: nope" docker network connect nn nope
    says 1 "$daemon network nope not found" docker network connect nope box
    docker create --name shut --network none "$IMAGE" true
    says 1 "$daemon container cannot be connected to multiple networks with one of the networks in private (none) mode" docker network connect nn shut
    docker create --name open --network host "$IMAGE" true
    says 1 "$daemon container sharing network namespace with another container or host cannot be connected to any other network" docker network connect nn open
    docker run -d --name runs "$IMAGE" sleep 1000
    for verb in connect disconnect; do
        says 1 "network $verb is not carried out by atp-docker while runs runs in a sandbox of its own: stop it, $verb it, and start it again" docker network $verb nn runs
    done
    docker stop -t 0 runs
    docker network connect nn runs
    docker start runs
    [ "$(docker network inspect -f '{{range .Containers}}{{.Name}}{{end}}' nn)" = runs ]
}

@test "addresses: of those that run, where their neighbours reach them" {
    docker network create nn
    docker run -d --network nn --network-alias x --name one "$IMAGE" sleep 1000
    docker run -d --name plain "$IMAGE" sleep 1000
    ip=$(docker inspect -f '{{(index .NetworkSettings.Networks "nn").IPAddress}}' one)
    [[ "$(docker exec one ip -4 addr)" == *"inet $ip/"* ]]
    [ "$(docker network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' nn)" = "one $ip" ]
    [ "$(docker network inspect -f '{{range .Containers}}{{.Name}}{{end}}' bridge)" = plain ]
    docker stop -t 0 one
    [ -z "$(docker inspect -f '{{(index .NetworkSettings.Networks "nn").IPAddress}}' one)" ]
    docker start one
    ip=$(docker inspect -f '{{(index .NetworkSettings.Networks "nn").IPAddress}}' one)
    [[ "$(docker exec one ip -4 addr)" == *"inet $ip/"* ]]
}

@test "what run refuses" {
    docker network create nn
    run -125 --separate-stderr docker run --rm --network nope "$IMAGE" true
    [[ "$stderr" == "docker: $daemon network nope not found"* ]]
    run -125 docker run --rm --network nn --ip 10.1.2.3 "$IMAGE" true
    run -125 docker run --rm --network name=nn,ip=10.1.2.3 "$IMAGE" true
    run -125 --separate-stderr docker run --rm --network nn --network none "$IMAGE" true
    [[ "$stderr" == "docker: conflicting options: cannot attach both user-defined and non-user-defined network-modes"* ]]
    run -125 --separate-stderr docker run --rm --network-alias xx "$IMAGE" true
    [[ "$stderr" == "docker: network-scoped aliases are only supported for user-defined networks"* ]]
    run -125 --separate-stderr docker run --rm --network nn --network nn "$IMAGE" true
    [[ "$stderr" == 'docker: network "nn" is specified multiple times'* ]]
    docker create --name later --network later "$IMAGE" true
    docker network create later
    docker start -a later
}
