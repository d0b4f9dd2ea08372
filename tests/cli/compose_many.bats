# docker compose with several services: order, health, names, scale, networks, volumes, ports.
bats_require_minimum_version 1.5.0
load common

. "$ROOT/tests/lib/outside.sh"

setup_file() {
    suite_start
    outside_start 2
}
teardown_file() {
    outside_stop
    suite_stop
}
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    export COMPOSE_PROJECT_NAME=many COMPOSE_PROGRESS=plain
}
teardown() {
    docker compose --progress quiet down -v -t 0 --remove-orphans 2>/dev/null
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    docker network prune -f >/dev/null
}

dc() { docker compose "$@"; }
said() { [ -n "$(dc logs --no-log-prefix "$1")" ]; }

# web waits until db is healthy
two() {
    cat >compose.yaml <<YAML
services:
  db:
    image: $IMAGE
    command: sh -c "mkdir -p /www && cat /proc/sys/kernel/random/uuid >/www/index.html && sleep 0.5 && httpd -f -p 80 -h /www"
    stop_grace_period: 1s
    healthcheck: {test: ["CMD", "wget", "-qO-", "http://127.0.0.1/"], interval: 200ms, timeout: 10s, retries: 300}
  web:
    image: $IMAGE
    command: sh -c "wget -qO- http://db/ && exec sleep 1000"
    stop_grace_period: 1s
    depends_on: {db: {condition: service_healthy}}
YAML
}

@test "order by health, names that are answered, down leaves nothing" {
    two
    run -0 --separate-stderr dc up -d --wait
    [ -z "$output" ]
    order=$(sed -n 's/^ *Container many-\([a-z]*\)-1  \(Started\|Healthy\)$/\1 \2/p' <<<"$stderr")
    [ "$(sed -n '/db Healthy/=' <<<"$order" | head -1)" -lt "$(sed -n '/web Started/=' <<<"$order")" ]
    [ "$(dc ps --format '{{.Service}} {{.State}} {{.Health}}')" = "db running healthy
web running " ]
    until_true 10 said web
    [ "$(dc logs --no-log-prefix web)" = "$(dc exec -T db cat /www/index.html)" ]
    [ "$(dc exec -T web wget -qO- http://many-db-1/)" = "$(dc exec -T db cat /www/index.html)" ]
    docker network inspect many_default >/dev/null
    dc restart -t 0 db
    until_true 10 dc exec -T web wget -qO- http://db/
    [ "$(dc exec -T web wget -qO- http://db/)" = "$(dc exec -T db cat /www/index.html)" ]
    dc down
    [ -z "$(docker ps -aq)" ]
    run -1 docker network inspect many_default
}

@test "a dependency that never becomes healthy: told, and nobody is started on it" {
    two
    sed -i 's/wget", "-qO-", "http:.*"\]/false"]/; s/retries: 300/retries: 2/' compose.yaml
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == *"dependency failed to start: container many-db-1 is unhealthy"* ]]
    [ "$(dc ps -a --format '{{.Service}} {{.State}}')" = "db running
web created" ]
    sed -i 's/retries: 2/retries: 1000/' compose.yaml
    dc --progress quiet down -t 0
    run -1 --separate-stderr dc up -d --wait --wait-timeout 2
    [[ "$stderr" == *"application not healthy after 2s"* ]]
}

@test "completed, optional and started" {
    cat >compose.yaml <<YAML
services:
  first: {image: $IMAGE, command: sh -c "sleep 0.5"}
  fails: {image: $IMAGE, command: sh -c "exit 3"}
  then:
    image: $IMAGE
    command: sleep 1000
    stop_grace_period: 0s
    depends_on:
      first: {condition: service_completed_successfully}
      fails: {condition: service_completed_successfully, required: false}
YAML
    run -0 --separate-stderr dc up -d
    [[ "$stderr" == *"optional dependency"* || "$stderr" == *"didn't complete successfully: exit 3"* ]]
    [ "$(dc ps --format '{{.Service}}')" = then ]
    dc --progress quiet down -t 0
    sed -i 's/, required: false//' compose.yaml
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == *"service \"fails\" didn't complete successfully: exit 3"* ]]
    [ -z "$(dc ps -q then)" ]
}

