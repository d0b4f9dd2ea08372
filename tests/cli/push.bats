# Images to registries and back: real ones, with and without logins, and one that fails as told (registry_proxy.py).
bats_require_minimum_version 1.5.0
load common
load faulty

setup_file() {
    suite_start
    export OTHER_DIR=$SUITE/private
    registry_with_login
}

teardown_file() {
    kill "$(cat "$OTHER_DIR/pid")"
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    export DOCKER_CONFIG=$WORK/config
    docker image prune -af >/dev/null
    docker pull -q "$IMAGE" >/dev/null 3>&-
}

teardown() {
    [ ! -f "$WORK/proxy.pid" ] || kill "$(cat "$WORK/proxy.pid")"
    [ ! -f "$WORK/bridge" ] || real_docker_stop
    for id in $(docker ps -aq); do docker rm -f "$id" >/dev/null; done
    drop_images
}

drop_images() {
    docker image prune -af >/dev/null
    [ -z "$(docker images -aq)" ]
}

# A second registry, for "me" with "secret" only.
registry_with_login() {
    mkdir -p "$OTHER_DIR/data"
    htpasswd -Bbn me secret >"$OTHER_DIR/htpasswd"
    cat >"$OTHER_DIR/config.yml" <<EOT
version: 0.1
storage: {filesystem: {rootdirectory: $OTHER_DIR/data}, delete: {enabled: true}}
auth: {htpasswd: {realm: basic-realm, path: $OTHER_DIR/htpasswd}}
http: {addr: "127.0.0.1:0"}
EOT
    registry_serve "$OTHER_DIR/config.yml" "$OTHER_DIR/log"
    echo "$SERVED_PID" >"$OTHER_DIR/pid"
    export OTHER=localhost:$SERVED_PORT
}

# proxy_start [ARGS...]: sets PROXY; faults.txt holds what is to fail, proxy.log what came.
proxy_start() {
    if [ "${1:-}" = --token ]; then
        python3 "$ROOT/tests/cli/registry_proxy.py" --token "${REGISTRY#*:}" port me secret proxy.log 3>&- &
    else
        python3 "$ROOT/tests/cli/registry_proxy.py" "${REGISTRY#*:}" port faults.txt proxy.log 3>&- &
    fi
    echo $! >proxy.pid
    until_true 20 test -s port
    PROXY=localhost:$(cat port)
}

raw() { skopeo inspect --raw --tls-verify=false "docker://$1" "${@:2}"; }
id_of() { docker image inspect -f '{{.Id}}' "$1"; }
login() { echo secret | docker login -u me --password-stdin "$1" 2>/dev/null; }

# An image of two layers that nobody has, one of them too large for one request.
load_large() {
    mkdir -p l1 l2
    cp /bin/busybox l1/sh
    head -c 3000000 /dev/urandom >l2/random
    for l in 1 2; do tar -C l$l --owner=0 --group=0 --mtime=@0 -cf l$l.tar .; done
    printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/sh","-c","echo <&>"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s","sha256:%s"]}}' \
        "$(sha256sum <l1.tar | cut -d' ' -f1)" "$(sha256sum <l2.tar | cut -d' ' -f1)" >config.json
    printf '[{"Config":"config.json","RepoTags":["large:1"],"Layers":["l1.tar","l2.tar"]}]' >manifest.json
    tar -cf large.tar manifest.json config.json l1.tar l2.tar
    docker load -q -i large.tar
}

