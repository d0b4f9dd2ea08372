# Images with ONBUILD: the layer with the agent, a commit and a look into an image set off no trigger; FROM such an image
# does, once. The embedded engine, and the same knowing nothing but Modal's protocol.
bats_require_minimum_version 1.5.0
load common

CONFIG='{"Env":["PATH=/bin"],"Cmd":["cat","/count"],"User":"user","OnBuild":["RUN echo $A >>/count","RUN <<EOT\ncat >>/count <<\"IN\"\n$A\nIN\nEOT","RUN id -un >>/count"]}'
WILD='{"Env":["PATH=/bin"],"Cmd":["true"],"OnBuild":["RUN exit 1","FROM scratch","no instruction"]}'

setup_file() {
    suite_start
    push_image onb:1 "$CONFIG" 'chmod 755 $tree; echo image >$tree/count; chmod 666 $tree/count; ln $tree/count $tree/same; ln -s count $tree/link; chmod 4755 $tree/bin/busybox'
    push_image wild:1 "$WILD" true
}

teardown_file() {
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

teardown() {
    [ ! -s plain.pid ] || { kill "$(cat plain.pid)"; for _ in $(seq 100); do process_gone "$(cat plain.pid)" && break; sleep 0.1; done; }
}

plain_start() {
    "$ATP_BIN/atp-engine" --plain --listen 127.0.0.1:0 --env-file "$WORK/plain.env" --state-dir "$WORK/plain" \
        >"$WORK/plain.log" 2>&1 3>&- &
    echo $! >plain.pid
    for _ in $(seq 100); do [ ! -s "$WORK/plain.env" ] || break; sleep 0.1; done
    . "$WORK/plain.env"
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET ATP_DOCKER_BACKEND=modal XDG_STATE_HOME=$WORK/state
}

# untouched IMAGE: it runs, and nothing was set off.
untouched() {
    [ "$(docker run --rm "$1")" = image ]
    [ "$(docker run --rm "$1" sh -c 'id -un; stat -c %h /count; readlink /link; stat -c %a /bin/busybox')" = $'user\n2\ncount\n4755' ]
}

# triggers IMAGE: FROM it each trigger is set off once, and is gone then.
triggers() {
    printf 'FROM %s\nENV A=after\n' "$1" >Dockerfile
    docker build -q -t trig . >/dev/null
    [ "$(docker run --rm trig)" = $'image\n\n$A\nuser' ]
    [ "$(docker image inspect -f '{{json .Config.OnBuild}}' trig)" = null ]
    printf 'FROM trig\n' >Dockerfile
    docker build -q -t again . >/dev/null
    [ "$(docker run --rm again)" = $'image\n\n$A\nuser' ]
}

all_kinds() {
    docker pull -q "$REGISTRY/onb:1"
    untouched "$REGISTRY/onb:1"
    triggers "$REGISTRY/onb:1"
    skopeo copy -q --insecure-policy --src-tls-verify=false "docker://$REGISTRY/onb:1" docker-archive:onb.tar:onb:2
    docker load -i onb.tar
    untouched onb:2
    triggers onb:2

    # Committed from one that has triggers: they are not inherited. Then with ones of its own.
    docker run --name cc onb:2 sh -c 'echo more >>/count'
    docker commit cc com:1
    [ "$(docker run --rm com:1 cat /count)" = $'image\nmore' ]
    [ "$(docker image inspect -f '{{json .Config.OnBuild}}' com:1)" = null ]
    docker commit -c 'ONBUILD RUN echo triggered >>/count' -c 'CMD ["cat","/count"]' cc com:2
    docker rm cc
    [ "$(docker run --rm com:2)" = $'image\nmore' ]
    printf 'FROM com:2\n' >Dockerfile
    docker build -q -t trig . >/dev/null
    [ "$(docker run --rm trig)" = $'image\nmore\ntriggered' ]

    # Built with ONBUILD: run, kept, and built upon.
    printf 'FROM %s\nRUN echo image >/count\nONBUILD RUN echo triggered >>/count\nCMD ["cat","/count"]\n' "$IMAGE" >Dockerfile
    docker build -q -t made . >/dev/null
    [ "$(docker run --rm made)" = image ]
    docker save made >made.tar
    docker rmi made
    docker load -i made.tar
    [ "$(docker run --rm made)" = image ]
    printf 'FROM made\n' >Dockerfile
    docker build -q -t trig . >/dev/null
    [ "$(docker run --rm trig)" = $'image\ntriggered' ]

    # What is no trigger that a builder would take.
    docker run --rm "$REGISTRY/wild:1"
    skopeo copy -q --insecure-policy --src-tls-verify=false "docker://$REGISTRY/wild:1" docker-archive:wild.tar:wild:2
    docker load -i wild.tar
    docker run --rm wild:2
    [ "$(docker image inspect -f '{{json .Config.OnBuild}}' wild:2)" = '["RUN exit 1","FROM scratch","no instruction"]' ]
    printf 'FROM wild:2\n' >Dockerfile
    run ! docker build .
}

@test "pulled, loaded, committed, built: run without a trigger, FROM sets each off once" {
    all_kinds
}

@test "the same on a server that tells nothing of its images" {
    plain_start
    all_kinds
    # Published, and seen by a machine that knows nothing of it.
    printf 'FROM %s\nRUN echo image >/count\nONBUILD RUN test ! -e /count\nCMD ["cat","/count"]\n' "$IMAGE" >Dockerfile
    docker build -q -t published .
    export XDG_STATE_HOME=$WORK/other
    [ "$(docker run --rm modal://published)" = image ]
    [ "$(docker image inspect -f '{{json .Config.OnBuild}}' modal://published)" = '["RUN test ! -e /count"]' ]
    printf 'FROM modal://published\n' >Dockerfile
    run ! docker build .
    [[ "$output" == *'RUN test ! -e /count'* ]]
}
