# Containers as images and as archives.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

teardown() {
    if [ -e "$WORK/plain.pid" ]; then
        kill "$(cat "$WORK/plain.pid")"
        for _ in $(seq 300); do ! process_gone "$(cat "$WORK/plain.pid")" || return 0; sleep 0.1; done
        return 1
    fi
    for id in $(docker ps -aq); do docker rm -f "$id"; done
    docker image prune -af >/dev/null
    docker pull -q "$IMAGE" >/dev/null
}

field() { docker image inspect "$1" --format "$2"; }

@test "a running container: it goes on, and its image runs with its configuration" {
    docker run -d --name cc -e A=b -l x=y -w /tmp "$IMAGE" sh -c 'echo hi >/made; rm /bin/vi; touch /ready; sleep 1000'
    until docker exec cc test -e /ready; do sleep 0.1; done
    run -0 docker commit -a 'me <m@x>' -m 'a message' -c 'ENV Q=1' -c 'CMD ["sh","-c","cat /made; pwd; echo $A$Q"]' cc com:1
    [ "$output" = "$(field com:1 '{{.Id}}')" ]
    [ "$(docker ps -q --filter status=running | wc -l)" = 1 ]
    docker exec cc true
    [ "$(docker run --rm com:1)" = $'hi\n/tmp\nb1' ]
    run ! docker run --rm com:1 ls /bin/vi
    [ "$(field com:1 '{{.Author}}|{{.Comment}}|{{.Config.Labels.x}}|{{len .RootFS.Layers}}')" = 'me <m@x>|a message|y|2' ]
    [ "$(field com:1 '{{.Parent}}')" = "$(field "$IMAGE" '{{.Id}}')" ]
    [ "$(docker history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}' com:1 | head -1)" = \
        'sh -c echo hi >/made; rm /bin/vi; touch /ready; sleep 1000|a message' ]
}

@test "stopped, created, and a commit of a commit" {
    docker run --name cc "$IMAGE" sh -c 'echo one >/one'
    docker commit cc com:1
    [ "$(docker run --name dd com:1 cat /one)" = one ]
    docker cp "$(type -P true)" dd:/two
    docker commit --pause=false dd com:2
    docker rm cc dd
    [ "$(field com:2 '{{len .RootFS.Layers}}')" = 3 ]
    run -0 docker run --rm com:2 ls -d /one /two
    docker create --name ee com:2 ls /nothing
    docker commit ee com:3
    [ "$(field com:3 '{{len .RootFS.Layers}}')" = 3 ]
    [ "$(field com:3 '{{json .Config.Cmd}}')" = '["ls","/nothing"]' ]
    docker history com:3 | grep -q 'ls /nothing *0B'
    [ "$(docker history -q --no-trunc com:3 | head -3)" = "$(for i in com:3 com:2 com:1; do field "$i" '{{.Id}}'; done)" ]
}

@test "saved, pushed, pulled and run elsewhere: the same image" {
    docker run --name cc "$IMAGE" sh -c 'echo one >/one; rm -r /home'
    id=$(docker commit cc com:1)
    docker save com:1 >com.tar
    docker tag com:1 "$REGISTRY/com:1"
    docker push -q "$REGISTRY/com:1"
    docker rm cc
    docker rmi com:1 "$REGISTRY/com:1"
    docker load <com.tar
    [ "$(field com:1 '{{.Id}}')" = "$id" ]
    docker rmi com:1
    docker pull -q "$REGISTRY/com:1"
    [ "$(field "$REGISTRY/com:1" '{{.Id}}')" = "$id" ]
    [ "$(docker run --rm "$REGISTRY/com:1" sh -c 'cat /one; ls -d /home')" = one ]
    skopeo inspect --tls-verify=false "docker://$REGISTRY/com:1" | jq -e '.Layers | length == 2'
}

@test "what lies in a mount or a volume is in neither image nor archive" {
    push_image vol:1 '{"Cmd":["sh"],"Volumes":{"/data":{}}}' 'mkdir $tree/data $tree/src; echo image >$tree/data/f; echo image >$tree/src/f'
    mkdir host
    echo only-on-the-host >host/secret
    docker run --name cc -v "$PWD/host:/src" -v "$PWD/host:/new/place" -v "$PWD/host/secret:/etc/one" "$REGISTRY/vol:1" \
        sh -c 'echo more >/data/g; echo x >/src/made; echo y >/kept'
    docker commit cc com:1
    run -0 docker run --rm com:1 sh -c 'cat /src/f /data/f /kept; find /src /data /new /etc/one; true'
    [ "${lines[0]}" = image ]
    [ "${lines[2]}" = y ]
    [[ "$output" != *only-on-the-host* && "$output" != */made* && "$output" != */data/g* ]]
    docker save com:1 | tar xO --wildcards 'blobs/sha256/*' >all
    if grep -aq only-on-the-host all; then return 1; fi
    docker export cc >c.tar
    if grep -aq only-on-the-host c.tar; then return 1; fi
    tar tf c.tar | grep -Fx new/place/
    [ "$(cat host/made)" = x ]
}

@test "built upon" {
    docker run --name cc "$IMAGE" sh -c 'echo one >/one'
    docker commit -c 'ENV E=v' cc com:1
    printf 'FROM com:1\nRUN cat /one >/two; echo $E >>/two\nCMD ["cat","/two"]\n' >Dockerfile
    docker build -q -t built:1 .
    [ "$(docker run --rm built:1)" = $'one\nv' ]
}

