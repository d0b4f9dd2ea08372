# Every key that a service may have: what the report says of it is what happens to it, and what is carried out is seen
# in the container.
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
    docker volume prune -af >/dev/null
}

# KEY|what the report says of it|its value. A key may have several lines. What is left out: extends, profiles and
# pull_refresh_after are gone when the file is read, image is everywhere.
rows() {
    cat <<'ROWS'
annotations|no effect|{a: b}
attach|carried out|false
blkio_config|approximated|{weight: 300}
blkio_config|refused|{device_read_bps: [{path: /dev/sda, rate: 1mb}]}
build|carried out|{context: .}
cap_add|carried out|[CHOWN]
cap_add|approximated|[NET_ADMIN]
cap_drop|carried out|[ALL]
cgroup|carried out|private
cgroup|refused|host
cgroup_parent|refused|m-executor
command|carried out|["true"]
configs|carried out|[c]
container_name|carried out|own-name
cpu_count|approximated|2
cpu_percent|approximated|50
cpu_period|carried out|100000
cpu_quota|carried out|50000
cpu_rt_period|approximated|1000
cpu_rt_runtime|approximated|1000
cpu_shares|approximated|512
cpus|carried out|0.5
cpuset|approximated|"0"
credential_spec|refused|{file: f.json}
depends_on|carried out|[tty]
deploy|carried out|{replicas: 1, resources: {limits: {memory: 64m}, reservations: {memory: 32m}}}
deploy|no effect|{placement: {constraints: [a]}, update_config: {delay: 1s}, endpoint_mode: vip, labels: {a: b}}
deploy|refused|{resources: {limits: {pids: 5}}}
develop|carried out|{watch: []}
device_cgroup_rules|approximated|["c 1:3 r"]
devices|carried out|["/dev/null"]
devices|refused|["/dev/fuse"]
dns|carried out|10.9.8.7
dns_opt|carried out|["ndots:3"]
dns_search|carried out|a.example
domainname|approximated|example.org
entrypoint|carried out|["true"]
env_file|carried out|[e]
environment|carried out|{A: b}
expose|carried out|["80"]
external_links|refused|[other]
extra_hosts|carried out|["h:1.2.3.4"]
extra_hosts|approximated|["host.docker.internal:host-gateway"]
group_add|carried out|["55"]
healthcheck|carried out|{test: "true", start_interval: 1s}
hostname|approximated|own
init|carried out|true
ipc|carried out|private
ipc|carried out|shareable
ipc|refused|host
isolation|carried out|default
isolation|refused|hyperv
label_file|carried out|[e]
labels|carried out|{a: b}
links|carried out|[tty]
logging|approximated|{driver: json-file, options: {max-size: 1m}}
logging|carried out|{driver: none}
logging|refused|{driver: syslog}
mac_address|approximated|02:42:ac:11:00:03
mem_limit|carried out|64m
mem_reservation|carried out|32m
mem_swappiness|approximated|10
memswap_limit|approximated|128m
models|refused|[m]
network_mode|carried out|none
networks|carried out|{default: {aliases: [x]}}
networks|approximated|{default: {mac_address: 02:42:ac:11:00:03}}
networks|refused|{default: {ipv4_address: 10.1.2.3}}
oom_kill_disable|approximated|true
oom_score_adj|approximated|300
pid|refused|host
pids_limit|carried out|-1
pids_limit|refused|10
platform|carried out|linux/amd64
ports|carried out|["80"]
post_start|carried out|[{command: "true"}]
pre_stop|carried out|[{command: "true"}]
privileged|refused|true
provider|refused|{type: x}
pull_policy|carried out|missing
read_only|refused|true
restart|carried out|on-failure
runtime|approximated|runc
runtime|refused|nvidia
scale|carried out|1
secrets|carried out|[s]
security_opt|carried out|["no-new-privileges:true"]
security_opt|approximated|["seccomp:unconfined"]
security_opt|refused|["seccomp:p.json"]
shm_size|approximated|128m
stdin_open|carried out|true
stop_grace_period|carried out|3s
stop_signal|carried out|SIGINT
storage_opt|refused|{size: 1g}
sysctls|approximated|{net.core.somaxconn: 512}
sysctls|refused|{net.ipv4.ip_forward: 0}
tmpfs|carried out|/t
tty|carried out|true
ulimits|approximated|{nofile: {soft: 100, hard: 200}}
use_api_socket|refused|true
user|carried out|"1000"
userns_mode|approximated|host
uts|refused|host
volumes|carried out|[".:/mine"]
volumes_from|carried out|[tty]
working_dir|carried out|/tmp
ROWS
}

