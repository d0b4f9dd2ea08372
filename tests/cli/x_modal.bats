# Options that only Modal has, and --gpus: which field of which call reaches the server. The engine writes down what each
# call that makes something asks for (ATP_ENGINE_RECORD), also what it then refuses because it has no such thing: a GPU,
# a custom domain, a list of domains, verbose logs.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    export ATP_ENGINE_RECORD=$(mktemp /tmp/atp-record-XXXXXX)
    suite_start
    docker atp secret mine TOKEN=from-mine SHARED=mine >/dev/null 3>&-
    docker atp secret other SHARED=other >/dev/null 3>&-
}
teardown_file() {
    suite_stop
    rm -f "$ATP_ENGINE_RECORD"
}
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    export P=xm$BATS_TEST_NUMBER
    : >"$ATP_ENGINE_RECORD"
}
teardown() {
    [ ! -e compose.yaml ] || docker compose --progress quiet -p "$P" down -v -t 0 >/dev/null 2>&1
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
}

dc() { docker compose --progress quiet --project-name "$P" "$@"; }

# What the calls of a name asked for, one to a line; `asked CALL FILTER` is what jq finds in the last one.
calls() { sed -n "s/^$1 //p" "$ATP_ENGINE_RECORD"; }
asked() { calls "$1" | tail -1 | jq -c "$2"; }

# KEY|VALUE|CALL|FILTER|EXPECTED: a sandbox of one container. The value is what a label has; in YAML it is a list where it
# has commas.
TABLE='
app|my-app|AppGetOrCreate|.app_name|"my-app"
block_network|true|SandboxCreateV2|.definition.network_access.network_access_type|"BLOCKED"
cidr_allowlist|10.0.0.0/8,1.2.3.4/32|SandboxCreateV2|[.definition.network_access|.network_access_type,.allowed_cidrs[]]|["ALLOWLIST","10.0.0.0/8","1.2.3.4/32"]
outbound_cidr_allowlist|10.0.0.0/8|SandboxCreateV2|.definition.network_access.allowed_cidrs|["10.0.0.0/8"]
domain_allowlist|example.com,*.x.org|SandboxCreateV2|[.definition.network_access|.network_access_type,.allowed_domains[]]|["ALLOWLIST","example.com","*.x.org"]
inbound_cidr_allowlist|10.0.0.0/8|SandboxCreateV2|.definition.inbound_cidr_allowlist|["10.0.0.0/8"]
cloud|aws|SandboxCreateV2|.definition.cloud_provider_str|"aws"
region|us-east,eu-west|SandboxCreateV2|.definition.scheduler_placement.regions|["us-east","eu-west"]
cpu|0.5|SandboxCreateV2|[.definition.resources|.milli_cpu,.milli_cpu_max]|[500,500]
memory|64|SandboxCreateV2|[.definition.resources|.memory_mb,.memory_mb_max]|[64,64]
gpu|a100-80GB:2|SandboxCreate|.definition.resources.gpu_config|{"count":2,"gpu_type":"A100-80GB"}
timeout|1000|SandboxCreateV2|.definition.timeout_secs|1120
idle_timeout|4000|SandboxCreateV2|.definition.idle_timeout_secs|4000
orphan_grace|7|SandboxCreateV2|.definition.entrypoint_args[1:]|["init","--orphan-grace","7000"]
pty|true|SandboxCreateV2|[.definition.pty_info|.enabled,.pty_type]|[true,"PTY_TYPE_SHELL"]
encrypted_ports|8000,8001|SandboxCreateV2|.definition.open_ports.ports|[{"port":8000,"unencrypted":false},{"port":8001,"unencrypted":false}]
h2_ports|8000|SandboxCreateV2|.definition.open_ports.ports|[{"port":8000,"unencrypted":false,"tunnel_type":"TUNNEL_TYPE_H2"}]
unencrypted_ports|8000|SandboxCreateV2|.definition.open_ports.ports|[{"port":8000,"unencrypted":true}]
custom_domain|apps.example.com|SandboxCreateV2|.definition.custom_domain|"apps.example.com"
verbose|true|SandboxCreateV2|.definition.verbose|true
sandbox_env|A=1,B=2|SandboxCreateV2|.ephemeral_secrets.contents|[{"key":"A","value":"1"},{"key":"B","value":"2"}]
secrets|mine,other|SandboxCreateV2|.definition.secret_ids\|map(.[:3])|["st-","st-"]
'

