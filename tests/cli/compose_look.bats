# docker compose: verbs that look at a project (port, top, images, volumes, events), push and attach, and files that
# come from several places.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    export PROJECT=$SUITE/look COMPOSE_PROJECT_NAME=look COMPOSE_PROGRESS=plain
    mkdir -p "$PROJECT/sub"
    cd "$PROJECT"
    export PORT=$(comm -23 <(seq 20000 20999) <(ss -tanH | awk '{sub(".*:", "", $4); print $4}' | sort -u) | head -1)
    cat >compose.yaml <<YAML
include: [sub/inc.yaml]
x-base: &base
  image: $IMAGE
  command: sleep 1000
  stop_grace_period: 0s
services:
  web:
    <<: *base
    ports: ["127.0.0.1:$PORT:80", "81"]
    volumes: [data:/data]
  db:
    extends: {file: sub/base.yaml, service: base}
    volumes: [other:/o]
volumes: {data: {}, other: {}}
YAML
    cat >sub/base.yaml <<YAML
services: {base: {image: $IMAGE, command: sleep 999, stop_grace_period: 0s, env_file: e.env, environment: [B]}}
YAML
    cat >sub/inc.yaml <<'YAML'
services: {inc: {image: "${IMG}", command: [sh, -c, "read x; echo got $$x; exec sleep 1000"], stdin_open: true, tty: true, stop_grace_period: 0s}}
YAML
    echo "IMG=$IMAGE" >sub/.env
    echo "A=of the file" >sub/e.env
    echo "B=of the folder" >.env
    docker compose up -d --wait 3>&-
}
teardown_file() {
    (cd "$PROJECT" && docker compose --progress quiet down -v -t 0 3>&-)
    suite_stop
}
setup() { cd "$PROJECT"; }

dc() { docker compose "$@"; }
# Whoever follows the events of web has begun: it has seen one.
follows() {
    dc exec -T web true
    [ -s "$SUITE/events" ]
}