@test "scale up and down, --index, and a name for all of them" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sh -c "mkdir -p /www; cat /proc/sys/kernel/random/uuid >/www/index.html; exec httpd -f -p 80 -h /www", stop_grace_period: 0s}
  ask: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s}
YAML
    dc --progress quiet up -d --scale app=3
    [ "$(dc ps --format '{{.Name}}' app)" = "many-app-1
many-app-2
many-app-3" ]
    for n in 1 2 3; do until_true 10 dc exec -T ask wget -qO- "http://many-app-$n/"; done
    one=$(dc exec -T --index 1 app cat /www/index.html) three=$(dc exec -T --index 3 app cat /www/index.html)
    [ "$one" != "$three" ]
    [ "$(dc exec -T ask wget -qO- http://many-app-3/)" = "$three" ]
    [ "$(dc exec -T ask nslookup app 2>/dev/null | grep -A9 '^Name' | grep -c '^Address')" = 3 ]
    dc --progress quiet up -d --scale app=1
    [ "$(dc ps --format '{{.Name}}' app)" = many-app-1 ]
    dc --progress quiet scale app=2
    [ "$(dc ps --format '{{.Name}}' app)" = "many-app-1
many-app-2" ]
    run -1 dc up -d --scale nosvc=2
    run -1 dc up -d --scale app=x
}

@test "a network of one service is one that others join: run --network, and more of them" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sh -c "mkdir -p /www; cat /proc/sys/kernel/random/uuid >/www/index.html; exec httpd -f -p 80 -h /www", stop_grace_period: 0s}
YAML
    dc --progress quiet up -d
    for _ in $(seq 100); do ! dc exec -T app wget -qO- http://127.0.0.1/ >got 2>/dev/null || break; sleep 0.1; done
    one=$(cat got)
    for name in app many-app-1; do
        [ "$(docker run --rm --network many_default "$IMAGE" wget -qO- http://$name/)" = "$one" ]
    done
    id=$(dc ps -q app)
    dc --progress quiet up -d --scale app=2
    [ "$(dc ps -q app | grep -c "$id")" = 1 ]
    [ "$(docker run --rm --network many_default "$IMAGE" nslookup app 2>/dev/null | sed -n '/^Name/,$p' | grep -c '^Address')" = 2 ]
    dc --progress quiet up -d
    [ "$(dc ps -q app)" = "$id" ]
    mkdir other
    printf 'services: {ask: {image: "%s", command: wget -qO- http://app/, networks: [theirs]}}\nnetworks: {theirs: {name: many_default, external: true}}\n' "$IMAGE" >other/compose.yaml
    [ "$(docker compose -p other -f other/compose.yaml run --rm -T ask 2>/dev/null)" = "$one" ]
    docker compose --progress quiet -p other -f other/compose.yaml down -t 0
}

@test "one container that is a sandbox of its own comes along when there are more" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s, x-modal: {timeout: 3600}}
YAML
    dc --progress quiet up -d
    [ "$(docker inspect -f '{{.HostConfig.NetworkMode}}' many-app-1)" = bridge ]
    id=$(dc ps -q app)
    run -0 --separate-stderr dc up -d --scale app=2
    [[ "$stderr" == *"Container many-app-1  Recreated"* ]]
    [ "$(dc exec -T app nslookup app 2>/dev/null | sed -n '/^Name/,$p' | grep -c '^Address')" = 2 ]
    id=$(docker inspect -f '{{.Id}}' many-app-1)
    dc --progress quiet up -d
    [ "$(dc ps -q app)" = "$id" ]
}

@test "a one-off has its own name only, unless it is to have the service's" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s, networks: {default: {aliases: [also]}}}
  ask: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s}
YAML
    dc --progress quiet up -d
    found() { dc exec -T ask nslookup "$1" 2>/dev/null | sed -n '/^Name/,$p' | grep -c '^Address'; }
    dc run -d --name lone app sleep 1000
    [ "$(found lone) $(found app) $(found also)" = "1 1 1" ]
    docker rm -f lone
    dc run -d --name lone --use-aliases app sleep 1000
    [ "$(found lone) $(found app) $(found also)" = "1 2 2" ]
}