# As the table's lines come: key, value, call, filter, expected.
each_key() {
    local key value call filter expected
    while IFS='|' read -r key rest; do
        [ -n "$key" ] || continue
        value=${rest%%|*} rest=${rest#*|}
        call=${rest%%|*} rest=${rest#*|}
        expected=${rest##*|} filter=${rest%|*}
        [ "$key" != app ] || { value=$value-$1 expected="\"$value\""; } # an App is asked for once
        "$@" "$key" "$value" "$call" "${filter//\\/}" "$expected"
    done <<<"$TABLE"
}

check() { # KEY CALL FILTER EXPECTED
    local got
    got=$(asked "$2" "$3")
    [ "$got" = "$4" ] || { echo "$1: $2 $3 is $got, not $4"; calls "$2"; return 1; }
}

# Whether it is carried out or refused by the engine is not the question here; the container is made anew for each.
by_label() {
    : >"$ATP_ENGINE_RECORD"
    docker run --rm --label "modal.$1=$2" "$IMAGE" true >out 2>&1 || grep -q "not supported by this server" out
    check "label modal.$1" "$3" "$4" "$5"
}
by_environment() {
    local name=${1^^}
    [ "$1" != outbound_cidr_allowlist ] || return 0 # the variable of a key has the key's first name
    : >"$ATP_ENGINE_RECORD"
    export "ATP_DOCKER_MODAL_$name=$2"
    docker run --rm "$IMAGE" true >out 2>&1 || grep -q "not supported by this server" out
    unset "ATP_DOCKER_MODAL_$name"
    check "ATP_DOCKER_MODAL_$name" "$3" "$4" "$5"
}
yaml_value() { case $1 in *,*) echo "[\"${1//,/\", \"}\"]" ;; *) echo "$1" ;; esac }
by_service() {
    : >"$ATP_ENGINE_RECORD"
    printf 'services:\n  app:\n    image: %s\n    command: sleep 600\n    x-modal: {%s: %s}\n' \
        "$IMAGE" "$1" "$(yaml_value "$2")" >compose.yaml
    dc up -d >out 2>&1 || grep -q "not supported by this server" out
    check "service x-modal.$1" "$3" "$4" "$5"
    dc down -t 0 >/dev/null 2>&1
}
by_file() {
    : >"$ATP_ENGINE_RECORD"
    printf '%s: {%s: %s}\nservices:\n  app:\n    image: %s\n    command: sleep 600\n' \
        "${TOP:-x-modal}" "$1" "$(yaml_value "$2")" "$IMAGE" >compose.yaml
    dc up -d >out 2>&1 || grep -q "not supported by this server" out
    check "x-modal.$1" "$3" "$4" "$5"
    dc down -t 0 >/dev/null 2>&1
}

@test "every key by a label of docker run" { each_key by_label; }
@test "every key by the environment" { each_key by_environment; }
@test "every key by a service's x-modal" { each_key by_service; }
@test "every key by the file's x-modal" { each_key by_file; }

@test "the file's x-modal by inspect's own name" {
    TOP=x-inspect_modal_sandbox by_file region us-east SandboxCreateV2 .definition.scheduler_placement.regions '["us-east"]'
    printf 'x-inspect_modal_sandbox: {cloud: aws}\nx-modal: {cloud: gcp}\nservices: {app: {image: %s, command: "true"}}\n' \
        "$IMAGE" >compose.yaml
    dc up -d
    [ "$(asked SandboxCreateV2 .definition.cloud_provider_str)" = '"gcp"' ]
}

@test "every key is in the table, said to be of a command, of this machine, or refused" {
    local key verdict
    docker atp options | tail -n +2 >options
    while read -r key; do
        case $key in
        environment | sync.* | volume.save | volumes) continue ;; # their own tests: below, barriers, volumes
        esac
        grep -q "^$key .*(refused today)" options || [[ $TABLE == *$'\n'"$key|"* ]] || { echo "$key has no test"; return 1; }
    done < <(awk '{print $1}' options)
    while read -r key; do
        run -125 docker create --label "modal.$key=1" "$IMAGE"
        [[ "$output" == *"label modal.$key is not carried out by atp-docker yet"* || "$output" == *"label modal.$key: '1' is not"* ]]
    done < <(awk '/\(refused today\)/ {print $1}' options)
}