# service NUMBER KEY VALUE: a service that has this key; the number makes its name
service() {
    echo "  s$1-$2:"
    [ "$2" = build ] || [ "$2" = provider ] || echo "    image: $IMAGE"
    [ "$2" = memswap_limit ] && echo "    mem_limit: 64m"
    echo "    $2: $3"
}

# file VERDICT...: a compose file of all rows with these verdicts
write_file() {
    local n=0 key verdict value
    echo "services:"
    echo "  tty: {image: $IMAGE}"
    while IFS='|' read -r key verdict value; do
        n=$((n + 1))
        [[ " $* " == *" ${verdict// /-} "* ]] && service $n "$key" "$value"
    done < <(rows)
    printf 'configs:\n  c: {content: text}\nsecrets:\n  s: {file: ./e}\n'
    [[ " $* " == *" refused "* ]] && printf 'models:\n  m: {model: ai/x}\n'
    return 0
}

surroundings() {
    echo "E=1" >e
    printf 'FROM %s\n' "$IMAGE" >Dockerfile
}

@test "every key of the specification has its row" {
    local key missing=""
    for key in $(ls "$ROOT/tests/compose/cases" | sed -n 's/^key-\(.*\)\.case$/\1/p'); do
        case $key in extends | extensions | gpus | image | profiles | pull_refresh_after) continue ;; esac
        rows | grep -q "^$key|" || missing+=" $key"
    done
    [ -z "$missing" ] || { echo "no row for:$missing"; false; }
}