@test "a network whose definition has changed is made anew, and its containers join it again" {
    two
    printf 'networks: {default: {labels: {a: "1"}}}\n' >>compose.yaml
    dc --progress quiet up -d
    net=$(docker network inspect -f '{{.Id}}' many_default) db=$(dc ps -q db)
    dc --progress quiet up -d
    [ "$(docker network inspect -f '{{.Id}}' many_default)" = "$net" ]
    sed -i 's/a: "1"/a: "2"/' compose.yaml
    run -0 --separate-stderr dc up -d
    [[ "$stderr" == *"Container many-db-1  Stopped"*"Network many_default  Removed"*"Network many_default  Created"*"Container many-db-1  Started"* ]]
    [ "$(docker network inspect -f '{{index .Labels "a"}}' many_default)" = 2 ]
    [ "$(docker network inspect -f '{{.Id}}' many_default)" != "$net" ]
    [ "$(dc ps -q db)" = "$db" ]
    for _ in $(seq 100); do ! dc exec -T web wget -qO- http://db/ >got 2>/dev/null || break; sleep 0.1; done
    [ "$(cat got)" = "$(dc exec -T db cat /www/index.html)" ]
    docker network inspect -f '{{range .Containers}}{{.Name}} {{end}}' many_default | grep -q many-web-1
}

# front and back: api is in both; back leads nowhere
three() {
    cat >compose.yaml <<YAML
services:
  web: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s, networks: [front]}
  api: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s, networks: [front, back]}
  db: {image: $IMAGE, command: sh -c "mkdir -p /www; echo rows >/www/index.html; exec httpd -f -p 80 -h /www", stop_grace_period: 0s, networks: [back]}
networks: {front: {}, back: {internal: true}}
YAML
}

@test "services that share no network are refused by name before anything is made, or accepted" {
    three
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == *'services "db" and "web" share no network'*"ATP_DOCKER_APPROXIMATE=all"* ]]
    [ -z "$(docker ps -aq)$(docker network ls -q -f type=custom)" ]
    dc --progress quiet up -d api db
    dc --progress quiet down -t 0
    export ATP_DOCKER_APPROXIMATE=all
    dc --progress quiet up -d
    for _ in $(seq 100); do ! dc exec -T api wget -qO- http://db/ >got 2>/dev/null || break; sleep 0.1; done
    [ "$(cat got)" = rows ]
    run dc exec -T web nslookup db
    [ "$status" -ne 0 ]
    [ "$(dc exec -T web nc -w 20 "$OUTSIDE" 80 </dev/null)" = outside ]
    [ "$(dc exec -T api nc -w 20 "$OUTSIDE" 80 </dev/null)" = outside ]
    run ! dc exec -T db nc -w 3 "$OUTSIDE" 80 </dev/null
    dc --progress quiet down -t 0
    unset ATP_DOCKER_APPROXIMATE
}

@test "one service of several: what it needs comes along, --no-deps leaves it" {
    two
    dc --progress quiet up -d web
    [ "$(dc ps --services | sort)" = "db
web" ]
    dc --progress quiet down -t 0
    dc --progress quiet up -d db
    [ "$(dc ps --services)" = db ]
    [ "$(dc run --rm -T web wget -qO- http://db/)" = "$(dc exec -T db cat /www/index.html)" ]
    [ "$(dc ps -a --services)" = db ]
    dc --progress quiet down -t 0
    dc --progress quiet up -d --no-deps web
    [ "$(dc ps -a --services)" = web ]
}

@test "restart: true follows the service that it needs" {
    two
    sed -i 's/condition: service_healthy/condition: service_healthy, restart: true/' compose.yaml
    dc --progress quiet up -d --wait
    before=$(docker inspect -f '{{.State.StartedAt}}' many-web-1)
    dc --progress quiet restart -t 0 db
    [ "$(docker inspect -f '{{.State.StartedAt}}' many-web-1)" != "$before" ]
}

@test "orphans are told, and taken away when asked" {
    two
    dc --progress quiet up -d --wait
    sed -i '/^  web:/,$d' compose.yaml
    run -0 --separate-stderr dc up -d
    [[ "$stderr" == *"Found orphan containers ([many-web-1]) for this project"* ]]
    dc --progress quiet up -d --remove-orphans
    [ "$(dc ps -a --services)" = db ]
}

@test "profiles: left out, chosen by name, by option and by variable" {
    cat >compose.yaml <<YAML
services:
  always: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s}
  debug: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s, profiles: [dbg]}