@test "the environment is a whole command's" {
    ATP_DOCKER_MODAL_ENVIRONMENT=dev docker run --rm "$IMAGE" true || true
    [ "$(calls AppGetOrCreate | jq -r .environment_name | sort -u)" = dev ]
    run -125 docker create --label modal.environment=dev "$IMAGE"
    [[ "$output" == *"label modal.environment: a Modal environment is that of a whole command: set ATP_DOCKER_MODAL_ENVIRONMENT"* ]]
}

@test "label over service over file over environment" {
    cat >compose.yaml <<YAML
x-modal: {cloud: gcp, region: us-east, idle_timeout: 4001, timeout: 1001}
services:
  app:
    image: $IMAGE
    command: sleep 600
    labels: {modal.cloud: oci}
    x-modal: {cloud: aws, region: eu-west}
YAML
    export ATP_DOCKER_MODAL_CLOUD=auto ATP_DOCKER_MODAL_REGION=ap ATP_DOCKER_MODAL_IDLE_TIMEOUT=4002 ATP_DOCKER_MODAL_CPU=0.25
    dc up -d
    unset ATP_DOCKER_MODAL_CLOUD ATP_DOCKER_MODAL_REGION ATP_DOCKER_MODAL_IDLE_TIMEOUT ATP_DOCKER_MODAL_CPU
    [ "$(asked SandboxCreateV2 '.definition | [.cloud_provider_str, .scheduler_placement.regions, .idle_timeout_secs, .timeout_secs, .resources.milli_cpu]')" = \
        '["oci",["eu-west"],4001,1121,250]' ]
}

@test "docker's own words over Modal's, but x-modal.gpu over compose's" {
    docker run --rm --cpus 1 -m 64m --label modal.cpu=0.5 --label modal.memory=128 "$IMAGE" true
    [ "$(asked SandboxCreateV2 '.definition.resources | [.milli_cpu, .memory_mb]')" = '[1000,64]' ]
    docker run --rm --network none --label modal.cidr_allowlist=10.0.0.0/8 "$IMAGE" true
    [ "$(asked SandboxCreateV2 .definition.network_access.network_access_type)" = '"BLOCKED"' ]
    run -125 docker create --network none --label modal.h2_ports=80 "$IMAGE"
    [[ "$output" == *"--network none and label modal.h2_ports exclude each other"* ]]
    while IFS='|' read -r words gpu; do
        : >"$ATP_ENGINE_RECORD"
        # shellcheck disable=SC2086
        run -125 docker run --rm $words "$IMAGE" true
        [[ "$output" == *"a Sandbox with a GPU is not supported by this server"* ]]
        [ "$(asked SandboxCreate .definition.resources.gpu_config)" = "$gpu" ]
    done <<'WORDS'
--gpus all|{"count":1,"gpu_type":"ANY"}
--gpus 2|{"count":2,"gpu_type":"ANY"}
--gpus device=0|{"count":1,"gpu_type":"ANY"}
--gpus 2 --label modal.gpu=H100:8|{"count":2,"gpu_type":"H100"}
--gpus all --label modal.gpu=H100:8|{"count":8,"gpu_type":"H100"}
WORDS
    : >"$ATP_ENGINE_RECORD"
    docker run --rm --gpus 0 "$IMAGE" true
    [ "$(asked SandboxCreateV2 .definition.resources.gpu_config)" = '{}' ]
}