@test "the report says of each what the table says" {
    surroundings
    write_file carried-out approximated no-effect refused >compose.yaml
    docker compose config --x-modal-report --format json >report
    n=0 wrong=""
    while IFS='|' read -r key verdict value; do
        n=$((n + 1))
        # the worst that is said of the key or of a part of it
        part=$key
        [ "$key" != label_file ] || part=labels # into which it was read
        got=$(jq -rs --arg s "s$n-$key" --arg k "$part" '(if type == "array" and (.[0] | type) == "array" then .[0] else . end)
            | [.[] | select(.Service == $s and (.Key == $k or (.Key | startswith($k + ".")))) | .Verdict] as $v
            | (["refused", "approximated", "carried out", "no effect"] | map(select(. as $x | $v | index($x))) | first) // "nothing"' report)
        [ "$got" = "$verdict" ] || wrong+="$key: $value: the report says: $got, not $verdict"$'\n'
    done < <(rows)
    [ -z "$wrong" ] || { echo "$wrong"; false; }
}

@test "what is not refused is made" {
    surroundings
    write_file carried-out approximated no-effect >compose.yaml
    docker compose --progress quiet -p keys create
    wanted=$(rows | grep -vc '|refused|')
    [ "$(docker ps -aq --filter label=com.docker.compose.project=keys | wc -l)" = $((wanted + 1)) ]
    i() { docker inspect "$(docker ps -aq --filter "label=com.docker.compose.service=$(docker compose -p keys config --services | grep -m1 -e "-$1\$")")" | jq -c ".[0].$2"; }
    [ "$(i annotations HostConfig.Annotations)" = '{"a":"b"}' ]
    [ "$(i cap_drop HostConfig.CapDrop)" = '["ALL"]' ]
    [ "$(i cpu_quota HostConfig.CpuQuota)" = 50000 ]
    [ "$(i dns HostConfig.Dns)" = '["10.9.8.7"]' ]
    [ "$(i domainname Config.Domainname)" = '"example.org"' ]
    [ "$(i group_add HostConfig.GroupAdd)" = '["55"]' ]
    [ "$(i hostname Config.Hostname)" = '"own"' ]
    [ "$(i init HostConfig.Init)" = true ]
    [ "$(i mac_address Config.MacAddress)" = '"02:42:ac:11:00:03"' ]
    [ "$(i mem_reservation HostConfig.MemoryReservation)" = 33554432 ]
    [ "$(i security_opt HostConfig.SecurityOpt)" = '["no-new-privileges:true"]' ]
    [ "$(i shm_size HostConfig.ShmSize)" = 134217728 ]
    [ "$(i sysctls HostConfig.Sysctls)" = '{"net.core.somaxconn":"512"}' ]
    [ "$(i ulimits HostConfig.Ulimits)" = '[{"Name":"nofile","Hard":200,"Soft":100}]' ]
    docker compose --progress quiet -p keys down -v
}

@test "what is refused is refused with file, line, service and key, and nothing is made" {
    surroundings
    n=0
    while IFS='|' read -r key verdict value; do
        n=$((n + 1))
        [ "$verdict" = refused ] || continue
        {
            echo "services:"
            service $n "$key" "$value"
            [ "$key" != models ] || printf 'models:\n  m: {model: ai/x}\n'
        } >compose.yaml
        run --separate-stderr docker compose create
        [ "$status" != 0 ] || { echo "$key: $value was made"; false; }
        [[ "$stderr" == "$WORK/compose.yaml:"[0-9]*": services.s$n-$key.$key"*" is refused by atp-docker: "* ]] ||
            [[ "$stderr" == "$WORK/compose.yaml:"[0-9]*": models"*" is refused by atp-docker: "* ]] || { echo "$key: $stderr"; false; }
        [ -z "$(docker ps -aq)" ]
    done < <(rows)
}

@test "the plan of a line says the same" {
    run -1 --separate-stderr docker atp plan run --cap-drop ALL --hostname x --device /dev/null --device /dev/fuse "$IMAGE" true
    [ "$output" = "OPTION               VERDICT        REASON
--cap-drop           carried out    
--device /dev/fuse   refused        devices of a host cannot be passed on
--hostname           approximated   what the kernel calls the machine is changed only where the platform permits it" ]
    [[ "$stderr" == "--device /dev/fuse is not carried out by atp-docker: "* ]]
    run -0 docker atp plan create --init -h x "$IMAGE"
    run -1 docker atp plan exec x y
    run -1 docker atp plan run --nosuch x
    [ -z "$(docker ps -aq)" ]
}

@test "ATP_DOCKER_APPROXIMATE=all goes on without, ATP_DOCKER_STRICT=1 takes nothing less" {
    cat >compose.yaml <<YAML
services:
  app: {image: $IMAGE, command: "true", read_only: true, privileged: true, pids_limit: 5, ipc: host}
YAML
    ATP_DOCKER_APPROXIMATE=all docker compose --progress quiet create
    [ "$(docker inspect "$(docker ps -aq)" | jq -c '.[0].HostConfig | [.ReadonlyRootfs, .Privileged, .PidsLimit, .IpcMode]')" = '[true,true,5,"host"]' ]
    sed -i 's/read_only: .*}/shm_size: 1m}/' compose.yaml
    run --separate-stderr env ATP_DOCKER_STRICT=1 "$ATP_BIN/atp-docker" compose -p strict create
    [ "$status" != 0 ]
    [[ "$stderr" == *"--shm-size is not carried out by atp-docker"* ]]
}

@test "limits, powers and groups hold for the process, for exec, for health checks and after a restart" {
    docker run -d --name app --ulimit nofile=100:200 --cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges \
        --group-add 55 --oom-score-adj 300 --health-cmd 'ulimit -n; grep CapBnd /proc/self/status; exit 1' \
        --health-interval 300ms "$IMAGE" sh -c 'ulimit -n; ulimit -Hn; grep -E "Cap(Prm|Bnd)" /proc/self/status; id -G; cat /proc/self/oom_score_adj; exec sleep 1000'
    look() { docker exec app sh -c 'ulimit -n; ulimit -Hn; grep -E "Cap(Prm|Bnd)" /proc/self/status; id -G; cat /proc/self/oom_score_adj'; }
    wanted="100
200
CapPrm:	0000000000000001
CapBnd:	0000000000000001
0 55
300"
    got=$(look)
    [ "$(sed 's/^0 .*55/0 55/' <<<"$got")" = "$wanted" ] || { echo "$got"; false; }
    # gVisor has no line for it
    [ "$(docker exec app sed -n 's/^NoNewPrivs:[^0-9]*//p' /proc/self/status)" = "$([ "$ATP_ENGINE_RUNTIME" = runsc ] || echo 1)" ]
    said() { [ "$(docker logs app | tail -6)" = "$got" ]; }
    until_true 10 said
    checked() { [ "$(docker inspect -f '{{(index .State.Health.Log 0).Output}}' app)" = "100
CapBnd:	0000000000000001" ]; }
    until_true 10 checked
    docker restart -t 0 app >/dev/null
    [ "$(look)" = "$got" ]
    docker stop -t 0 app >/dev/null
    docker start app >/dev/null
    [ "$(look)" = "$got" ]
    # what may not be had is not had by an exec as another user either
    run ! docker exec -u 1000 app chown 0 /tmp
    docker exec app sh -c 'touch /tmp/f && chown 7 /tmp/f'
    run ! docker exec app sh -c 'mkdir /tmp/d && chroot /tmp/d true'
}

@test "a limit beyond what there is is no error, a group that is not there is" {
    [ "$(docker run --rm --ulimit memlock=-1:-1 --ulimit nofile=64 "$IMAGE" sh -c 'ulimit -n')" = 64 ]
    run -125 docker run --rm --group-add nosuch "$IMAGE" true
    [[ "$output" == *"Unable to find group nosuch"* ]]
    run -125 docker run --rm --cap-drop nosuch "$IMAGE" true
    [[ "$output" == *'invalid CapDrop: unknown capability: "CAP_NOSUCH"'* ]]
}

@test "a host name is the container's own, alone and among others" {
    [ "$(docker run --rm -h web.local --domainname example.org "$IMAGE" sh -c 'echo $HOSTNAME; nslookup -type=a web.local >/dev/null && echo found; nslookup -type=a web.local.example.org >/dev/null && echo found')" = "web.local
found
found" ]
    docker network create n >/dev/null
    docker run -d --name aa --network n -h front "$IMAGE" sleep 1000
    docker run -d --name bb --network n "$IMAGE" sleep 1000
    sees() { docker exec bb nslookup -type=a front; }
    until_true 20 sees
}

@test "name servers, domains and options are those that were asked for" {
    [ "$(docker run --rm --dns 10.9.8.7 --dns 10.9.8.6 --dns-search a.b --dns-search c.d --dns-option ndots:3 "$IMAGE" cat /etc/resolv.conf)" = "nameserver 10.9.8.7
nameserver 10.9.8.6
search a.b c.d
options ndots:3" ]
    # with names of our own the resolver stands before them
    [ "$(docker run --rm --dns 10.9.8.7 --dns-search a.b --add-host h:1.2.3.4 "$IMAGE" cat /etc/resolv.conf)" = "search a.b
nameserver 127.0.0.11
options ndots:0" ]
    # the gateway's name is nobody's, the others are answered
    [ "$(docker run --rm --dns 127.0.0.1 --add-host gw:host-gateway --add-host h:1.2.3.4 "$IMAGE" sh -c 'nslookup -type=a h | tail -2; nslookup -type=a gw >/dev/null 2>&1 || echo none' | grep -v '^$' | tail -2)" = "Address: 1.2.3.4
none" ]
}

@test "logs that nobody keeps are not read" {
    docker run --name quiet --log-driver none "$IMAGE" echo x
    run -1 docker logs quiet
    [[ "$output" == *"configured logging driver does not support reading"* ]]
    [ "$(docker inspect -f '{{.HostConfig.LogConfig.Type}}' quiet)" = none ]
    run -125 docker run --log-driver paper "$IMAGE" true
    run -125 docker run --log-driver syslog "$IMAGE" true
    [[ "$output" == *"--log-driver is not carried out by atp-docker: logs are kept on this machine"* ]]
}
