# docker compose with one service, as evaluations use it: the project that inspect_ai makes by itself.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    export P=inspect-task-iabc123
}
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    cat >compose.yaml <<YAML
services:
  default:
    image: $IMAGE
    command: tail -f /dev/null
    init: true
    network_mode: none
    stop_grace_period: 1s
    environment:
      FROM_FILE: "1"
      META: \${SAMPLE_METADATA_X-none}
YAML
    F=$WORK/compose.yaml
}
teardown() {
    docker compose --progress quiet -p "$P" down -v -t 0 2>/dev/null
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
}

dc() { docker compose --project-name "$P" -f "$F" "$@"; }
up() { dc --progress quiet up --detach --wait --wait-timeout 60; }

@test "versions as programs read them" {
    [ "$(docker compose version --format json | jq -r .version)" = v2.40.3 ]
    [ "$(docker compose version --short)" = 2.40.3 ]
    [ "$(docker compose version)" = "Docker Compose version v2.40.3" ]
    ln -sf "$ATP_BIN/atp-docker" "$WORK/docker-compose"
    [ "$("$WORK/docker-compose" version --short)" = 2.40.3 ]
}

@test "up, ps, down: nothing on stdout, one object per line, and nothing is left" {
    run -0 --separate-stderr dc up --detach --wait --wait-timeout 60
    [ -z "$output" ]
    [ "${stderr_lines[0]# }" = "Container $P-default-1  Creating" ]
    [ "${stderr_lines[-1]}" = " Container $P-default-1  Healthy" ]
    run -0 dc ps --format json --status running
    [ "${#lines[@]}" = 1 ]
    [ "$(jq -r '[.Service, .State, .ExitCode, .Name, .Health] | @tsv' <<<"$output")" = "$(printf 'default\trunning\t0\t%s\t' "$P-default-1")" ]
    run -0 dc ps --format json --status exited
    [ -z "$output" ]
    [ "$(docker ps -aq --filter label=com.docker.compose.project="$P" | wc -l)" = 1 ]
    [ "$(docker inspect -f '{{index .Config.Labels "com.docker.compose.project.config_files"}}' "$P-default-1")" = "$F" ]
    [ "$(docker compose ls --all --format json | jq -r '.[0] | [.Name, .Status, .ConfigFiles] | @tsv')" = "$(printf '%s\trunning(1)\t%s' "$P" "$F")" ]
    run -0 dc down --volumes
    run -0 --separate-stderr dc down --volumes
    [[ "$stderr" == *"No resource found to remove for project"* ]]
    [ -z "$(docker ps -aq)" ]
    [ "$(docker compose ls --all --format json)" = "[]" ]
    [ ! -e "$XDG_STATE_HOME/atp-docker/projects/$P.lock" ]
}

@test "the network of none is none" {
    up
    [ "$(docker inspect -f '{{.HostConfig.NetworkMode}}' "$P-default-1")" = none ]
    run -0 dc exec -T default ls /sys/class/net
    [ "$output" = lo ]
}

