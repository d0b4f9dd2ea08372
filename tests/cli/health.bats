# Health checks: what asks for them, where their state is shown, and what it does.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    push_image checked:1 '{"Cmd":["sleep","1000"],"Healthcheck":{"Test":["CMD","test","-e","/well"],"Interval":200000000,"Retries":2}}' :
    export CHECKED=$REGISTRY/checked:1
    docker pull -q "$CHECKED" >/dev/null 3>&-
}
teardown_file() { suite_stop; }
teardown() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    [ -z "$(docker ps -aq)" ]
}

health() { docker inspect --format '{{.State.Health.Status}}' "$1"; }
is_health() { [ "$(health "$1")" = "$2" ]; }
asked() { docker inspect --format '{{json .Config.Healthcheck}}' "$1"; }

@test "starting, healthy, unhealthy: in inspect, ps and its filter" {
    docker run -d --name c1 --health-cmd 'test -e /well' --health-interval 300ms --health-retries 2 --health-start-period 1000s "$IMAGE" sleep 1000
    [[ "$(docker ps --format '{{.Status}}')" = *"(health: starting)" ]]
    is_health c1 starting
    docker exec c1 touch /well
    until_true 20 is_health c1 healthy
    [[ "$(docker ps --format '{{.Status}}')" = "Up "*" (healthy)" ]]
    [ "$(docker ps -q --filter health=healthy)" = "$(docker ps -q)" ]
    [ -z "$(docker ps -q --filter health=unhealthy)" ]
    docker exec c1 rm /well
    until_true 20 is_health c1 unhealthy
    [[ "$(docker ps --format '{{.Status}}')" = *"(unhealthy)" ]]
    [ "$(docker inspect --format '{{(index .State.Health.Log 0).ExitCode}}' c1)" = 1 ] || docker inspect --format '{{json .State.Health}}' c1 | grep -q '"ExitCode":1'
    [ "$(docker inspect --format '{{.State.Health.FailingStreak}}' c1)" -ge 2 ]
}

@test "a check of one line is read by the image's SHELL" {
    push_image shelled:1 '{"Cmd":["sleep","1000"],"Shell":["/bin/echo","said"]}' :
    docker run -d --name shelled --health-cmd 'x y' --health-interval 300ms "$REGISTRY/shelled:1"
    until_true 20 is_health shelled healthy
    [ "$(docker inspect --format '{{(index .State.Health.Log 0).Output}}' shelled)" = "said x y" ]
    [ "$(docker inspect --format '{{json .Config.Shell}}' shelled)" = '["/bin/echo","said"]' ]
    docker restart -t 0 shelled
    until_true 20 is_health shelled healthy
}

@test "the image's check; the line's words over it, field by field" {
    docker run -d --name image "$CHECKED"
    [ "$(asked image)" = '{"Test":["CMD","test","-e","/well"],"Interval":200000000,"Retries":2}' ]
    until_true 20 is_health image unhealthy
    docker run -d --name over --health-cmd true --health-retries 5 "$CHECKED"
    [ "$(asked over)" = '{"Test":["CMD-SHELL","true"],"Interval":200000000,"Retries":5}' ]
    until_true 20 is_health over healthy
    docker run -d --name none --no-healthcheck "$CHECKED"
    [ "$(asked none)" = '{"Test":["NONE"],"Interval":200000000,"Retries":2}' ]
    [[ "$(docker ps --filter name=none --format '{{.Status}}')" != *"("* ]]
    [ "$(docker inspect --format '{{json .State}}' none | grep -c Health)" = 0 ]
    docker run -d --name plain "$IMAGE" sleep 1000
    [ "$(docker ps --filter health=none --format '{{.Names}}' | sort | xargs)" = "none plain" ]
}

@test "it starts anew with the container, and stays as it was in one that has ended" {
    docker run -d --name c1 --health-cmd true --health-interval 300ms "$IMAGE" sleep 1000
    until_true 20 is_health c1 healthy
    docker stop -t 0 c1
    is_health c1 healthy
    [[ "$(docker ps -a --format '{{.Status}}')" = "Exited "* ]]
    docker start c1
    until_true 20 is_health c1 healthy
}

@test "whoever follows it is killed: the next look knows all the same" {
    docker run -d --name c1 --health-cmd 'test -e /well' --health-interval 300ms "$IMAGE" sleep 1000
    kill -9 "$(pgrep -f "^docker atp forward $(docker inspect --format '{{.Id}}' c1) ")"
    docker exec c1 touch /well
    until_true 20 is_health c1 healthy
    [[ "$(docker ps --format '{{.Status}}')" = *"(healthy)" ]]
}

@test "wrong words" {
    run -125 docker create --health-interval -1s "$IMAGE"
    [[ "$output" = "docker: --health-interval cannot be negative"* ]]
    run -125 docker create --health-retries -1 "$IMAGE"
    [[ "$output" = "docker: --health-retries cannot be negative"* ]]
    run -125 docker create --no-healthcheck --health-cmd x "$IMAGE"
    [[ "$output" = "docker: --no-healthcheck conflicts with --health-* options"* ]]
    run -125 docker run --health-timeout 1us "$IMAGE"
    [[ "$output" = *"Timeout in Healthcheck cannot be less than 1ms"* ]]
    [ -z "$(docker ps -aq)" ]
}
