# What a service of a compose file says arrives in its container.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    export P=model
}
teardown() {
    docker compose --progress quiet -p "$P" down -v -t 0 2>/dev/null
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
}

dc() { docker compose --progress quiet --project-name "$P" "$@"; }

@test "words, variables, folder and files" {
    printf 'from a file' >secret.txt
    printf 'FILED=1\nBOTH=file\n' >vars.env
    cat >compose.yaml <<YAML
services:
  app:
    image: $IMAGE
    entrypoint: ["/bin/sh", "-c"]
    command: ["echo up; exec tail -f /dev/null", "name"]
    working_dir: /tmp
    env_file: vars.env
    environment: {BOTH: service, QUOTED: "a 'b' \$\$c"}
    labels: {com.example.x: "1 2"}
    stop_grace_period: 1s
    volumes: ["./data:/data:ro"]
    secrets: [filed, said]
    configs:
      - source: written
        target: /etc/written.conf
secrets:
  filed: {file: secret.txt}
  said: {environment: SAID}
configs:
  written:
    content: |
      key = \${SAID}
YAML
    mkdir data
    printf bound >data/file
    SAID="from a variable" dc up -d
    run -0 dc exec -T app sh -c 'pwd; echo "$FILED $BOTH $QUOTED"; cat /data/file /run/secrets/filed /run/secrets/said /etc/written.conf'
    [ "$output" = "$(printf '/tmp\n1 service a '"'b'"' $c\nboundfrom a filefrom a variablekey = from a variable')" ]
    [ "$(docker inspect -f '{{index .Config.Labels "com.example.x"}}' $P-app-1)" = "1 2" ]
    [ "$(docker inspect -f '{{index .Config.Labels "com.docker.compose.config-hash"}}' $P-app-1 | wc -c)" = 65 ]
    [ "$(SAID=x dc logs --no-log-prefix app)" = up ]
    SAID=x dc down
    [ -z "$(find "$XDG_STATE_HOME/atp-docker/contents" -type f 2>/dev/null)" ]
}

@test "a variable for a secret that is not set is an error" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, secrets: [s], command: "true"}
secrets:
  s: {environment: NOT_SET_AT_ALL}
YAML
    run -1 --separate-stderr dc up -d
    [[ "$stderr" == *'environment variable "NOT_SET_AT_ALL" required by secret "s" is not set'* ]]
}

@test "what a sandbox cannot have is refused with a line, and the report says so before" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: "true", privileged: true}
YAML
    run -0 dc config --x-modal-report
    [[ "$output" == *"privileged"*"refused"* ]]
    run --separate-stderr dc up -d
    [ "$status" != 0 ]
    [[ "$stderr" == *"services.app.privileged is refused by atp-docker"* ]]
    [ -z "$(docker ps -aq)" ]
}

@test "x-modal: the service's wins over the file's, a label over both" {
    cat >compose.yaml <<YAML
x-modal: {timeout: 111, cpu: 0.25}
services:
  top: {image: $IMAGE, command: "true"}
  own: {image: $IMAGE, command: "true", x-modal: {timeout: 222}}
  label: {image: $IMAGE, command: "true", x-modal: {timeout: 222}, labels: {modal.timeout: 333}}
  bad: {image: $IMAGE, command: "true", profiles: [bad], x-modal: {tiemout: 1}}
YAML
    run --separate-stderr dc --profile bad create bad
    [ "$status" != 0 ]
    [[ "$stderr" == *tiemout* ]]
    dc create
    for pair in top=111 own=222 label=333; do
        grep -q "\"timeout\"[^}]*\"${pair#*=}\"" <(sqlite3 "$XDG_STATE_HOME"/atp-docker/state.db "SELECT * FROM containers" 2>/dev/null | grep "$P-${pair%=*}-1")
    done
}