@test "exec: streams apart, byte for byte, the command's own code, nothing added" {
    up
    run -3 --separate-stderr dc exec default sh -c 'printf "out\r\n"; printf err >&2; exit 3'
    [ "$output" = "$(printf 'out\r')" ]
    [ "$stderr" = err ]
    [ "$(dc exec default sh -c pwd </dev/null)" = / ]
    [ "$(dc exec --workdir /tmp --user user --env A='x y' --env B default sh -c 'pwd; id -un; echo "$A$FROM_FILE"' </dev/null)" = "/tmp
user
x y1" ]
    run -143 dc exec default sh -c 'kill -TERM $$'
    head -c 5000000 /dev/urandom >in
    dc exec default sha256sum <in >sum
    [ "$(cut -d' ' -f1 sum)" = "$(sha256sum in | cut -d' ' -f1)" ]
    dc exec -T default sh -c 'cat >/tmp/in' <in
    dc exec -T default cat /tmp/in </dev/null | cmp - in
}

@test "exec: what does not run, in the words that programs look for" {
    run -1 --separate-stderr dc exec default true
    [ -z "$output" ]
    [ "$stderr" = 'service "default" is not running' ]
    up
    run -127 --separate-stderr dc exec default nosuch
    [[ "$output" == 'OCI runtime exec failed'*'exec: "nosuch": executable file not found'* ]]
    [ -z "$stderr" ]
    run -126 dc exec default /etc/passwd
    [[ "$output" == 'OCI runtime exec failed'*'permission denied'* ]]
    run -126 dc exec -u ghost default true
    [[ "$output" == *ghost* ]]
    run -1 dc exec --index 2 default true
    [ "$output" = 'service "default" is not running container #2' ]
    dc --progress quiet stop
    run -1 --separate-stderr dc exec default true
    [ "$stderr" = 'service "default" is not running' ]
    [ "$(dc ps --format json --all | jq -r .State)" = exited ]
}

@test "exec: a container that ended by itself is not running" {
    sed -i 's|command: .*|command: sleep 1|' compose.yaml
    dc --progress quiet up -d
    for _ in $(seq 300); do
        run dc exec default true
        [ "$output" != 'service "default" is not running' ] || break
        sleep 0.1
    done
    [ "$output" = 'service "default" is not running' ]
    [ "$status" = 1 ]
    [ "$(dc ps --format json --status exited | jq -r .ExitCode)" = 0 ]
}

@test "cp: into a file that is there, links followed, and what cannot be copied" {
    up
    dc exec -T default sh -c 'mkdir -p "/tmp/a b"; echo text >"/tmp/a b/f:g"; ln -s "/tmp/a b/f:g" /tmp/link; mkdir /tmp/dir'
    mkdir out && cd out
    printf 'a longer text that was there' >dest
    dc cp -L -- 'default:/tmp/a b/f:g' dest
    [ "$(cat dest)" = text ]
    dc cp -L -- default:/tmp/link dest2
    [ ! -L dest2 ]
    [ "$(cat dest2)" = text ]
    run -1 dc cp -L -- default:/nope dest
    [[ "${output,,}" == *"could not find the file"* ]]
    run -1 dc cp -L -- default:/tmp/dir dest
    [[ "$output" == *"cannot copy directory"* ]]
    [ "$(cat dest)" = text ]
    [ "$(ls)" = "dest
dest2" ]
    echo back >b
    dc cp b default:/tmp/b
    [ "$(dc exec -T default cat /tmp/b)" = back ]
    run -1 dc cp nosvc:/x y
    [[ "$output" == *'no container found for service "nosvc"'* ]]
    run -1 dc cp a b
    [[ "$output" == *'unknown copy direction'* ]]
}

@test "logs: a prefix, none, the last lines; of what has ended too" {
    sed -i 's|command: .*|command: sh -c "echo one; echo two; echo oops >\&2"|' compose.yaml
    dc --progress quiet up -d
    docker wait "$P-default-1" >/dev/null
    [ "$(dc logs 2>/dev/null | sort)" = "default-1  | one
default-1  | oops
default-1  | two" ]
    [ "$(dc logs --no-log-prefix --tail 1 default | wc -l)" = 1 ]
    [ "$(docker compose --ansi never -p "$P" logs --tail 100 default | wc -l)" = 3 ]
    [ "$(dc logs -f --no-log-prefix | wc -l)" = 3 ]
}

@test "a second up changes nothing; another file, force and image make it anew" {
    up
    first=$(dc ps -q)
    run -0 --separate-stderr dc up -d
    [ "${stderr# }" = "Container $P-default-1  Running" ]
    [ "$(dc ps -q)" = "$first" ]
    SAMPLE_METADATA_X=other up
    second=$(dc ps -q)
    [ "$second" != "$first" ]
    [ "$(dc exec -T default sh -c 'echo $META')" = other ]
    dc --progress quiet up -d --no-recreate
    [ "$(dc ps -q)" = "$second" ]
    run -0 --separate-stderr dc up -d --force-recreate -t 0
    [ "${stderr# }" = "Container $P-default-1  Recreate
 Container $P-default-1  Recreated
 Container $P-default-1  Starting
 Container $P-default-1  Started" ]
    [ "$(docker ps -a --format '{{.Names}}')" = "$P-default-1" ]
}

@test "up, killed at any moment, can be said again; so can down" {
    for wait in 0.01 0.03 0.05 0.08 0.12 0.2 0.3; do
        timeout -s KILL "$wait" "$ATP_BIN/atp-docker" compose -p "$P" -f "$F" up -d --wait 2>/dev/null || true
        dc --progress quiet up -d --wait --wait-timeout 100
        [ "$(dc ps --format json --status running | jq -r .Service)" = default ]
        [ "$(docker ps -aq | wc -l)" = 1 ]
        timeout -s KILL "$wait" "$ATP_BIN/atp-docker" compose -p "$P" -f "$F" down -t 0 2>/dev/null || true
        dc --progress quiet down -t 0
        [ -z "$(docker ps -aq)" ]
    done
}

@test "many projects at once from one file" {
    for i in $(seq 8); do
        (docker compose --progress quiet -p "many$i" -f "$F" up -d --wait &&
            [ "$(docker compose -p "many$i" -f "$F" exec -T default sh -c 'hostname >/tmp/h; echo ok')" = ok ] &&
            docker compose --progress quiet -p "many$i" -f "$F" down -t 0) >"out.$i" 2>&1 3>&- &
        pids[i]=$!
    done
    for i in $(seq 8); do
        wait "${pids[i]}" || { cat "out.$i"; false; }
        [ ! -s "out.$i" ]
    done
    [ -z "$(docker ps -aq)" ]
}

@test "two ups of one project at once: one container" {
    dc --progress quiet up -d 3>&- &
    dc --progress quiet up -d
    wait $!
    [ "$(docker ps -aq | wc -l)" = 1 ]
}

@test "a service that dies at its start fails the wait; up without it does not" {
    sed -i 's|command: .*|command: sh -c "exit 3"|' compose.yaml
    run -1 --separate-stderr dc up -d --wait --wait-timeout 100
    [[ "$stderr" == *"container $P-default-1 exited (3)"* ]]
    [ "$(dc ps --format json --status exited | jq -r .ExitCode)" = 3 ]
    run -0 dc up -d
}

@test "run: a one-off with its own words, code and name; gone afterwards" {
    run -5 --separate-stderr dc run --rm default sh -c 'echo out; echo err >&2; exit 5'
    [ "$output" = out ]
    [ "$stderr" = err ]
    [ -z "$(docker ps -aq)" ]
    [ "$(echo stdin | dc run --rm -T -e A=b default sh -c 'cat; echo $A')" = "stdin
b" ]
    id=$(dc run -d default sleep 100)
    [[ "$(docker inspect -f '{{.Name}}' "$id")" =~ ^/$P-default-run-[0-9a-f]{12}$ ]]
    [ "$(docker inspect -f '{{index .Config.Labels "com.docker.compose.oneoff"}}' "$id")" = True ]
    [ -z "$(dc ps -q)" ]
    [ "$(dc ps -aq)" = "$id" ]
    dc --progress quiet down --remove-orphans -t 0
    docker rm -f "$id" >/dev/null 2>&1 || true
}

@test "stop, start, restart, kill, rm by label, without a file" {
    up
    cd /
    c() { docker compose --progress quiet -p "$P" "$@"; }
    c stop -t 0
    [ "$(c ps -a --format '{{.State}}')" = exited ]
    c start
    [ "$(c ps --format '{{.State}}')" = running ]
    c restart -t 0
    [ "$(c ps --format '{{.State}}')" = running ]
    c kill
    for _ in $(seq 300); do [ "$(c ps -a --format '{{.State}}')" != exited ] || break; sleep 0.1; done
    [ "$(c ps -a --format '{{.ExitCode}}')" = 137 ]
    [ "$(c rm -f)" = "Going to remove $P-default-1" ]
    [ -z "$(docker ps -aq)" ]
    run -1 c start
    [ "$output" = "no container found for project \"$P\": not found" ]
    run -0 --separate-stderr c rm -f
    [ "$stderr" = "No stopped containers" ]
}

@test "build: the image has the project's name; config says it, rmi takes it" {
    mkdir ctx
    printf 'FROM %s\nRUN echo built >/built\nWORKDIR /w\n' "$IMAGE" >ctx/Dockerfile
    cat >compose.yaml <<YAML
services:
  default:
    build: {context: ./ctx}
    command: tail -f /dev/null
    network_mode: none
    init: true
    stop_grace_period: 1s
YAML
    dc --progress quiet build
    [ "$(dc config --images)" = "$P-default" ]
    [ -n "$(docker images -q "$P-default")" ]
    dc pull --ignore-buildable --policy missing default
    up
    [ "$(dc exec default sh -c 'pwd; cat /built' </dev/null)" = "/w
built" ]
    dc --progress quiet down -t 0 --rmi local
    [ -z "$(docker images -q "$P-default")" ]
    cat >>compose.yaml <<YAML
  inline:
    build:
      dockerfile_inline: |
        FROM $IMAGE
        ARG A=0
        RUN echo \$\$A >/a
      args: {A: "7"}
    network_mode: none
YAML
    dc --progress quiet build inline
    [ "$(docker run --rm "$P-inline" cat /a)" = 7 ]
    docker rmi "$P-inline" >/dev/null
}

@test "build of a project that builds nothing is fine; one that fails fails" {
    run -0 dc build
    mkdir ctx
    printf 'FROM %s\nRUN exit 3\n' "$IMAGE" >ctx/Dockerfile
    printf 'services: {default: {build: ./ctx}}\n' >compose.yaml
    run dc build
    [ "$status" != 0 ]
    run dc up -d
    [ "$status" != 0 ]
    [ -z "$(docker ps -aq)" ]
}

@test "build: what docker build refuses, compose build refuses with its words" {
    mkdir ctx
    printf 'FROM %s\nRUN true\n' "$IMAGE" >ctx/Dockerfile
    printf 'services: {default: {build: ./ctx}}\n' >compose.yaml
    for option in --check --provenance=true --sbom=true --ssh=default; do
        run -1 dc build "$option"
        [[ "$output" == *"${option%%=default} is refused by atp-docker: "* ]]
    done
    run -1 dc build --builder other
    [[ "$output" == *'no builder "other" found'* ]]
    dc build --builder default --provenance=false --sbom=false
    docker rmi "$P-default" >/dev/null
}

@test "attached: lines, the exit code, and Ctrl-C" {
    sed -i 's|command: .*|command: sh -c "echo hello; exit 4"|' compose.yaml
    run -4 --separate-stderr dc up --exit-code-from default
    [[ "$output" == "Attaching to default-1
default-1  | hello
"*"default-1 exited with code 4"* ]] # a terminal's word for the rest of a line stands before it
    sed -i "s|command: .*|command: sh -c \"trap 'echo bye; exit 0' INT TERM; echo ready; while :; do sleep 0.1; done\"|" compose.yaml
    "$ATP_BIN/atp-docker" compose -p "$P" -f "$F" up >out 2>err 3>&- &
    pid=$!
    until_true 10 grep -q ready out
    kill -INT $pid
    code=0
    wait $pid || code=$?
    [ $code = 130 ]
    grep -q 'Gracefully Stopping' out
    [ "$(dc ps -a --format '{{.State}}')" = exited ]
}

@test "progress: quiet, plain, json; words that are wrong" {
    run -0 --separate-stderr dc --progress quiet up -d
    [ -z "$stderr" ]
    run -0 --separate-stderr dc --progress json up -d
    [ "$(jq -r '[.id, .status] | join(" ")' <<<"$stderr")" = "Container $P-default-1 Running" ]
    run -1 --separate-stderr dc --progress bad up -d
    [ "$stderr" = 'unsupported --progress value "bad"' ]
    run -1 --separate-stderr dc --ansi never --progress tty up -d
    [ "$stderr" = "can't use --progress tty while ANSI support is disabled" ]
    run -1 --separate-stderr dc up --nope
    [ "$stderr" = "unknown flag: --nope" ]
    run -1 --separate-stderr dc exec default
    [ "$stderr" = "requires at least 2 arg(s), only received 1" ]
    run -1 --separate-stderr docker compose -f /nope.yaml ps
    [[ "$stderr" == *"no such file or directory"* ]]
    run -1 --separate-stderr dc up ghost
    [ "$stderr" = "no such service: ghost" ]
    run -1 --separate-stderr dc watch
    [[ "$stderr" == *"none of the selected services is configured for watch"* ]]
}

@test "what cannot be is refused before anything is made" {
    sed -i 's|    init: true|    ipc: host|' compose.yaml
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == "$F:5: services.default.ipc is refused by atp-docker: "* ]]
    [ -z "$(docker ps -aq)" ]
    run -1 dc run --rm default true
    [ -z "$(docker ps -aq)" ]
}

@test "hooks run in the container, after its start and before its stop" {
    mkdir seen
    cat >>compose.yaml <<YAML
    volumes: ["./seen:/seen"]
    post_start:
      - {command: [sh, -c, 'echo started >/seen/start'], environment: {A: b}}
    pre_stop:
      - {command: [sh, -c, 'echo stopping >/seen/stop']}
YAML
    dc --progress quiet up -d
    [ "$(dc exec -T default cat /seen/start)" = started ]
    dc --progress quiet stop -t 0
    [ "$(cat seen/start seen/stop)" = "started
stopping" ]
}

@test "an image that is missing is pulled, by policy" {
    docker rmi "$IMAGE" >/dev/null
    run -1 --separate-stderr dc up -d --pull never
    [[ "$stderr" == *"No such image"* ]]
    run -0 --separate-stderr dc up -d
    [[ "$stderr" == *"default Pulling"*"default Pulled"* ]]
    run -0 --separate-stderr dc pull
    run -1 dc up -d --pull sometimes
    [ "$output" = 'invalid --pull option "sometimes"' ]
}

@test "whoever follows and is killed leaves nobody behind" {
    up
    "$ATP_BIN/atp-docker" compose -p "$P" logs -f 3>&- >/dev/null &
    pid=$!
    for _ in $(seq 600); do [ "$(pgrep -fc "compose -p $P logs")" -lt 2 ] || break; sleep 0.05; done
    [ "$(pgrep -fc "compose -p $P logs")" = 2 ]
    kill -KILL $pid
    for _ in $(seq 600); do pgrep -f "compose -p $P logs" >/dev/null || break; sleep 0.05; done
    run ! pgrep -f "compose -p $P logs"
}
