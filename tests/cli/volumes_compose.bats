# Volumes of compose projects: what a container made anew keeps.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    cat >"$BATS_FILE_TMPDIR/Dockerfile" <<END
FROM $REGISTRY/busybox:1
VOLUME /declared
END
    docker build -q -t declares "$BATS_FILE_TMPDIR" >/dev/null
}
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    export COMPOSE_PROJECT_NAME=vols COMPOSE_PROGRESS=plain
}
teardown() {
    docker compose --progress quiet down -v -t 0 --remove-orphans 2>/dev/null
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f -v >/dev/null
    docker volume ls -q | xargs -r "$ATP_BIN/atp-docker" volume rm >/dev/null
}
dc() { docker compose "$@"; }

@test "a container made anew keeps its anonymous volumes, also the image's own; not with -V" {
    cat >compose.yaml <<YAML
services:
  app:
    image: declares
    command: sleep 100000
    stop_grace_period: 0s
    environment: {TURN: "\${TURN}"}
    volumes:
      - /short
      - {type: volume, target: /long, volume: {nocopy: true}}
YAML
    TURN=1 dc up -d
    dc exec -T app sh -c 'for i in short long declared; do echo $i >/$i/f; done'
    TURN=2 dc up -d
    run -0 dc exec -T app sh -c 'echo $TURN; cat /short/f /long/f /declared/f'
    [ "$output" = $'2\nshort\nlong\ndeclared' ]
    [ "$(docker volume ls -q | wc -l)" -eq 3 ]
    TURN=3 dc up -d --force-recreate
    run -0 dc exec -T app sh -c 'cat /short/f /long/f /declared/f'
    [ "$output" = $'short\nlong\ndeclared' ]
    TURN=3 dc up -d -V
    run -0 dc exec -T app find /short /long /declared -type f
    [ -z "$output" ]
    dc down -v
    docker volume prune -f
    [ -z "$(docker volume ls -q)" ]
}

@test "the report says what sharing a volume does not carry" {
    cat >compose.yaml <<YAML
services:
  one: {image: x, volumes: ["data:/d", "own:/o"]}
  two: {image: x, volumes: ["data:/d:ro"]}
  three: {image: x, volumes: ["other:/d"]}
volumes: {data: {}, own: {}, other: {}}
YAML
    run -0 dc config --x-modal-report
    [ "$(awk '$2 == "volumes" {print $1, $3}' <<<"$output" | sort)" = $'one approximated\nthree carried\ntwo approximated' ]
    [[ $output == *"locks and mmap do not reach"* ]]
}

@test "a volume whose definition changed is made anew when somebody says so; a stranger's is told" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sleep 100000, volumes: ["data:/d"], stop_grace_period: 0s}
volumes: {data: {labels: {turn: "\${TURN}"}}}
YAML
    export TURN=1
    dc up -d
    dc exec -T app sh -c 'echo x >/d/f'
    TURN=2
    run -0 --separate-stderr dc up -d </dev/null
    [[ $output == "Volume \"vols_data\" exists but doesn't match configuration in compose file."* ]]
    [ "$(dc exec -T app cat /d/f)" = x ]
    dc up -d <<<y
    [ -z "$(dc exec -T app ls /d)" ]
    [ "$(docker volume inspect -f '{{.Labels.turn}}' vols_data)" = 2 ]
    TURN=3
    dc up -d -y </dev/null
    [ "$(docker volume inspect -f '{{.Labels.turn}}' vols_data)" = 3 ]
    dc down -v
    docker volume create vols_data
    run -0 --separate-stderr dc up -d
    [[ $stderr == *'already exists but was not created by Docker Compose'* ]]
}