gpu_of() { # YAML of the service, expected
    : >"$ATP_ENGINE_RECORD"
    printf 'services:\n  app:\n    image: %s\n    command: sleep 600\n%s\n' "$IMAGE" "$1" >compose.yaml
    run dc up -d
    [[ "$output" == *"a Sandbox with a GPU is not supported by this server"* ]] || { echo "$output"; return 1; }
    [ "$(asked SandboxCreate .definition.resources.gpu_config)" = "$2" ]
    [ -z "$(calls SandboxCreateV2)" ]
    dc down -t 0 >/dev/null 2>&1
}

@test "GPUs of a service" {
    local devices='    deploy: {resources: {reservations: {devices: [{capabilities: [gpu]'
    gpu_of "$devices, count: 2}]}}}" '{"count":2,"gpu_type":"ANY"}'
    gpu_of "$devices, device_ids: ['0', '3']}]}}}" '{"count":2,"gpu_type":"ANY"}'
    gpu_of "$devices}]}}}" '{"count":1,"gpu_type":"ANY"}'
    gpu_of "    gpus: all" '{"count":1,"gpu_type":"ANY"}'
    gpu_of "$devices, count: 2}]}}}
    x-modal: {gpu: 'H100:4'}" '{"count":4,"gpu_type":"H100"}'
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: sleep 600, gpus: all}
  db: {image: $IMAGE, command: sleep 600}
YAML
    run dc up -d
    [ "$status" != 0 ]
    [[ "$output" == *"services.app.gpus is refused by atp-docker: a GPU is for a container alone in its sandbox: network_mode: bridge"* ]]
    run -125 docker create --network n --gpus 1 "$IMAGE"
    [[ "$output" == *"--gpus 1 is refused by atp-docker in a network of one's own: only a sandbox's main container can have a GPU"* ]]
    [ -z "$(docker ps -aq)" ]
}

@test "the report says so before" {
    local key
    docker atp options | tail -n +2 >options
    {
        printf 'services:\n  app:\n    image: %s\n    x-modal:\n' "$IMAGE"
        while read -r key; do
            case $key in sandbox_env) echo "      $key: {A: 1}" ;; *) echo "      $key: 1" ;; esac
        done < <(awk '{print $1}' options)
        printf '      nonsense: 1\n  db: {image: %s, gpus: all, x-modal: {gpu: T4}}\n  own: {image: %s, gpus: all, network_mode: bridge}\n' "$IMAGE" "$IMAGE"
    } >compose.yaml
    dc config --x-modal-report --format json >report
    verdict() { jq -r --arg s "$1" --arg k "$2" '.[] | select(.Service == $s and .Key == $k) | .Verdict' report; }
    while read -r key; do
        case $(grep "^$key " options) in
        *"(refused today)"* | environment* | gpu*) [ "$(verdict app "x-modal.$key")" = refused ] ;;
        *) [ "$(verdict app "x-modal.$key")" = "carried out" ] ;;
        esac || { echo "$key: $(verdict app "x-modal.$key")"; return 1; }
    done < <(awk '{print $1}' options)
    [ "$(verdict app x-modal.nonsense)" = refused ]
    [ "$(verdict db gpus)" = refused ]
    [ "$(verdict db x-modal.gpu)" = refused ]
    [ "$(verdict own gpus)" = "carried out" ]
    rm compose.yaml
}

@test "variables of secrets and of the sandbox arrive in every process" {
    docker run -d --name one --label modal.secrets=mine,other --label modal.sandbox_env=PLAIN=x,TOLD=env -e TOLD=line \
        --health-cmd 'echo $TOKEN >/tmp/health' --health-interval 1s "$IMAGE" sh -c 'echo $TOKEN $SHARED $PLAIN $TOLD >/tmp/main; exec sleep 600'
    # shellcheck disable=SC2016
    [ "$(docker exec one sh -c 'echo $TOKEN $SHARED $PLAIN $TOLD')" = "from-mine other x line" ]
    [ "$(docker exec one cat /tmp/main)" = "from-mine other x line" ]
    for _ in $(seq 300); do
        [ "$(docker exec one cat /tmp/health 2>/dev/null)" != from-mine ] || break
        sleep 0.2
    done
    [ "$(docker exec one cat /tmp/health)" = from-mine ]
    [[ "$(docker inspect one)" != *from-mine* ]]
    [ -z "$(docker run --rm "$IMAGE" sh -c 'env | grep -e MODAL -e TOKEN')" ]
    run -125 docker run --rm --label modal.secrets=nobody "$IMAGE" true
    [[ "$output" == *"there is no Modal secret nobody (label modal.secrets)"* ]]
    [ -z "$(docker ps -aq --filter ancestor=nothing)" ]
}

