# Published ports: -p in all its forms, what shows them, and what travels through them.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    push_image web:1 '{"Cmd":["httpd","-f","-p","80","-h","/www"],"ExposedPorts":{"80/tcp":{},"53/udp":{}}}' \
        'mkdir -p "$tree/www/cgi-bin"
         echo hello >"$tree/www/index.html"
         head -c 50000000 /dev/urandom >"$tree/www/big"
         printf "#!/bin/sh\necho; sha256sum\n" >"$tree/www/cgi-bin/sum"
         chmod 755 "$tree/www/cgi-bin/sum"'
    export WEB=$REGISTRY/web:1
    docker pull -q "$WEB" >/dev/null 3>&-
}
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    PORT=$(free_port)
}
teardown() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f >/dev/null
    [ -z "$(docker ps -aq)" ]
}

get() { curl -sS -m 60 --retry 60 --retry-delay 0 --retry-max-time 100 --retry-all-errors "http://127.0.0.1:$1/${2-}"; }
ports_of() { docker inspect --format '{{json .NetworkSettings.Ports}}' "$1"; }
# The process that forwards for a container.
forwarder() { pgrep -f "^docker atp forward $(docker inspect --format '{{.Id}}' "$1") "; }
is_closed() { ! is_open "$1"; }
is_open() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