@test "export: a tar of all, which import takes back" {
    docker run -d --name cc "$IMAGE" sh -c 'ln /bin/busybox /busybox-hard; mkfifo /fifo; chown 7:8 /tmp/x; mkdir -m 711 /dir; chown 5:6 /dir; touch /ready; sleep 1000'
    until docker exec cc test -e /ready; do sleep 0.1; done
    docker export -o c.tar cc
    [ "$(stat -c %a c.tar)" = 600 ]
    docker export cc | tar t | diff - <(tar tf c.tar)
    if tar tf c.tar | grep -q '^/\|^\./\|^.atp\|^proc/.\|^sys/.\|^dev/.'; then return 1; fi
    tar --numeric-owner -tvf c.tar dir/ | grep -q '^drwx--x--x 5/6'
    tar -tvf c.tar fifo | grep -q ^p
    tar -tvf c.tar busybox-hard | grep -q 'link to bin/busybox'
    [ "$(tar xOf c.tar etc/hosts)" = "" ]
    docker import -c 'CMD ["/busybox-hard","echo","back"]' c.tar im:1
    [ "$(docker run --rm im:1)" = back ]
    docker stop -t 0 cc
    docker export cc | tar t | diff - <(tar tf c.tar)
    run -1 docker export -o "$WORK/no/x" cc
    [ "$output" = "failed to export container: invalid output path: stat $WORK/no: no such file or directory" ]
    run -1 docker export nosuch
    [ "$output" = "Error response from daemon: No such container: nosuch" ]
    run -1 script -qec "$ATP_BIN/atp-docker export cc" /dev/null
    [[ "$output" == *"cowardly refusing to save to a terminal"* ]]
}

@test "refused as docker does" {
    docker create --name cc "$IMAGE" true
    run -1 docker commit nosuch
    [ "$output" = "Error response from daemon: No such container: nosuch" ]
    run -1 docker commit cc UPPER
    [ "$output" = "invalid reference format: repository name (library/UPPER) must be lowercase" ]
    run -1 docker commit cc "a@sha256:$(printf '%064d' 0)"
    [ "$output" = "refusing to create a tag with a digest reference" ]
    run -1 docker commit -c 'RUN true' cc
    [[ "$output" == *"is not a valid change command"* ]]
    [ -z "$(docker images -q --filter dangling=true)" ]
}

@test "on a server that tells nothing of its images" {
    "$ATP_BIN/atp-engine" --plain --listen 127.0.0.1:0 --env-file "$WORK/plain.env" --state-dir "$WORK/plain" \
        --mirror "docker.io=$REGISTRY" >"$WORK/plain.log" 2>&1 3>&- &
    echo $! >"$WORK/plain.pid"
    until_true 20 test -s "$WORK/plain.env"
    . "$WORK/plain.env"
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET ATP_DOCKER_BACKEND=modal XDG_STATE_HOME=$WORK/state
    mkdir host
    docker run --name cc -v "$WORK/host:/m" "$IMAGE" sh -c 'echo one >/one; touch /m/left'
    docker commit cc mounted:1
    docker run --name dd -w /tmp -e A=b "$IMAGE" sh -c 'echo one >/one; rm /bin/vi'
    id=$(docker commit -c 'CMD ["cat","/one"]' dd com:1)
    docker rm cc dd
    [ "$(docker run --rm com:1)" = one ]
    [ "$(docker run --rm com:1 sh -c 'ls /bin/vi 2>/dev/null; pwd; echo $A')" = $'/tmp\nb' ]
    [ "$(docker run --rm mounted:1 sh -c 'cat /one; ls /m')" = one ]
    docker save com:1 >com.tar
    if tar xO --wildcards 'blobs/*' <com.tar | grep -aq '\.atp/'; then return 1; fi
    docker image prune -af >/dev/null
    docker load <com.tar
    [ "$(field com:1 '{{.Id}}')" = "$id" ]
    [ "$(docker run --rm com:1)" = one ]
}

@test "what images were committed from stays for them, and goes with the last" {
    docker run --name cc "$IMAGE" sh -c 'echo one >/one'
    id=$(field "$IMAGE" '{{.Id}}')
    docker commit cc com:1
    docker rm cc
    docker rmi "$IMAGE"
    [ "$(docker images -q | wc -l)" = 1 ]
    docker images -a --no-trunc | grep -q "<none>.*$id"
    [ -z "$(docker images -q --filter dangling=true)" ]
    docker image prune -f
    run -1 docker rmi "$id"
    [ "$output" = "Error response from daemon: conflict: unable to delete ${id:7:12} (cannot be forced) - image has dependent child images" ]
    [ "$(docker run --rm com:1 cat /one)" = one ]
    docker save com:1 >/dev/null
    run -0 docker rmi com:1
    [[ "$output" == *"Deleted: $id"* ]]
    [ -z "$(docker images -aq)" ]
    [ -z "$(ls "$XDG_STATE_HOME/atp-docker/engine/images/images")" ]
}

@test "commits that are killed: the container is as it was, and nothing is named" {
    docker run --name cc "$IMAGE" sh -c 'head -c 3000000 /dev/urandom >/big'
    for n in 1 2 3 4 5 6; do
        "$ATP_BIN/atp-docker" commit cc "com:$n" >/dev/null 2>&1 3>&- &
        sleep "0.$((n * 5 % 10))"
        kill -9 $! 2>/dev/null || true
        wait $! 2>/dev/null || true
    done
    docker commit cc whole:1
    [ "$(docker run --rm whole:1 sh -c 'wc -c </big')" = 3000000 ]
    for tag in $(docker images --format '{{.Repository}}:{{.Tag}}' com); do
        [ "$(docker run --rm "$tag" sh -c 'wc -c </big')" = 3000000 ]
    done
    [ "$(docker start -a cc | wc -c)" = 0 ]
}