@test "an external secret of a compose file is Modal's, also in a pod" {
    cat >compose.yaml <<YAML
services:
  web: {image: $IMAGE, command: sleep 600, secrets: [mine], x-modal: {sandbox_env: {TWO: "a b, c", N: 1}, pty: true}}
  db: {image: $IMAGE, command: sleep 600, x-modal: {secrets: [other]}}
secrets:
  mine: {external: true}
YAML
    run -0 dc config --x-modal-report
    dc up -d
    # shellcheck disable=SC2016
    [ "$(dc exec -T web sh -c 'echo $TOKEN/$TWO/$N')" = "from-mine/a b, c/1" ]
    # shellcheck disable=SC2016
    [ "$(dc exec -T db sh -c 'echo $SHARED/$TOKEN')" = "other/" ]
    [ "$(calls TaskContainerCreate | jq -c 'select(.pty_info.enabled) | .env | sort_by(.key)')" = '[{"key":"N","value":"1"},{"key":"TWO","value":"a b, c"}]' ]
    [ "$(calls TaskContainerCreate | jq -c '.secret_ids | length')" = $'1\n1' ]
}

@test "-p opens nothing at the server, alone or in a pod" {
    docker run -d --name one -p 127.0.0.1::80 -p 127.0.0.1::81 "$IMAGE" sleep 600
    [ "$(asked SandboxCreateV2 .definition.open_ports)" = '{}' ]
    docker rm -f one
    cat >compose.yaml <<YAML
services:
  web: {image: $IMAGE, command: sleep 600, ports: ["127.0.0.1::80"]}
  db: {image: $IMAGE, command: sleep 600, ports: ["127.0.0.1::81"], expose: ["82"]}
YAML
    dc up -d
    [ "$(calls SandboxCreateV2 | jq -c .definition.open_ports)" = $'{}\n{}' ]
}

# Asks until it answers so: a service may still be on its way.
answers() { # EXPECTED CURL_WORDS...
    local expected=$1 got
    shift
    for _ in $(seq 300); do
        got=$(curl -sk -m 10 "$@" || true)
        [ "$got" != "$expected" ] || return 0
        sleep 0.2
    done
    echo "$* answers '$got', not '$expected'"
    return 1
}

serves() { echo "sh -c 'echo $1 >/tmp/name; exec httpd -f -p $2 -h /tmp'"; }

