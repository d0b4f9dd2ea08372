# docker build on a server that knows nothing but Modal's protocol: the embedded engine with its own calls and fields
# switched off.
bats_require_minimum_version 1.5.0
load common
load faulty

setup_file() {
    suite_start
    docker rmi "$IMAGE"
    engine_stop
    export ATP_DOCKER_BACKEND=modal ENGINE_LOG=$SUITE/engine.log
    fault_engine_start 127.0.0.1:0 --plain 3>&-
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
}

teardown_file() {
    fault_engine_stop
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

dockerfile() {
    printf '%s\n' "$@" | sed "s|@|$IMAGE|" >Dockerfile
}

@test "built, run, with the configuration that the file says" {
    dockerfile 'FROM @' 'ENV A=b' 'WORKDIR /w' 'COPY . .' 'USER user' 'CMD ["sh", "-c", "id -un; pwd; echo $A; cat file; readlink link"]'
    echo text >file
    ln -s file link
    docker build -q -t plain .
    [ "$(docker run --rm plain)" = "user
/w
b
text
file" ]
    [ "$(docker image inspect -f '{{json .Config.Cmd}}{{.Config.User}}{{.Config.WorkingDir}}' plain)" = \
        '["sh","-c","id -un; pwd; echo $A; cat file; readlink link"]user/w' ]
}

@test "the same build again is the same image" {
    dockerfile 'FROM @' 'RUN echo same >/same'
    one=$(docker build -q .)
    sleep 1.1
    [ "$(docker build -q .)" = "$one" ]
    [ "$(docker build -q --no-cache .)" != "$one" ]
}

@test "secrets: there for the command, gone after it, in the shell's form only" {
    printf 'very secret' >s
    dockerfile 'FROM @' \
        'RUN --mount=type=secret,id=s --mount=type=secret,id=e,env=E cat /run/secrets/s | wc -c >/len && echo "${#E}" >>/len' \
        'RUN cat /run/secrets/s 2>/dev/null | wc -c >>/len' 'RUN --mount=type=secret,id=s false || exit 0'
    E=12345 docker build -q --secret id=s,src=s --secret id=e,env=E -t secretive .
    [ "$(docker run --rm secretive cat /len)" = "11
5
0" ]
    if docker history --no-trunc secretive | grep 'very secret'; then return 1; fi
    dockerfile 'FROM @' 'RUN --mount=type=secret,id=s ["cat", "/run/secrets/s"]'
    run docker build --secret id=s,src=s .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'only the form of a shell command can be carried out there'* ]]
}

@test "what such a server has no word for is refused" {
    dockerfile 'FROM @' 'RUN true'
    run docker build --add-host a:1.2.3.4 .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'--add-host is refused'* ]]
    run docker builder prune -f
    [ "$status" -eq 1 ]
    run docker buildx du
    [ "$status" -eq 1 ]
}

@test "pushed, and pulled back" {
    dockerfile 'FROM @' 'RUN echo pushed >/file; rm /home/user -r'
    docker build -q --push -t "$REGISTRY/plain:1" .
    docker rmi -f "$REGISTRY/plain:1"
    [ "$(docker run --rm "$REGISTRY/plain:1" sh -c 'cat /file; ls /home')" = pushed ]
}

@test "a server that others reach gives its own network to nobody" {
    dockerfile 'FROM @' 'RUN --network=host true'
    run docker build --allow network.host .
    [ "$status" -eq 1 ]
    [[ $output == *'network.host is not allowed by this server'* ]]
}