@test "a pulled image goes on byte for byte, by mount where the registry has its layers" {
    docker tag "$IMAGE" "$REGISTRY/mounted:1"
    run docker push "$REGISTRY/mounted:1"
    [ "$status" = 0 ]
    [ "${lines[0]}" = "The push refers to repository [$REGISTRY/mounted]" ]
    [[ "${lines[1]}" =~ ^[0-9a-f]{12}:\ Preparing$ ]]
    [ "${lines[2]}" = "${lines[1]%% *} Mounted from busybox" ]
    [ "${lines[3]}" = "1: digest: sha256:$(raw "$IMAGE" | sha256sum | cut -d' ' -f1) size: $(raw "$IMAGE" | wc -c)" ]
    cmp <(raw "$IMAGE") <(raw "$REGISTRY/mounted:1")
    [[ "$(docker push "$REGISTRY/mounted:1")" == *": Layer already exists"* ]]
    [ "$(docker push -q "$REGISTRY/mounted:1")" = "$REGISTRY/mounted:1" ]
    [[ "$(docker image inspect -f '{{.RepoDigests}}' "$REGISTRY/mounted:1")" == *"$REGISTRY/mounted@sha256:"* ]]
}

@test "an OCI image keeps its media types" {
    skopeo copy -q --insecure-policy --format oci --src-tls-verify=false --dest-tls-verify=false "docker://$IMAGE" "docker://$REGISTRY/oci:1"
    docker pull -q "$REGISTRY/oci:1"
    docker tag "$REGISTRY/oci:1" "$REGISTRY/oci-copy:1"
    docker push -q "$REGISTRY/oci-copy:1"
    cmp <(raw "$REGISTRY/oci:1") <(raw "$REGISTRY/oci-copy:1")
    [[ "$(raw "$REGISTRY/oci-copy:1")" == *application/vnd.oci.image.manifest.v1+json* ]]
}

@test "a pulled image whose registry has gone: from the server that has it" {
    proxy_start
    skopeo copy -q --insecure-policy --src-tls-verify=false --dest-tls-verify=false "docker://$IMAGE" "docker://$REGISTRY/gone:1"
    docker pull -q "$PROXY/gone:1"
    kill "$(cat proxy.pid)"
    rm proxy.pid
    docker tag "$PROXY/gone:1" "$REGISTRY/still:1"
    docker push "$REGISTRY/still:1"
    [ "$(raw "$REGISTRY/still:1" --config)" = "$(raw "$IMAGE" --config)" ]
    docker save -o still.tar "$PROXY/gone:1"
    docker rmi "$PROXY/gone:1" "$REGISTRY/still:1"
    docker pull -q "$REGISTRY/still:1"
    docker run --rm "$REGISTRY/still:1" true
}

@test "of an index the platform's manifest is pushed, and said" {
    digest=sha256:$(raw "$IMAGE" | sha256sum | cut -d' ' -f1)
    printf '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":%d,"digest":"%s","platform":{"architecture":"amd64","os":"linux"}}]}' \
        "$(raw "$IMAGE" | wc -c)" "$digest" >index.json
    curl -sf -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.list.v2+json' --data-binary @index.json "http://$REGISTRY/v2/busybox/manifests/many"
    docker pull -q "$REGISTRY/busybox:many"
    docker tag "$REGISTRY/busybox:many" "$REGISTRY/single:1"
    run docker push "$REGISTRY/single:1"
    [[ "$output" == *" Info -> Not all multiplatform-content is present and only the available single-platform image was pushed"*"sha256:$(sha256sum <index.json | cut -d' ' -f1) -> $digest" ]]
    cmp <(raw "$IMAGE") <(raw "$REGISTRY/single:1")
}

@test "a loaded image: pushed, taken away, pulled, the same" {
    load_large
    id=$(id_of large:1)
    docker tag large:1 "$REGISTRY/large:1"
    run docker push "$REGISTRY/large:1"
    [ "$status" = 0 ]
    [ "$(grep -c ': Pushed$' <<<"$output")" = 2 ]
    [ "$(grep -c ': Layer already exists$' <<<"$(docker push "$REGISTRY/large:1")")" = 2 ]
    [ "$(raw "$REGISTRY/large:1" --config | sha256sum | cut -d' ' -f1)" = "${id#sha256:}" ]
    docker rmi large:1 "$REGISTRY/large:1"
    docker pull -q "$REGISTRY/large:1"
    [ "$(id_of "$REGISTRY/large:1")" = "$id" ]
    # The same tar gives the same bytes wherever it is compressed.
    docker rmi "$REGISTRY/large:1"
    docker load -q -i large.tar
    docker tag large:1 "$REGISTRY/large:2"
    docker push -q "$REGISTRY/large:2"
    cmp <(raw "$REGISTRY/large:1") <(raw "$REGISTRY/large:2")
}