@test "files of other folders: their paths, their variables" {
    [ "$(dc exec -T db env | grep '^[AB]=' | sort)" = "A=of the file
B=of the folder" ]
    [ "$(dc ps --services | sort | tr '\n' ' ')" = "db inc web " ]
}

@test "port: the address here, and what is no port" {
    [ "$(dc port web 80)" = "127.0.0.1:$PORT" ]
    run -0 dc port web 81
    [[ $output =~ ^0\.0\.0\.0:[0-9]+$ ]]
    [ "$(dc port --index 1 --protocol TCP web 80)" = "127.0.0.1:$PORT" ]
    run -1 --separate-stderr dc port web 99
    [[ $stderr == "no port 99/tcp for container look-web-1: $PORT/tcp, "* ]]
    run -1 --separate-stderr dc port --protocol udp web 80
    [[ $stderr == "no port 80/udp for "* ]]
    run -1 --separate-stderr dc port web x
    [ "$stderr" = 'strconv.ParseUint: parsing "x": invalid syntax' ]
    run -1 --separate-stderr dc port web 65536
    [ "$stderr" = 'strconv.ParseUint: parsing "65536": value out of range' ]
    run -1 --separate-stderr dc port nope 80
    [ "$stderr" = 'service "nope" is not running' ]
}

@test "top: all containers in one table, by name" {
    run -0 dc top
    [[ ${lines[0]} =~ ^SERVICE\ +\#\ +UID\ +PID\ +PPID\ +C\ +STIME\ +TTY\ +TIME\ +CMD$ ]]
    [[ ${lines[1]} =~ ^db\ +1\ +root\ .*\ sleep\ 999$ ]]
    [[ ${lines[-1]} =~ ^web\ +1\ +root\ .*\ sleep\ 1000$ ]]
    run -0 dc top web
    [ "${#lines[@]}" -eq 2 ]
    run -0 dc top nope
    [ -z "$output" ]
}

@test "images: of each container, as a table, ids and JSON" {
    id=$(docker inspect --format '{{.Image}}' look-web-1)
    run -0 dc images
    [[ ${lines[0]} =~ ^CONTAINER\ +REPOSITORY\ +TAG\ +PLATFORM\ +IMAGE\ ID\ +SIZE\ +CREATED$ ]]
    [[ ${lines[3]} =~ ^look-web-1\ +${IMAGE%:*}\ +1\ +linux/amd64\ +${id:7:12}\  ]]
    [ "$(dc images -q)" = "${id#sha256:}" ]
    [ "$(dc images --format json web | jq -r '.[] | "\(.ContainerName) \(.ID) \(.Tag) \(.Platform)"')" = \
        "look-web-1 $id 1 linux/amd64" ]
}

@test "volumes: the project's, or those of services" {
    docker volume create unrelated
    [ "$(dc volumes -q)" = "look_data
look_other" ]
    [ "$(dc volumes)" = "DRIVER    VOLUME NAME
local     look_data
local     look_other" ]
    [ "$(dc volumes web)" = "DRIVER    VOLUME NAME
local     look_data" ]
    [ "$(dc volumes web db)" = "$(dc volumes)" ]
    [ "$(dc volumes inc)" = "DRIVER    VOLUME NAME" ]
    [ "$(dc volumes --format '{{.Name}}' db)" = look_other ]
    run -1 --separate-stderr dc volumes nope
    [ "$stderr" = "no such service: nope" ]
    docker volume rm unrelated
}

@test "events: what was, and what comes, without compose's labels" {
    run -0 dc events --since 1h --until 0s db
    [[ $output =~ ^[0-9-]+\ [0-9:.]+\ container\ create\ [0-9a-f]{64}\ \(image=$IMAGE,\ name=look-db-1\) ]]
    [[ $output != *web* ]] && [[ $output != *com.docker.compose* ]]
    "$ATP_BIN/atp-docker" compose events --json web >"$SUITE/events" 3>&- &
    follower=$!
    until_true 20 follows
    dc pause web
    dc unpause web
    until_true 10 grep -q unpause "$SUITE/events"
    kill -TERM "$follower"
    wait "$follower" || true
    [ "$(jq -r 'select(.action | startswith("exec") | not) | "\(.type) \(.action) \(.service) \(.attributes.name)"' "$SUITE/events")" = "container pause web look-web-1
container unpause web look-web-1" ]
}

@test "attach: both ways, until the keys that detach" {
    run -0 timeout 60 script -qefc "'$ATP_BIN/atp-docker' compose attach --detach-keys ctrl-x inc" "$SUITE/typed" \
        < <(sleep 1; printf 'hello\n'; until_true 10 grep -q 'got hello' "$SUITE/typed"; printf '\030')
    [[ $output == *"got hello"* ]]
    [ "$(dc ps --format '{{.State}}' inc)" = running ]
    run -1 --separate-stderr dc attach nope
    [ "$stderr" = 'service "nope" is not running' ]
}

@test "push: images that are built, under all of their names" {
    mkdir "$SUITE/push"
    cd "$SUITE/push"
    cat >compose.yaml <<YAML
name: pushed
services:
  built:
    image: $REGISTRY/built:1
    build: {dockerfile_inline: "FROM $IMAGE\nRUN echo hi >/hi", tags: ["$REGISTRY/built:2"]}
  plain: {image: $IMAGE}
YAML
    unset COMPOSE_PROJECT_NAME
    dc build >/dev/null 2>&1
    run -0 --separate-stderr dc push
    [[ $stderr == *" plain Skipped"* ]] && [[ $stderr == *"Pushing $REGISTRY/built:1  Pushed"* ]]
    docker rmi "$REGISTRY/built:1" "$REGISTRY/built:2"
    [ "$(docker run --rm "$REGISTRY/built:2" cat /hi)" = hi ]
    run -0 --separate-stderr dc push -q plain
    [ -z "$output$stderr" ]
}

@test "files that cannot be: one line each, code 1" {
    mkdir -p "$SUITE/bad"
    cd "$SUITE/bad"
    unset COMPOSE_PROJECT_NAME
    run -1 --separate-stderr dc config
    [ "$stderr" = "no configuration file provided: not found" ]
    printf 'services:\n  web: {image: b}\n\0' >nul.yaml
    run -1 dc -f nul.yaml config
    printf 'services: {web: {image: "\xff"}}' >utf8.yaml
    run -1 --separate-stderr dc -f utf8.yaml config
    [ "$stderr" = "yaml: invalid leading UTF-8 octet" ]
    run -1 --separate-stderr dc -f . config
    [ "$stderr" = "read $PWD: is a directory" ]
    head -c 5000000 /dev/zero | tr '\0' '#' >large.yaml
    run -1 --separate-stderr dc -f large.yaml config
    [ "$stderr" = "read $PWD/large.yaml: file is larger than 4 MiB" ]
    { echo 'a: &a [x,x,x,x,x,x,x,x,x]'; p=a; for c in b c d e f g h i; do echo "$c: &$c [*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p]"; p=$c; done; } >bomb.yaml
    run -1 --separate-stderr timeout 10 "$ATP_BIN/atp-docker" compose -f bomb.yaml config
    [ "$stderr" = "failed to parse $PWD/bomb.yaml: yaml: document contains excessive aliasing" ]
    run -1 --separate-stderr dc -f https://github.com/a/b.git config
    [ "$stderr" = "https://github.com/a/b.git: compose files are read from this machine only, not from a registry or from git" ]
}
