#!/usr/bin/env bash
# A CI job of the shape that hosted runners make of `container:` and `services:`: a network, a service with health options and a
# published port, the job's container with the workspace mounted, steps by exec, reports by cp, and the clean-up. Twice at once on
# one engine, each with a scope of its own; neither sees the other.
# Usage: ci_job.sh SOURCE_DIR BUILD_DIR [real]: with `real` one job with the docker of the PATH and the images of $REGISTRY.
set -u -o pipefail
source_dir=$1 build=$2
. "$source_dir/tests/lib/images.sh"
. "$source_dir/tests/lib/engine.sh"
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for program in docker-registry skopeo debootstrap; do command -v "$program" >/dev/null || skip "needs $program"; done

# job NAME DIR: everything that the runner says, in its order and with its words.
job() {
    local name=$1 dir=$2 label network service job state step health
    label=$(printf '%s' "$name" | md5sum | head -c 6)
    network=github_network_$(cat /proc/sys/kernel/random/uuid | tr -d -)
    mkdir -p "$dir/work/_temp" "$dir/work/repo/repo" "$dir/work/_actions" "$dir/tools"
    echo "of $name" >"$dir/work/repo/repo/input"
    say() { echo "$name: $*"; }
    die() { echo "$name: FAILED: $*" >&2; docker ps -a >&2; return 1; }

    # what an earlier job of this runner left
    for id in $(docker ps --all --quiet --no-trunc --filter "label=$label"); do docker rm --force "$id"; done
    docker network prune --force --filter "label=$label" || { die "network prune"; return; }
    docker network create --label "$label" "$network" >"$dir/network" || { die "network create"; return; }
    grep -qE '^[0-9a-f]{64}$' "$dir/network" || { die "what network create says"; return; }

    docker pull -q "$REGISTRY/library/servers:1" >/dev/null && docker pull -q "$REGISTRY/library/debian:12" >/dev/null || { die pull; return; }
    service=$(docker create --name "cache_$label" --label "$label" --network "$network" --network-alias cache -p 6379 \
        --health-cmd "redis-cli ping" --health-interval 1s --health-timeout 5s --health-retries 20 \
        -e GITHUB_ACTIONS=true -e CI=true "$REGISTRY/library/servers:1" \
        redis-server --bind 0.0.0.0 --protected-mode no --save "") || { die "create of the service"; return; }
    docker start "$service" >/dev/null || { die "start of the service"; return; }
    docker ps --all --filter "id=$service" --filter status=running --no-trunc --format "{{.ID}} {{.Status}}" | grep -q "^$service Up " ||
        { die "the service does not run"; return; }
    [[ "$(docker port "$service")" == "6379/tcp -> 0.0.0.0:"* ]] || { die "port: $(docker port "$service")"; return; }

    job=$(docker create --name "job_$label" --label "$label" --workdir /__w/repo/repo --network "$network" \
        -e HOME=/github/home -e GITHUB_ACTIONS=true -e CI=true \
        -v /var/run/docker.sock:/var/run/docker.sock -v "$dir/work:/__w" -v "$dir/tools:/__e:ro" -v "$dir/work/_temp:/__w/_temp" \
        -v "$dir/work/_temp/_github_home:/github/home" --entrypoint tail "$REGISTRY/library/debian:12" -f /dev/null) || { die "create of the job"; return; }
    docker start "$job" >/dev/null || { die "start of the job"; return; }
    docker ps --all --filter "id=$job" --filter status=running --no-trunc --format "{{.ID}} {{.Status}}" | grep -q "^$job Up " ||
        { die "the job's container does not run"; return; }
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$job" | grep -qx GITHUB_ACTIONS=true || { die "its environment"; return; }

    health=
    for _ in $(seq 400); do
        health=$(docker inspect --format '{{if .Config.Healthcheck}}{{print .State.Health.Status}}{{end}}' "$service")
        [ "$health" = healthy ] && break
        sleep 0.5
    done
    [ "$health" = healthy ] || { die "the service is $health"; return; }

    cat >"$dir/work/_temp/step.sh" <<'EOT'
set -e
exec 3<>/dev/tcp/cache/6379
printf 'SET k %s\r\nGET k\r\n' "$WORD" >&3
read -r answer <&3
read -r size <&3
read -r value <&3
mkdir -p reports
echo "$answer $value $(cat input)" | tr -d '\r' >reports/result
echo "$answer" | grep -q OK
EOT
    docker exec -i --workdir /__w/repo/repo -e "WORD=$name" -e CI=true "$job" bash -e /__w/_temp/step.sh || { die "a step: $?"; return; }
    [ "$(cat "$dir/work/repo/repo/reports/result")" = "+OK $name of $name" ] || { die "the workspace: $(cat "$dir/work/repo/repo/reports/result")"; return; }
    docker exec -i --workdir /__w/repo/repo "$job" sh -c 'exit 9'
    [ $? -eq 9 ] || { die "a failing step"; return; }
    docker cp "$job:/__w/repo/repo/reports" "$dir/copied" 2>/dev/null && grep -q "of $name" "$dir/copied/result" || { die "cp of the reports"; return; }

    docker rm --force "$job" >/dev/null && docker rm --force "$service" >/dev/null || { die "rm --force"; return; }
    docker network rm "$network" >/dev/null || { die "network rm"; return; }
    [ -z "$(docker ps -aq --filter "label=$label")" ] || { die "containers are left"; return; }
    say "all of it held"
}

if [ "${3:-}" = real ]; then
    tmp=$(mktemp -d /tmp/atp-job-XXXXXX)
    job one "$tmp/one"
    code=$?
    rm -rf "$tmp"
    exit $code
fi
bash "$source_dir/tests/build/bases.sh" "$source_dir" "$build/fixtures/bases" || exit $?
tmp=$(mktemp -d /tmp/atp-job-XXXXXX)
unset DOCKER_HOST ATP_DOCKER_REAL MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH
mkdir -p "$tmp/run" "$tmp/home" "$tmp/bin" "$tmp/registry"
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run HOME=$tmp/home ATP_DOCKER_BACKEND=local
finish() {
    registry_stop
    engine_stop
    rm -rf --one-file-system "$tmp"
}
trap finish EXIT
ln -s "$build/fixtures/bases/data" "$tmp/registry/data"
registry_start "$tmp/registry"
ln -s "$build/bin/atp-docker" "$tmp/bin/docker"
PATH=$tmp/bin:$PATH
(ATP_DOCKER_SCOPE=one job one "$tmp/one") >"$tmp/one.log" 2>&1 &
first=$!
(ATP_DOCKER_SCOPE=two job two "$tmp/two") >"$tmp/two.log" 2>&1 &
second=$!
code=0
wait "$first" || code=1
wait "$second" || code=1
cat "$tmp/one.log" "$tmp/two.log"
[ -z "$(docker ps -aq)" ] || { docker ps -a; echo "containers are left"; code=1; }
exit $code