@test "all tags, one after the other, there and back" {
    for tag in a b; do docker tag "$IMAGE" "$REGISTRY/all:$tag"; done
    run docker push -a "$REGISTRY/all"
    [ "$status" = 0 ]
    [ "$(grep -c ': digest: sha256:' <<<"$output")" = 2 ]
    docker rmi "$REGISTRY/all:a" "$REGISTRY/all:b"
    run docker pull -a "$REGISTRY/all"
    [ "${lines[-1]}" = "$REGISTRY/all" ]
    [ "$(docker images -q "$REGISTRY/all" | wc -l)" = 2 ]
    run ! docker pull -a "$REGISTRY/all:a"
    run ! docker push -a "$REGISTRY/all:a"
    [ "$output" = "tag can't be used with --all-tags/-a" ]
}

@test "what is not there" {
    run -1 docker push "$REGISTRY/nobody"
    [ "${lines[-1]}" = "An image does not exist locally with the tag: $REGISTRY/nobody" ]
    run -1 docker push "${IMAGE%:*}:2"
    [ "${lines[-1]}" = "tag does not exist: ${IMAGE%:*}:2" ]
    run -1 docker push "${IMAGE%:*}@sha256:$(printf '0%.0s' {1..64})"
    [ "$output" = "cannot push a digest reference" ]
    docker tag "$IMAGE" localhost:1/x:1
    run -1 docker push localhost:1/x:1
    [ "${lines[-1]}" = 'Get "http://localhost:1/v2/": dial tcp localhost:1: connect: connection refused' ]
}

# This registry takes nothing up in the middle; that one that does is gone on with is tests/unit/registry_push.c's.
@test "a transfer that breaks off is begun anew" {
    load_large
    proxy_start
    docker tag large:1 "$PROXY/broken:1"
    printf 'PATCH /blobs/ drop 1000000\n' >faults.txt
    docker push "$PROXY/broken:1"
    [ "$(grep -c '^PATCH ' proxy.log)" = 2 ]
    docker rmi large:1 "$PROXY/broken:1"
    docker pull -q "$REGISTRY/broken:1"
    docker run --rm "$REGISTRY/broken:1" /sh -c true
}

# Frames over one another on a terminal, one line per state otherwise.
@test "bars on a terminal" {
    load_large
    docker tag large:1 "$REGISTRY/bars:1"
    script -qec "stty rows 40 cols 150; '$ATP_BIN/atp-docker' push '$REGISTRY/bars:1'" /dev/null >wide
    grep -qE '[0-9a-f]{12}: Pushing \[=+> *\]  *[0-9.]+MB/3.001MB' wide
    grep -q $'\033\\[2A\033\\[2K\r[0-9a-f]*: ' wide
    sed 's/\r/\n/g' wide | grep -qE '^[0-9a-f]{12}: Pushed'
    docker tag large:1 "$OTHER/bars:1"
    login "$OTHER"
    script -qec "stty rows 40 cols 80; '$ATP_BIN/atp-docker' push '$OTHER/bars:1'" /dev/null >narrow
    grep -qE ': Pushing  *[0-9.]+[kM]?B/3.001MB' narrow
    run docker push "$OTHER/bars:1"
    if grep -q $'[\r\033]' <<<"$output"; then return 1; fi
    # What the server tells of a pull.
    proxy_start
    drop_images
    printf 'GET /blobs/ slow 2 3\n' >faults.txt
    script -qec "stty rows 40 cols 150; '$ATP_BIN/atp-docker' pull '$PROXY/bars:1'" /dev/null >pull
    grep -qE ': Downloading \[=+> +\]  *[0-9.]+kB/(1.032|3.001)MB' pull || grep -qE ': Downloading \[=+> +\]  *[0-9.]+MB/3.001MB' pull
    sed 's/\r/\n/g' pull | grep -qE '^[0-9a-f]{12}: Pull complete'
}