@test "tunnels of one container" {
    docker run -d --name one --label modal.unencrypted_ports=8000 --label modal.encrypted_ports=8001 "$IMAGE" \
        sh -c 'echo one >/tmp/name; httpd -p 8001 -h /tmp; exec httpd -f -p 8000 -h /tmp'
    answers one "http://$(docker port one 8000)/name"
    answers one "$(docker port one 8001/tcp)/name"
    [[ "$(docker port one 8001)" == https://* ]]
    [ "$(docker port one | wc -l)" = 2 ]
    [ "$(docker inspect -f '{{json .Atp.Tunnels}}' one | jq -c '[.[] | [.Port, .Kind]]')" = '[[8001,"encrypted"],[8000,"unencrypted"]]' ]
    run -1 docker port one 8002
    [[ "$output" == *"No public port '8002' published for one"* ]]
}

@test "tunnels of a pod end at the hub, which passes them on to the service that asked" {
    cat >compose.yaml <<YAML
services:
  web: {image: $IMAGE, command: $(serves web 8000), x-modal: {unencrypted_ports: 8000}, scale: 2}
  db: {image: $IMAGE, command: $(serves db 9000), x-modal: {encrypted_ports: [9000]}}
YAML
    dc up -d
    [ "$(calls SandboxCreateV2 | jq -c '[.definition.open_ports.ports[] | [.port, .unencrypted]] | sort')" = '[[8000,true],[9000,false]]' ]
    answers web "http://$(docker port $P-web-1 8000)/name"
    answers db "$(docker port $P-db-1 9000)/name"
    # much, both ways, and many at once
    docker exec $P-web-1 sh -c 'head -c 8000000 /dev/urandom >/tmp/big'
    docker exec $P-web-1 cat /tmp/big >big
    docker exec -i $P-web-2 sh -c 'cat >/tmp/big' <big
    local url pids=()
    url=http://$(docker port $P-web-2 8000)/big
    for i in 1 2 3 4 5 6; do
        curl -s -m 120 -o "got$i" "$url" 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    for i in 1 2 3 4 5 6; do cmp big "got$i"; done
    # one replica less, then another life of the service: the same address
    docker stop -t 0 $P-web-2
    answers web "http://$(docker port $P-web-1 8000)/name"
    dc restart -t 0 web
    answers web "http://$(docker port $P-web-1 8000)/name"
}

@test "one sandbox for several: what they ask for together, and what contradicts" {
    cat >compose.yaml <<YAML
x-modal: {cloud: gcp, idle_timeout: 4001, encrypted_ports: [7000], timeout: 1000}
services:
  web:
    image: $IMAGE
    command: sleep 600
    cpus: 0.5
    mem_limit: 64m
    x-modal: {region: us-east, cloud: aws, inbound_cidr_allowlist: [10.0.0.0/8], domain_allowlist: [example.com]}
  db: {image: $IMAGE, command: sleep 600, cpus: 0.25, mem_limit: 32m, x-default: true, x-modal: {timeout: 2000}}
YAML
    run dc up -d
    [[ "$output" == *"a domain allow list"* ]] || { echo "$output"; return 1; } # web's own: the engine has none
    [ "$(asked SandboxCreateV2 '.definition | [.cloud_provider_str, .scheduler_placement.regions, .idle_timeout_secs, .timeout_secs, .inbound_cidr_allowlist, .resources.milli_cpu, .resources.memory_mb]')" = \
        '["aws",["us-east"],4001,2120,["10.0.0.0/8"],750,96]' ]
    [ "$(asked SandboxCreateV2 .definition.open_ports.ports)" = '[{"port":7000,"unencrypted":false}]' ]
    [ "$(calls TaskContainerCreate | jq -c '.network_access | select(.allowed_domains) | [.network_access_type, .allowed_domains]' | sort -u)" = '["ALLOWLIST",["example.com"]]' ]
    dc down -t 0
    for said in 'region: us-east|region: eu-west|asks for region' 'encrypted_ports: 80|h2_ports: 80|ask both for a tunnel to port 80' \
        'encrypted_ports: 80|encrypted_ports: [80]|ask both for a tunnel to port 80' 'app: one|app: two|asks for app'; do
        IFS='|' read -r a b line <<<"$said"
        printf 'services:\n  web: {image: %s, command: sleep 600, x-modal: {%s}}\n  db: {image: %s, command: sleep 600, x-modal: {%s}}\n' \
            "$IMAGE" "$a" "$IMAGE" "$b" >compose.yaml
        run dc up -d
        [ "$status" != 0 ]
        [[ "$output" == *"$line"* && "$output" == *"service web"* && "$output" == *"service db"* ]] || { echo "$output"; return 1; }
        dc down -t 0
    done
}

@test "a sandbox that runs cannot be changed" {
    docker network create -o modal.region=us-east n$P
    docker run -d --name first --network n$P "$IMAGE" sleep 600
    [ "$(asked SandboxCreateV2 .definition.scheduler_placement.regions)" = '["us-east"]' ]
    run -125 docker run --rm --network n$P --label modal.encrypted_ports=80 "$IMAGE" true
    [[ "$output" == *"asks for a tunnel to port 80 (encrypted_ports), but the sandbox that its networks have was made without"* ]]
    run -125 docker run --rm --network n$P --label modal.region=eu-west "$IMAGE" true
    [[ "$output" == *"asks for region 'eu-west' (label modal.region) and network n$P for 'us-east'"* ]]
    docker run --rm --network n$P --label modal.region=us-east "$IMAGE" true
    docker rm -f first
    docker network rm n$P
}