YAML
    dc --progress quiet up -d
    [ "$(dc ps --services)" = always ]
    dc --progress quiet --profile dbg up -d
    [ "$(COMPOSE_PROFILES=dbg dc ps --services | sort)" = "always
debug" ]
    dc --progress quiet --profile dbg down -t 0
    [ -z "$(docker ps -aq)" ]
}

@test "ports are reached from here, in ps and by port" {
    cat >compose.yaml <<YAML
services:
  app:
    image: $IMAGE
    command: sh -c "mkdir -p /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www"
    stop_grace_period: 0s
    ports: ["127.0.0.1::80"]
  other: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s}
YAML
    dc --progress quiet up -d --wait
    at=$(dc port app 80)
    [[ "$at" =~ ^127\.0\.0\.1:[0-9]+$ ]]
    until_true 10 curl -sf "http://$at/"
    got=$(curl -sf "http://$at/")
    [ "$got" = served ]
    [ "$(dc ps --format json app | jq -r '.Publishers[0] | [.URL, .TargetPort, .PublishedPort, .Protocol] | @tsv')" = "$(printf '127.0.0.1\t80\t%s\ttcp' "${at#*:}")" ]
}

@test "a volume outlives down, and goes with down -v" {
    cat >compose.yaml <<YAML
services:
  app:
    image: $IMAGE
    command: sleep 1000
    stop_grace_period: 0s
    volumes: ["data:/data"]
  other: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s}
volumes: {data: }
YAML
    dc --progress quiet up -d
    dc exec -T app sh -c 'echo kept >/data/f'
    dc --progress quiet down
    [ "$(docker volume ls -q --filter label=com.docker.compose.project=many)" = many_data ]
    dc --progress quiet up -d
    [ "$(dc exec -T app cat /data/f)" = kept ]
    dc --progress quiet down -v
    [ -z "$(docker volume ls -q)" ]
    dc --progress quiet up -d
    run ! dc exec -T app cat /data/f
    dc --progress quiet down -v
}

@test "external networks and volumes must be there" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sleep 1000, stop_grace_period: 0s, networks: [mine]}
networks: {mine: {external: true, name: outside}}
YAML
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == *"network outside declared as external, but could not be found"* ]]
    docker network create outside >/dev/null
    docker run -d --name neighbour --network outside "$IMAGE" sh -c 'mkdir /www; echo near >/www/index.html; exec httpd -f -h /www' >/dev/null
    dc --progress quiet up -d
    until_true 10 dc exec -T app wget -qO- http://neighbour/
    got=$(dc exec -T app wget -qO- http://neighbour/)
    [ "$got" = near ]
    dc --progress quiet down
    docker network inspect outside >/dev/null
    docker rm -f neighbour >/dev/null
    docker network rm outside >/dev/null
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sleep 1000, volumes: ["vol:/v"]}
volumes: {vol: {external: true}}
YAML
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == *'external volume "vol" not found'* ]]
}

@test "up killed at any moment and said again; then down" {
    two
    for wait in 0.02 0.1 0.3 0.6 1; do
        timeout -s KILL "$wait" "$ATP_BIN/atp-docker" compose up -d --wait 2>/dev/null || true
        dc --progress quiet up -d --wait --wait-timeout 200
        [ "$(dc ps --format json --status running | jq -r .Service | sort | xargs)" = "db web" ]
        timeout -s KILL "$wait" "$ATP_BIN/atp-docker" compose down -t 0 2>/dev/null || true
        dc --progress quiet down -t 0
        [ -z "$(docker ps -aq)" ]
    done
}

@test "projects at once, of several services each" {
    two
    for i in 1 2 3; do
        (docker compose --progress quiet -p "at$i" up -d --wait && docker compose -p "at$i" exec -T web wget -qO- http://db/ &&
            docker compose --progress quiet -p "at$i" down -t 0) >"out.$i" 2>&1 3>&- &
        pids[i]=$!
    done
    for i in 1 2 3; do wait "${pids[i]}" || { cat "out.$i"; false; }; done
    [ "$(cat out.1)" != "$(cat out.2)" ]
    [ -z "$(docker ps -aq)" ]
}