@test "busy and broken registries are asked again" {
    load_large
    proxy_start
    docker tag large:1 "$PROXY/busy:1"
    printf 'POST /uploads/ 429 2\nPATCH /uploads/ 500\nPUT /uploads/ 503\nPUT /manifests/ 502\nHEAD /blobs/ 429\n' >faults.txt
    docker push "$PROXY/busy:1"
    if grep -v ' 0$' faults.txt; then return 1; fi
    printf 'PUT /manifests/ 500 9\n' >faults.txt
    run -1 docker push "$PROXY/busy:1"
    [[ "${lines[-1]}" == "received unexpected HTTP status: 500 Internal Server Error"* ]]
    printf 'PUT /manifests/ denied 9\n' >faults.txt
    run -1 docker push "$PROXY/busy:1"
    [ "${lines[-1]}" = "denied: requested access to the resource is denied" ]
}

@test "a registry with passwords: push, and pull by the server" {
    docker tag "$IMAGE" "$OTHER/mine/x:1"
    run -1 docker push "$OTHER/mine/x:1"
    [ "${lines[-1]}" = "no basic auth credentials" ]
    run -1 docker login -u me -p wrong "$OTHER"
    [ "${lines[0]}" = "WARNING! Using --password via the CLI is insecure. Use --password-stdin." ]
    [ "${lines[1]}" = "Error response from daemon: login attempt to http://$OTHER/v2/ failed with status: 401 Unauthorized" ]
    mkdir -p config
    printf '{"auths":{"%s":{"auth":"%s"}}}' "$OTHER" "$(printf me:wrong | base64)" >config/config.json
    run -1 docker push "$OTHER/mine/x:1"
    [ "${lines[-1]}" = "unauthorized: authentication required" ]
    [ "$(login "$OTHER")" = "Login Succeeded" ]
    docker push "$OTHER/mine/x:1"
    cmp <(raw "$IMAGE") <(raw "$OTHER/mine/x:1" --creds me:secret)
    drop_images
    docker pull "$OTHER/mine/x:1"
    [ "$(docker run --rm "$OTHER/mine/x:1" echo private)" = private ]
    docker logout "$OTHER"
    drop_images
    run -1 docker pull "$OTHER/mine/x:1"
    [[ "$output" == *"no basic auth credentials"* ]]
}

@test "a registry with a certificate of its own" {
    host=$(hostname -I | cut -d' ' -f1)
    [[ "$host" == *.* ]] || skip "this machine has no address"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$host" -addext "subjectAltName=IP:$host" -keyout key.pem -out cert.pem 2>/dev/null
    mkdir -p tls
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/tls}}\nhttp: {addr: "0.0.0.0:0", tls: {certificate: %s/cert.pem, key: %s/key.pem}}\n' \
        "$WORK" "$WORK" "$WORK" >tls.yml
    registry_serve tls.yml tls.log
    echo "$SERVED_PID" >proxy.pid
    port=$SERVED_PORT
    docker tag "$IMAGE" "$host:$port/x:1"
    run -1 docker push "$host:$port/x:1"
    [[ "${lines[-1]}" == "Get \"https://$host:$port/v2/\": tls: failed to verify certificate: "* ]]
    mkdir -p "$XDG_CONFIG_HOME/docker/certs.d/$host:$port"
    cp cert.pem "$XDG_CONFIG_HOME/docker/certs.d/$host:$port/ca.crt"
    docker push -q "$host:$port/x:1"
    drop_images
    docker pull -q "$host:$port/x:1"
    docker run --rm "$host:$port/x:1" true
}

