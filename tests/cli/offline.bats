# What the engine has pulled it has: no registry is asked for it again.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    push_image other:1 '{"Cmd":["cat","/f"]}' 'echo other >$tree/f'
}

teardown_file() {
    suite_stop
}

known() { find "$XDG_STATE_HOME" -name trash -prune -o -path '*/known/*' -type f -print | wc -l; }

@test "builds and runs of pulled images, when their registry has gone" {
    cd "$(mktemp -d "$SUITE/work-XXXXXX")"
    docker pull -q "$REGISTRY/other:1"
    digest=$(docker image inspect -f '{{index .RepoDigests 0}}' "$REGISTRY/other:1")
    [ "$(known)" = 2 ] # this one, and the suite's
    printf 'FROM %s\nRUN echo first >/g\n' "$IMAGE" >Dockerfile
    docker build -q .
    registry_stop
    printf 'FROM %s\nRUN echo second >/g\nCOPY --from=%s /f /f\n' "$IMAGE" "$REGISTRY/other:1" >Dockerfile
    docker build -q -t both .
    [ "$(docker run --rm both cat /f /g)" = $'other\nsecond' ]
    printf 'FROM %s\nRUN echo third >>/f\n' "$digest" >Dockerfile
    docker build -q --no-cache -t third .
    [ "$(docker run --rm third)" = $'other\nthird' ]
    [ "$(docker run --rm --pull never "$digest")" = other ]

    # What is damaged is not believed, and goes with the image.
    find "$XDG_STATE_HOME" -name trash -prune -o -path '*/known/*' -type f -exec sed -i 's/x86\|amd64/AMD64/' {} +
    run ! docker build --no-cache .
    [[ "$output" == *"connect"* ]]
    docker rmi -f "$REGISTRY/other:1" "$IMAGE" both third
    docker image prune -af
    docker builder prune -af
    [ "$(known)" = 0 ]
}