@test "run -d -p: what is served inside is served here, in milliseconds" {
    docker run -d --name web -p "$PORT:80" "$WEB"
    [ "$(get "$PORT")" = hello ]
    [ "$(docker port web)" = "80/tcp -> 0.0.0.0:$PORT
80/tcp -> [::]:$PORT" ]
    [ "$(docker port web 80)" = "0.0.0.0:$PORT
[::]:$PORT" ]
    [ "$(docker ps --format '{{.Ports}}')" = "53/udp, 0.0.0.0:$PORT->80/tcp, [::]:$PORT->80/tcp" ]
    [ "$(ports_of web)" = '{"53/udp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"'$PORT'"},{"HostIp":"::","HostPort":"'$PORT'"}]}' ]
    [ "$(docker inspect --format '{{json .HostConfig.PortBindings}}' web)" = '{"80/tcp":[{"HostIp":"","HostPort":"'$PORT'"}]}' ]
    [ "$(docker ps -q --filter "publish=$PORT" --filter expose=80)" = "$(docker ps -q)" ]
    [ -z "$(docker ps -q --filter publish=1)" ]
    # the client of one evaluation tool gives a request 0.15 s: the half of many at least, however busy the machine is
    for _ in $(seq 50); do curl -sS -m 0.15 "http://127.0.0.1:$PORT/" 2>/dev/null || true; done >got
    [ "$(grep -c '^hello$' got)" -ge 25 ]
}

@test "run --rm -p in the foreground; its end frees the port" {
    "$ATP_BIN/atp-docker" run --rm --name front -p "127.0.0.1:$PORT:80" "$WEB" >/dev/null 2>&1 3>&- &
    client=$!
    [ "$(get "$PORT")" = hello ]
    [ "$(docker port front)" = "80/tcp -> 127.0.0.1:$PORT" ]
    docker kill front
    wait "$client" || [ $? -eq 137 ]
    until_true 10 is_closed "$PORT"
    run -1 docker inspect front
}

@test "stop frees the ports, start takes them again" {
    docker run -d --name web -p "$PORT:80" "$WEB"
    [ "$(get "$PORT")" = hello ]
    docker stop -t 0 web
    is_closed "$PORT"
    [ "$(ports_of web)" = '{}' ]
    [ -z "$(docker port web)" ]
    docker start web
    [ "$(get "$PORT")" = hello ]
    docker restart -t 0 web
    [ "$(get "$PORT")" = hello ]
    docker rm -f web
    is_closed "$PORT"
    docker run -d --name again -p "$PORT:80" "$WEB"
    [ "$(get "$PORT")" = hello ]
}

@test "a port in use: Docker's error and code, the container stays created" {
    docker run -d --name first -p "$PORT:80" "$WEB"
    status=0
    docker run -d --name second -p "$PORT:80" "$WEB" >out 2>err || status=$?
    [ "$status" -eq 125 ]
    grep -qE '^[0-9a-f]{64}$' out
    grep -q 'driver failed programming external connectivity on endpoint second' err
    grep -q "Bind for 0.0.0.0:$PORT failed: port is already allocated" err
    [ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' second)" = "created 128" ]
    run -1 docker start second
    [[ "$output" = *"port is already allocated"* ]]
    run -125 docker run --rm --name third -p "$PORT:80" "$WEB"
    run -1 docker inspect third
    [ "$(get "$PORT")" = hello ]
    docker rm -f first
    docker start second
    [ "$(get "$PORT")" = hello ]
}

@test "a port that a stranger has" {
    python3 -m http.server --bind 127.0.0.1 "$PORT" >/dev/null 2>&1 3>&- &
    stranger=$!
    until is_open "$PORT"; do sleep 0.05; done
    run -125 docker run -d --name x1 -p "127.0.0.1:$PORT:80" "$WEB"
    kill "$stranger"
    [[ "$output" = *"listen tcp4 127.0.0.1:$PORT: bind: address already in use"* ]] || { echo "$output"; false; }
}

@test "ranges, random ports, addresses, -P" {
    docker run -d --name many -p 127.0.0.1::80 -p "127.0.0.1:$PORT-$((PORT + 20)):80" -p '[::1]::80' --expose 700-702 "$WEB"
    docker port many >lines
    [ "$(wc -l <lines)" -eq 3 ]
    [ "$(grep -c '^80/tcp -> 127\.0\.0\.1:' lines)" -eq 2 ]
    for p in $(sed -n 's/.*127.0.0.1://p' lines); do [ "$(get "$p")" = hello ]; done
    p=$(sed -n 's/.*\[::1\]://p' lines)
    [ "$(curl -sS -m 60 "http://[::1]:$p/")" = hello ]
    [[ "$(docker ps --format '{{.Ports}}')" = "53/udp, 700-702/tcp, "* ]]
    docker run -d --name all -P --expose 81 "$WEB"
    [ "$(docker port all | cut -d' ' -f1 | sort -u | xargs)" = "80/tcp 81/tcp" ]
    [ "$(get "$(docker port all 80 | sed -n 's/^0.0.0.0://p')")" = hello ]
    [ "$(docker inspect --format '{{.HostConfig.PublishAllPorts}}' all)" = true ]
    # a second one takes the next of the range
    docker run -d --name a1 -p "$((PORT + 30))-$((PORT + 31)):80" "$WEB"
    docker run -d --name b1 -p "$((PORT + 30))-$((PORT + 31)):80" "$WEB"
    [ "$(get "$((PORT + 31))")" = hello ]
}

@test "UDP and SCTP are refused with the reason; wrong words with Docker's" {
    run -125 docker run -d -p "$PORT:53/udp" "$WEB"
    [[ "$output" = *"publishing port 53/udp is refused by atp-docker"* ]]
    run -125 docker create -p "$PORT:53/sctp" "$WEB"
    [[ "$output" = *"53/sctp"* ]]
    run -125 docker create -p abc "$WEB"
    [[ "$output" = "docker: invalid containerPort: abc"* ]]
    run -125 docker create -p 80:81:82 "$WEB"
    [[ "$output" = "docker: invalid IP address: 80"* ]]
    run -125 docker create --expose 90-80 "$WEB"
    [[ "$output" = "docker: invalid range format for --expose: 90-80, error: invalid range specified for port: 90-80"* ]]
    [ -z "$(docker ps -aq)" ]
}

@test "port: what is not published, what is no port" {
    docker run -d --name web -p "$PORT:80" "$WEB"
    run -1 docker port web 81
    [ "$output" = "Error: No public port '81' published for web" ]
    run -1 docker port web 53/udp
    [ "$output" = "Error: No public port '53/udp' published for web" ]
    run -1 docker port web abc
    [ "$output" = 'Error: invalid port (abc): strconv.ParseUint: parsing "abc": invalid syntax' ]
    run -1 docker port nope
    [ "$output" = "Error response from daemon: No such container: nope" ]
}

@test "the forwarder is killed: the next command starts another on the same ports" {
    docker run -d --name web -p "$PORT:80" -p 80 "$WEB"
    [ "$(get "$PORT")" = hello ]
    before=$(docker port web)
    kill -9 "$(forwarder web)"
    until_true 10 is_closed "$PORT"
    docker ps >/dev/null
    [ "$(get "$PORT")" = hello ]
    [ "$(docker port web)" = "$before" ]
}

@test "200 connections at once, and 50 MB both ways" {
    docker run -d --name web -p "$PORT:80" "$WEB"
    [ "$(get "$PORT")" = hello ]
    [ "$(seq 200 | xargs -P 200 -I{} curl -sS -m 200 "http://127.0.0.1:$PORT/" | grep -c '^hello$')" -eq 200 ]
    curl -sS -m 200 "http://127.0.0.1:$PORT/big" >big
    [ "$(sha256sum <big)" = "$(docker exec web sha256sum /www/big | sed 's,/www/big,-,')" ]
    [ "$(curl -sS -m 200 -H 'Expect:' --data-binary @big "http://127.0.0.1:$PORT/cgi-bin/sum")" = "$(sha256sum <big)" ]
}

@test "half-closed connections, and clients that go away in the middle" {
    docker run -d --name echo -p "127.0.0.1:$PORT:9" "$IMAGE" sh -c 'while :; do nc -l -p 9 -e wc -c; done'
    until is_open "$PORT"; do sleep 0.05; done
    python3 - "$PORT" <<'PY'
import socket, sys, time
port = int(sys.argv[1])
for attempt in range(300): # between two turns of the loop nobody listens
    s = socket.create_connection(("127.0.0.1", port), 60)
    try:
        s.sendall(b"x" * 300000)
        s.shutdown(socket.SHUT_WR)
        got = s.makefile().read().strip()
    except ConnectionError:
        got = ""
    if got:
        break
    time.sleep(0.1)
assert got == "300000", got
PY
    docker run -d --name web -p "$((PORT + 1)):80" "$WEB"
    get "$((PORT + 1))" >/dev/null
    for _ in 1 2 3 4 5; do timeout 0.05 curl -s "http://127.0.0.1:$((PORT + 1))/big" >/dev/null || true; done
    [ "$(get "$((PORT + 1))")" = hello ]
}


@test "its session is lost: the same process has another one a moment later" {
    docker run -d --name web -p "$PORT:80" "$WEB"
    [ "$(get "$PORT")" = hello ]
    pid=$(forwarder web)
    docker exec web sh -c 'for p in /proc/[0-9]*; do if grep -qz "^session$" "$p/cmdline"; then kill -9 "${p#/proc/}"; fi; done' 2>/dev/null || true
    [ "$(get "$PORT")" = hello ]
    [ "$(forwarder web)" = "$pid" ]
}
