# The layer that the agent makes where a server tells nothing of its images: an image that is pushed by it and pulled again is
# the same image, file by file.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    mkdir -p "$SUITE/plain" "$SUITE/other"
    "$ATP_BIN/atp-engine" --plain --listen 127.0.0.1:0 --env-file "$SUITE/plain.env" --state-dir "$SUITE/plain" \
        >"$SUITE/plain.log" 2>&1 3>&- &
    echo $! >"$SUITE/plain.pid"
    for _ in $(seq 100); do [ -s "$SUITE/plain.env" ] && break; sleep 0.1; done
    . "$SUITE/plain.env"
    export ATP_DOCKER_BACKEND=modal MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
    export XDG_STATE_HOME=$SUITE/client
}

teardown_file() {
    kill "$(cat "$SUITE/plain.pid")"
    for _ in $(seq 300); do process_gone "$(cat "$SUITE/plain.pid")" && break; sleep 0.1; done
    export XDG_STATE_HOME=$SUITE/state
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

teardown() {
    [ "$(sqlite3 "$XDG_STATE_HOME/atp-docker/state.db" 'SELECT count(*) FROM intents')" = 0 ]
}

sandboxes() { find "$SUITE/plain/runtime/run" -mindepth 2 -maxdepth 2 -name 'sb-*' -printf '%f\n'; }
intents() { sqlite3 -readonly "$XDG_STATE_HOME/atp-docker/state.db" "SELECT sandbox_name FROM intents"; }

# Every file of an image: kind, mode, owner, size, time, links, device, link text, contents.
tree_of() {
    docker run --rm --entrypoint /bin/sh -u 0 "$1" -c '
        skip="-path /proc -o -path /sys -o -path /dev -o -path /.atp -o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf"
        find / -mindepth 1 \( $skip \) -prune -o -path /etc -o -exec stat -c "%n|%F|%a|%u|%g|%s|%Y|%h|%t,%T|%N" {} + |
            awk -F"|" -v OFS="|" "\$2 == \"directory\" { \$6 = \$8 = \"\" } 1" | sort
        find / \( $skip \) -prune -o -type f -exec md5sum {} + | sort' 2>/dev/null
}

# Pushes it, forgets it, pulls it: the same?
there_and_back() {
    local name=$1
    tree_of "$name" >before
    [ -s before ]
    docker tag "$name" "$REGISTRY/$name"
    docker push -q "$REGISTRY/$name" >&2
    docker rmi -f "$name" "$REGISTRY/$name" >/dev/null
    docker pull -q "$REGISTRY/$name" >/dev/null
    tree_of "$REGISTRY/$name" >after
    diff before after
}

@test "all that a build can change" {
    cat >Dockerfile <<EOF
FROM $IMAGE
RUN rm /bin/vi && rm -r /home/user && rm -r /var && echo file >/var && mkdir -p /usr/new/dir
RUN echo hello >/usr/new/dir/f && ln /usr/new/dir/f /usr/new/hard && ln -s dir/f /usr/new/soft
RUN mkfifo /usr/new/fifo && chmod 600 /etc/passwd && chown 1000:1001 /usr/new/dir && chmod 3755 /usr/new/dir
RUN truncate -s 3M /usr/new/hole && mkdir /usr/new/empty && touch -d '2001-02-03 04:05:06' /usr/new/empty
RUN echo x >"/usr/new/\$(printf 'ä b\\nc')" && ln -s /nowhere/at/all /usr/new/dangling && printf '\\377' >"/usr/new/\$(printf '\\376')"
RUN rm -r /root && ln -s /tmp /root && echo bin >/bin/new && rm /bin/new && chmod 4755 /bin/busybox
ENV A=1
CMD ["echo", "hi"]
EOF
    docker build -q -t all . >/dev/null
    there_and_back all
    [ "$(docker run --rm "$REGISTRY/all")" = hi ]
    skopeo inspect --tls-verify=false "docker://$REGISTRY/all" >inspect
    [ "$(grep -c '^        "sha256:' inspect)" = 2 ] # the base's own layer, and ours
}

@test "nothing changed, and an image on an image" {
    printf 'FROM %s\nENV A=2\n' "$IMAGE" | docker build -q -t nothing - >/dev/null
    printf 'FROM nothing\nRUN echo x >/x\n' | docker build -q -t onto - >/dev/null
    there_and_back nothing
    there_and_back onto
}

@test "other contents of the same size and time" {
    printf 'FROM %s\nRUN echo one >/f && touch -d "2001-02-03 04:05:06" /f && cp -p /f /g && cp -p /f /h\n' "$IMAGE" |
        docker build -q -t older - >/dev/null
    docker tag older "$REGISTRY/older"
    docker push -q "$REGISTRY/older"
    printf 'FROM %s\nRUN echo two >/f && touch -d "2001-02-03 04:05:06" /f && cp -p /g /i && mv /i /g\n' "$REGISTRY/older" |
        docker build -q -t newer - >/dev/null
    there_and_back newer
    [ "$(docker run --rm "$REGISTRY/newer" cat /f)" = two ]
    skopeo copy --quiet --insecure-policy --src-tls-verify=false "docker://$REGISTRY/newer" dir:out
    for layer in out/*; do tar -tf "$layer" 2>/dev/null || true; done | sort | uniq -c >listing
    grep -qx ' *2 f' listing
    grep -qx ' *1 g' listing
    grep -qx ' *1 h' listing # g was written anew, and is the same
}

@test "from scratch" {
    tar -C / -cf - bin/busybox | tar -xf -
    printf 'FROM scratch\nCOPY bin/busybox /bin/sh\nCOPY bin/busybox /bin/echo\nCMD ["/bin/echo", "static"]\n' >Dockerfile
    docker build -q -t scratch:1 . >/dev/null
    docker tag scratch:1 "$REGISTRY/scratch:1"
    docker push -q "$REGISTRY/scratch:1"
    docker rmi scratch:1 "$REGISTRY/scratch:1"
    [ "$(docker run --rm "$REGISTRY/scratch:1" 2>/dev/null)" = static ]
}

@test "capabilities and other attributes of files travel" {
    cp /bin/busybox ping
    setcap cap_net_raw+ep ping
    mkdir tree && cp -p --preserve=xattr ping tree/ping
    tar -C tree --xattrs --xattrs-include='security.*' -cf ping.tar ping
    printf 'FROM %s\nADD ping.tar /opt/\n' "$IMAGE" >Dockerfile
    docker build -q -t caps . >/dev/null
    docker tag caps "$REGISTRY/caps"
    docker push -q "$REGISTRY/caps"
    skopeo copy --quiet --insecure-policy --src-tls-verify=false "docker://$REGISTRY/caps" dir:out
    for layer in out/*; do tar --xattrs --xattrs-include='*' -tvvf "$layer" 2>/dev/null || true; done >listing
    grep -A1 ' opt/ping$' listing | grep -q 'x: .* security.capability'
}

@test "a client that is killed while a layer is made leaves no sandbox" {
    printf 'FROM %s\nRUN dd if=/dev/urandom of=/big bs=1M count=40\n' "$IMAGE" | docker build -q -t big - >/dev/null
    docker tag big "$REGISTRY/big"
    for wait in 0 0.1 0.2; do
        known=$(intents)
        "$ATP_BIN/atp-docker" push -q "$REGISTRY/big" 3>&- &
        client=$!
        until intents | grep -qvxF "$known"; do kill -0 $client; done # it is about to ask for a sandbox, or has one
        sleep $wait
        kill -9 $client || true
        wait $client || true
    done
    [ -n "$(sandboxes)$(intents)" ]
    docker atp recover >/dev/null
    for _ in $(seq 300); do
        [ -z "$(sandboxes)$(intents)" ] && break
        docker ps -a >/dev/null
        sleep 0.2
    done
    [ -z "$(sandboxes)$(intents)" ]
    docker push -q "$REGISTRY/big"
}
