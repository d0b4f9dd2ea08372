# docker compose --dry-run: everything is told and nothing is done; and the verbs that take from a container: stats,
# commit, export.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    export PROJECT=$SUITE/dry COMPOSE_PROJECT_NAME=dry COMPOSE_PROGRESS=plain
    mkdir -p "$PROJECT"
    cd "$PROJECT"
    export WORD_OF_DRY=said
    cat >compose.yaml <<YAML
services:
  db:
    image: $IMAGE
    command: sleep 1000
    stop_grace_period: 0s
    volumes: [data:/data]
    secrets: [word]
  web:
    build: .
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: {db: {condition: service_healthy}}
secrets: {word: {environment: WORD_OF_DRY}}
volumes: {data: {}}
YAML
    sed -i 's/^    command: sleep 1000$/&\n    healthcheck: {test: "true", interval: 1s}/;' compose.yaml
    printf 'FROM %s\nRUN echo made >/made\n' "$IMAGE" >Dockerfile
}
teardown_file() {
    (cd "$PROJECT" && docker compose --progress quiet down -v -t 0 3>&-)
    suite_stop
}
setup() { cd "$PROJECT"; }

dc() { docker compose "$@"; }
things() { docker ps -a --format '{{.ID}} {{.Names}} {{.State}}' && docker network ls -q && docker volume ls -q && docker images -aq; }
DRY=" DRY-RUN MODE - "

@test "up of what is not there: build, network, volume, containers, and none of them is made" {
    local before after
    before=$(things)
    run -0 dc --dry-run up -d
    after=$(things)
    [ "$before" = "$after" ]
    [ ! -e "$XDG_STATE_HOME/atp-docker/contents" ] || [ -z "$(find "$XDG_STATE_HOME/atp-docker" -name dry -type d)" ]
    [ "$(grep -v '==>' <<<"$output")" = "$DRY web  Built
$DRY Network dry_default  Creating
$DRY Network dry_default  Created
$DRY Volume dry_data  Creating
$DRY Volume dry_data  Created
$DRY Container dry-db-1  Creating
$DRY Container dry-db-1  Created
$DRY Container dry-web-1  Creating
$DRY Container dry-web-1  Created
$DRY Container dry-db-1  Starting
$DRY Container dry-db-1  Started
$DRY Container dry-db-1  Waiting
$DRY Container dry-db-1  Healthy
$DRY Container dry-web-1  Starting
$DRY Container dry-web-1  Started" ]
    grep -Eq "^$DRY web ==> ==> writing image dryRun-[0-9a-f]{40} \$" <<<"$output"
    grep -q "^$DRY web ==> ==> naming to dry-web \$" <<<"$output"
}

@test "the option stands before the verb or behind it; json says so too" {
    [ "$(dc up -d --dry-run --no-deps db 2>&1)" = "$(dc --dry-run up -d --no-deps db 2>&1)" ]
    run -0 --separate-stderr dc --dry-run up --no-deps db
    [ "$output" = "end of 'compose up' output, interactive run is not supported in dry-run mode" ]
    run -0 dc --progress json --dry-run create db
    jq -es 'length > 0 and all(."dry-run" == true)' <<<"$output"
    [ -z "$(docker ps -aq)" ]
}

@test "what runs stays as it is, whatever is asked" {
    local before verb
    dc --progress quiet up -d
    before=$(things)
    for verb in "up -d --force-recreate" "restart -t 0" "stop -t 0" "kill" "pause" "scale web=2" "rm -sf" \
        "down -v --rmi all -t 0" "pull" "push" "build" "cp Dockerfile web:/x" "run -d web ls" "exec -d web touch /x"; do
        # shellcheck disable=SC2086
        run -0 dc --dry-run $verb
        [[ $output = *"DRY-RUN MODE"* ]]
    done
    [ "$before" = "$(things)" ]
    run -1 dc exec -T web test -e /x
    run -1 dc --dry-run exec web ls
    [ "$output" = "interactive exec is not supported in dry-run mode" ]
    run -1 --separate-stderr dc --dry-run run -T web ls
    [[ $stderr = *"interactive run is not supported in dry-run mode" ]]
}

@test "recreation is told with the name that the new container has at first" {
    local id
    id=$(dc ps -q db | cut -c1-12)
    run -0 dc --dry-run up -d --force-recreate db
    [ "$output" = "$DRY Container dry-db-1  Recreate
$DRY Container dry-db-1  Recreated
$DRY Container ${id}_dry-db-1  Starting
$DRY Container ${id}_dry-db-1  Started" ]
}

@test "commit: what a container of a service has become" {
    dc exec -T web sh -c 'echo mine >/mine'
    run -0 dc commit -m why -a me -c 'ENV A=b' web dry/of:1
    [[ ${lines[0]} = " dry-web-1 Commit dry-web-1 Committing" ]]
    [[ ${lines[1]} = " dry-web-1 Commit dry-web-1 Committed as sha256:"* ]]
    [ "$(docker run --rm dry/of:1 sh -c 'cat /mine; echo $A')" = "mine
b" ]
    run -1 dc commit --index 7 web
    [ "$output" = 'service "web" is not running container #7' ]
    run -1 dc commit nosuch
    [ "$output" = 'service "nosuch" is not running' ]
    docker rmi dry/of:1
}

@test "export: to a file, or to stdout" {
    dc exec -T web sh -c 'echo mine >/exported'
    run -0 dc export -o "$SUITE/web.tar" web
    [ "$output" = " dry-web-1 export dry-web-1 to $SUITE/web.tar Exporting" ]
    [ "$(tar -xOf "$SUITE/web.tar" exported)" = mine ]
    dc export web 2>/dev/null | tar -t >"$SUITE/names"
    grep -qx exported "$SUITE/names"
    run -1 dc export -o "$SUITE/no/web.tar" web
    [ ! -e "$SUITE/no" ]
}

@test "stats: a project's containers, and one service's" {
    docker run -d --name stranger "$IMAGE" sleep 1000 3>&-
    [ "$(dc stats --no-stream --format '{{.Name}}' | sort)" = "dry-db-1
dry-web-1" ]
    [ "$(dc stats --no-stream --format '{{.Name}}' db)" = dry-db-1 ]
    docker rm -f stranger
    run -0 dc stats --no-stream nosuch
    [[ $output = "CONTAINER ID "* ]]
    [ "${#lines[@]}" = 1 ]
    dc stop -t 0 db
    [ "$(dc stats --no-stream --format '{{.Name}}')" = dry-web-1 ]
    [ "$(dc stats -a --no-stream --format '{{.Name}}' | wc -l)" = 2 ]
}

@test "what only the real docker compose does is refused in one line" {
    run -1 dc publish some/app
    [[ $output = "docker compose publish is refused by atp-docker: "* ]]
    run -1 dc bridge convert -o out
    [[ $output = "docker compose bridge is refused by atp-docker: "* ]]
    run -1 dc alpha viz --ports
    [[ $output = "docker compose alpha is refused by atp-docker: "* ]]
}