@test "a registry with tokens: the scope is asked for, blobs are mounted, the server pulls" {
    load_large
    proxy_start --token
    docker tag large:1 "$PROXY/t/one:1"
    run -1 docker push "$PROXY/t/one:1"
    login "$PROXY"
    docker push "$PROXY/t/one:1"
    grep -q '^TOKEN repository:t/one:pull,push$' proxy.log
    docker tag large:1 "$PROXY/t/two:1"
    run docker push "$PROXY/t/two:1"
    [ "$(grep -c ': Mounted from t/one$' <<<"$output")" = 2 ]
    grep -q '^TOKEN repository:t/two:pull,push repository:t/one:pull$' proxy.log
    drop_images
    docker pull -q "$PROXY/t/two:1"
    docker run --rm "$PROXY/t/two:1" /sh -c true
}

@test "login keeps what else is in config.json, logout too" {
    mkdir -p real config
    printf '{"detachKeys":"ctrl-x","auths":{"other:1":{"auth":"YTpi"}},"unknown":{"a":[1.5,null]}}' >real/file
    ln -s ../real/file config/config.json
    chmod 0640 real/file
    login "$OTHER"
    [ -L config/config.json ]
    [ "$(stat -c %a real/file)" = 640 ]
    [ "$(python3 -c 'import json; c = json.load(open("config/config.json")); print(c["detachKeys"], c["unknown"], sorted(c["auths"]))')" = \
        "ctrl-x {'a': [1.5, None]} ['$OTHER', 'other:1']" ]
    [ "$(docker logout "$OTHER")" = "Removing login credentials for $OTHER" ]
    [ "$(python3 -c 'import json; c = json.load(open("config/config.json")); print(list(c["auths"]))')" = "['other:1']" ]
    rm config/config.json
    login "$OTHER"
    [ "$(stat -c %a config/config.json)" = 600 ]
    run -0 docker logout
    [ "$output" = "Removing login credentials for https://index.docker.io/v1/" ]
}

@test "login asks for what is missing, at a terminal only" {
    run -1 docker login "$OTHER" </dev/null
    [ "$output" = "Error: Cannot perform an interactive login from a non TTY device" ]
    run -1 docker login --password-stdin "$OTHER" </dev/null
    [ "$output" = "the --password-stdin option requires --username to be set" ]
    # The password is not shown, and the terminal is as it was.
    run script -qec "stty -a >before; '$ATP_BIN/atp-docker' login '$OTHER'; stty -a >after" /dev/null < <(sleep 1; echo me; sleep 1; echo secret; sleep 1)
    [[ "$output" == *"Username: "*"Password: "*"Login Succeeded"* ]]
    [ "$(grep -c secret <<<"${output#*Password: }")" = 0 ]
    cmp before after
    run -0 docker login "$OTHER"
    [[ "$output" == "Authenticating with existing credentials... [Username: me]"*"Login Succeeded" ]]
}

@test "credentials go to the helper that the configuration names" {
    mkdir -p bin config
    cat >bin/docker-credential-test <<'EOT'
#!/bin/sh
case $1 in
store) cat >"$STORE" ;;
get) [ -f "$STORE" ] && cat "$STORE" || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f "$STORE" ;;
esac
EOT
    chmod +x bin/docker-credential-test
    export STORE=$WORK/store PATH=$WORK/bin:$PATH
    printf '{"credHelpers":{"%s":"test"}}' "$OTHER" >config/config.json
    run -0 docker login -u me --password-stdin "$OTHER" <<<secret
    [ "$output" = "Login Succeeded" ]
    [ "$(cat store)" = "{\"ServerURL\":\"$OTHER\",\"Username\":\"me\",\"Secret\":\"secret\"}" ]
    if grep -q secret config/config.json; then return 1; fi
    docker tag "$IMAGE" "$OTHER/helped:1"
    docker push -q "$OTHER/helped:1"
    docker logout "$OTHER"
    [ ! -f store ]
}

@test "manifests as the real docker shows them" {
    real=$(command -v docker 2>/dev/null || type -P docker)
    "$real" --version | grep -q 'version 2[89]' || skip "the real docker's client is another one"
    digest=sha256:$(raw "$IMAGE" | sha256sum | cut -d' ' -f1)
    entry='{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":%d,"digest":"%s","platform":{"os":"linux","architecture":"amd64"}}'
    # shellcheck disable=SC2059
    printf "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.list.v2+json\",\"manifests\":[$entry]}" "$(raw "$IMAGE" | wc -c)" "$digest" >index.json
    curl -sf -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.list.v2+json' --data-binary @index.json "http://$REGISTRY/v2/busybox/manifests/list"
    for words in "$IMAGE" "-v $IMAGE" "${IMAGE%:*}:list" "-v ${IMAGE%:*}:list"; do
        # shellcheck disable=SC2086
        diff <("$real" manifest inspect --insecure $words) <(docker manifest inspect $words)
    done
    run -1 docker manifest inspect "${IMAGE%:*}:none"
    [ "$output" = "no such manifest: ${IMAGE%:*}:none" ]
}

# real_docker_start: a daemon of the suite's own on a bridge of its own; real WORDS... speaks to it.
real_docker_start() {
    [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null || skip "needs root and dockerd"
    REAL=$(type -P docker)
    BRIDGE=atpp$((BASHPID % 1000000))
    echo "$BRIDGE" >bridge
    ip link add "$BRIDGE" type bridge && ip addr add 172.31.249.1/24 dev "$BRIDGE" && ip link set "$BRIDGE" up
    dockerd --bridge "$BRIDGE" --iptables=false --data-root "$WORK/d/data" --exec-root "$WORK/d/exec" -H "unix://$WORK/d.sock" \
        --pidfile "$WORK/d.pid" >dockerd.log 2>&1 3>&- &
    until_true 60 real version
}

real() { "$REAL" -H "unix://$WORK/d.sock" "$@"; }

real_docker_stop() {
    local pid
    if pid=$(cat "$WORK/d.pid"); then
        kill "$pid"
        until_true 60 process_gone "$pid"
    fi
    umount -R "$WORK"/d/* 2>/dev/null || true
    ip link del "$(cat "$WORK/bridge")"
    rm "$WORK/bridge"
}

@test "the real docker runs what was pushed here, and the other way round" {
    real_docker_start
    load_large
    docker run --name changed "$IMAGE" sh -c 'echo made here >/made; rm -r /home/user'
    docker commit -c 'CMD ["cat","/made"]' changed "$REGISTRY/changed:1"
    docker tag large:1 "$REGISTRY/large:real"
    docker push -q "$REGISTRY/changed:1"
    docker push -q "$REGISTRY/large:real"
    real pull -q "$REGISTRY/changed:1"
    real pull -q "$REGISTRY/large:real"
    [ "$(real run --rm "$REGISTRY/changed:1")" = "made here" ]
    run ! real run --rm "$REGISTRY/changed:1" ls /home/user
    [ "$(real image inspect -f '{{.Id}}' "$REGISTRY/large:real")" = "$(id_of large:1)" ]
    [ "$(real image inspect -f '{{.Id}}' "$REGISTRY/changed:1")" = "$(id_of "$REGISTRY/changed:1")" ]
    # What the daemon makes of it by itself is what we made of it.
    real tag "$REGISTRY/changed:1" "$REGISTRY/changed-real:1"
    real push -q "$REGISTRY/changed-real:1"
    cmp <(raw "$REGISTRY/changed:1") <(raw "$REGISTRY/changed-real:1")
    real run --name there "$REGISTRY/changed:1" sh -c 'echo made there >/made; rm /etc/group'
    real commit there "$REGISTRY/there:1"
    real push -q "$REGISTRY/there:1"
    docker pull -q "$REGISTRY/there:1"
    [ "$(docker run --rm "$REGISTRY/there:1" cat /made)" = "made there" ]
    run ! docker run --rm "$REGISTRY/there:1" ls /etc/group
    [ "$(id_of "$REGISTRY/there:1")" = "$(real image inspect -f '{{.Id}}' "$REGISTRY/there:1")" ]
    # Both say the same of the same push.
    docker tag "$REGISTRY/there:1" "$REGISTRY/same:1"
    docker tag "$REGISTRY/there:1" "$REGISTRY/same:2"
    docker push -q "$REGISTRY/same:1"
    real tag "$REGISTRY/there:1" "$REGISTRY/same:2"
    docker tag "$REGISTRY/there:1" "$OTHER/there:1"
    real tag "$REGISTRY/there:1" "$OTHER/there:1"
    mkdir -p config
    printf '{"auths":{"%s":{"auth":"%s"}}}' "$OTHER" "$(printf me:wrong | base64)" >config/config.json
    diff <(docker push "$REGISTRY/same:2" | sort) <(real push "$REGISTRY/same:2" | sort)
    for words in "push $REGISTRY/same:none" "push $REGISTRY/nothing" "push -a $REGISTRY/same:2" "push -q $REGISTRY/same:2" "push $OTHER/there:1"; do
        # shellcheck disable=SC2086
        diff <(docker $words 2>&1; echo $?) <(real $words 2>&1; echo $?)
    done
    real_docker_stop
}

@test "an image built here: pushed, taken away, pulled, the same" {
    mkdir context
    echo data >context/f
    printf 'FROM %s\nRUN rm -r /home/user && mkdir /d && echo x >/d/x\nCOPY f /f\nENV A=b\nRUN rm /d/x\nCMD ["cat","/f"]\n' "$IMAGE" >context/Dockerfile
    docker build -q -t "$REGISTRY/built:1" context
    id=$(id_of "$REGISTRY/built:1")
    run docker push "$REGISTRY/built:1"
    [ "$status" = 0 ]
    echo "$output"
    [ "$(grep -c ': Pushed$' <<<"$output")" = 3 ]
    grep -q ': Mounted from busybox$' <<<"$output"
    skopeo inspect --tls-verify=false "docker://$REGISTRY/built:1" >/dev/null
    docker rmi "$REGISTRY/built:1"
    docker pull -q "$REGISTRY/built:1"
    [ "$(id_of "$REGISTRY/built:1")" = "$id" ]
    [ "$(docker run --rm "$REGISTRY/built:1")" = data ]
    run ! docker run --rm "$REGISTRY/built:1" ls /home/user
    run ! docker run --rm "$REGISTRY/built:1" ls /d/x
    printf 'FROM scratch\nCOPY f /f\n' >context/Dockerfile
    docker build -q -t "$REGISTRY/scratch:1" context
    docker push -q "$REGISTRY/scratch:1"
    [ "$(raw "$REGISTRY/scratch:1" --config | sha256sum | cut -d' ' -f1)" = "$(id_of "$REGISTRY/scratch:1" | cut -d: -f2)" ]
}

# Modal tells neither configuration nor layers: the base's own layers and one that the agent makes.
@test "built on a server that tells nothing: what it was built on, and one layer" {
    (
        drop_images
        export ATP_DOCKER_BACKEND=modal ENGINE_LOG=$SUITE/plain.log
        fault_engine_start 127.0.0.1:0 --plain
        trap fault_engine_stop EXIT
        export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
        mkdir context
        echo data >context/f
        printf 'FROM %s\nRUN rm -r /home/user && mkdir /d && echo x >/d/x\nCOPY f /f\nENV A=b\nCMD ["cat","/f"]\n' "$IMAGE" >context/Dockerfile
        docker build -q -t "$REGISTRY/plain:1" context
        docker tag "$REGISTRY/plain:1" "$REGISTRY/plain:2"
        docker push "$REGISTRY/plain:1" >out
        cat out
        [ "$(grep -c ': Pushed$' out)" = 1 ]
        grep -q ': Mounted from busybox$' out
        id=$(id_of "$REGISTRY/plain:1")
        [ "$(id_of "$REGISTRY/plain:2")" = "$id" ] # the other name has moved along
        [ "$(raw "$REGISTRY/plain:1" --config | sha256sum | cut -d' ' -f1)" = "${id#sha256:}" ]
        [ "$(docker run --rm "$REGISTRY/plain:2")" = data ]
        [ "$(grep -c ': Layer already exists$' <<<"$(docker push "$REGISTRY/plain:1")")" = 2 ]
        docker history "$REGISTRY/plain:1"
        drop_images
        docker pull -q "$REGISTRY/plain:1"
        [ "$(id_of "$REGISTRY/plain:1")" = "$id" ]
        [ "$(docker run --rm "$REGISTRY/plain:1")" = data ]
        run ! docker run --rm "$REGISTRY/plain:1" ls /home/user
        # On one that was loaded: its layers are here, and are not all of it.
        load_large
        printf 'FROM large:1\nCOPY f /f\n' >context/Dockerfile
        docker build -q -t "$REGISTRY/on-loaded:1" context
        docker push "$REGISTRY/on-loaded:1" >out
        [ "$(grep -c ': Preparing$' out)" = 3 ]
        # One that the server alone knows.
        docker build -q -t somebodys context
        drop_images
        docker pull -q modal://somebodys
        docker tag modal://somebodys "$REGISTRY/squashed:1"
        docker push "$REGISTRY/squashed:1" >out 2>err
        [[ "$(cat err)" =~ ^[0-9a-f]{12}:\ what\ it\ was\ made\ of\ is\ not\ known:\ all\ of\ it\ is\ one\ layer$ ]]
        [ "$(grep -c ': Pushed$' out)" = 1 ]
        docker rmi "$REGISTRY/squashed:1"
        docker pull -q "$REGISTRY/squashed:1"
        docker run --rm "$REGISTRY/squashed:1" /sh -c 'read x </f; [ "$x" = data ]'
        drop_images
    )
}

@test "push and login, killed at every step: the next one works, and nothing is half" {
    export ATP_TESTS=${ATP_TESTS:-$ROOT/build/tests}
    mkdir -p config context
    printf '{"auths":{"other:1":{"auth":"YTpi"}}}' >config/config.json
    for ((n = 1; n < 1000; n++)); do
        status=0
        "$ATP_TESTS/kill_at" "$n" "$ATP_BIN/atp-docker" login -u me -p secret "$OTHER" >/dev/null 2>&1 </dev/null || status=$?
        python3 -c 'import json; assert json.load(open("config/config.json"))["auths"]["other:1"]'
        [ "$status" -eq 137 ] || break
    done
    [ "$status" -eq 0 ]
    [ "$n" -gt 5 ]
    (
        drop_images
        export ATP_DOCKER_BACKEND=modal ENGINE_LOG=$SUITE/plain.log
        fault_engine_start 127.0.0.1:0 --plain
        trap fault_engine_stop EXIT
        export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
        # Fewer steps: those around the layer and the new id are what counts.
        for ((n = 1; n < 1000; n += 11)); do
            printf 'FROM %s\nRUN echo %s >/n\n' "$IMAGE" "$n" >context/Dockerfile
            docker build -q -t "$REGISTRY/killed:1" -t second:1 context >/dev/null
            status=0
            "$ATP_TESTS/kill_at" "$n" "$ATP_BIN/atp-docker" push -q "$REGISTRY/killed:1" >out 2>err </dev/null || status=$?
            docker push -q "$REGISTRY/killed:1"
            [ "$(id_of second:1)" = "$(id_of "$REGISTRY/killed:1")" ]
            [ "$(raw "$REGISTRY/killed:1" --config | sha256sum | cut -d' ' -f1)" = "$(id_of second:1 | cut -d: -f2)" ]
            [ "$(docker run --rm second:1 cat /n)" = "$n" ]
            [ "$status" -eq 137 ] || break
        done
        cat err
        [ "$status" -eq 0 ]
        [ "$n" -gt 20 ]
        echo "$n steps"
        drop_images
    )
    if ls "$XDG_STATE_HOME"/atp-docker/push-* 2>/dev/null; then return 1; fi
}
