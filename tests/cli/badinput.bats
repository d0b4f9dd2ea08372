# What goes wrong: each time one clear message, Docker's exit code, nothing half-made, and no hang. Every command is
# killed when it takes longer than it may: a hang is a failure, not a wait.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}
teardown() {
    cd /
    ! mountpoint -q "$WORK/small" || umount -l "$WORK/small"
    rm -rf "$WORK"
}

docker() {
    timeout -s KILL "${LIMIT:-180}" "$ATP_BIN/atp-docker" "$@"
}

# refused CODE TEXT COMMAND...: the exit code, the text, and not more than Docker's message around it.
refused() {
    local code=$1 text=$2
    shift 2
    run -"$code" "$@" || { echo "exit code $status, not $code: $output"; return 1; }
    [ "$status" -eq "$code" ] || { echo "exit code $status, not $code: $output"; return 1; }
    [[ "$output" == *"$text"* ]] || { echo "no '$text' in: $output"; return 1; }
    [ "$(grep -c '^docker: ' <<<"$output")" -le 1 ] || { echo "said more than once: $output"; return 1; }
}

# The processes below the engine that a container is: its first process, or gVisor's kernel.
container_inits() {
    local engine
    engine=$(engine_pid)
    ps -eo pid=,ppid=,args= | awk -v engine="$engine" '
        { parent[$1] = $2; line[$1] = $0 }
        END {
            for (pid in line) {
                if (line[pid] !~ /\/agent init|runsc-sandbox/) continue
                for (p = pid; p > 1 && p != engine; p = parent[p]);
                if (p == engine) print pid
            }
        }'
}
no_container() { [ -z "$(container_inits)" ]; }

# A profile of its own for what would disturb the others: sets the folders, and ends its engine.
with_own_engine() {
    local ret=0
    (
        export XDG_STATE_HOME=$1 XDG_RUNTIME_DIR=$WORK/run
        mkdir -p "$XDG_RUNTIME_DIR"
        shift
        "$@"
    ) || ret=$?
    (XDG_STATE_HOME=$1 engine_stop)
    return $ret
}

# ---- words ----

@test "images: unknown, without a registry, and references that are none" {
    refused 125 "Unable to find image" docker run --rm "$REGISTRY/nosuch:1" true
    refused 125 "localhost:1" docker run --rm localhost:1/x true
    for reference in 'Bad//Ref' 'a:b:c' 'Upper' ':tag' 'x@sha256:12' ''; do
        refused 125 "invalid reference format" docker run --rm "$reference" true || { echo "for '$reference'"; false; }
    done
    refused 125 "No such image: nosuch:1" docker run --rm --pull never nosuch:1 true
}

@test "-v and --mount that say nothing sensible" {
    for spec in '' ':' 'a' ':/x' 'a:/b:c:d' '/a:rel' '/a:/b:bogus' '/a:/'; do
        run docker run --rm -v "$spec" "$IMAGE" touch /never
        [ "$status" -eq 125 ] || { echo "'$spec': $status $output"; false; }
        [ -n "$output" ]
    done
    refused 125 "Duplicate mount point: /w" docker run --rm -v "$PWD:/w" -v "$SUITE:/w" "$IMAGE" true
    refused 125 "bind source path does not exist" docker run --rm --mount "type=bind,src=$PWD/no,dst=/w" "$IMAGE" true
    [ -z "$(ls -A .)" ]
}

@test "--cidfile and --env-file where nothing is" {
    # 127 is docker's too: it takes "no such file or directory" for a command that is not there
    refused 127 "$PWD/no/cid" docker run --rm --cidfile "$PWD/no/cid" --name cid "$IMAGE" touch /never
    refused 125 "no such file or directory" docker run --rm --env-file "$PWD/no/env" --name cid "$IMAGE" true
    refused 125 "is a directory" docker run --rm --env-file / --name cid "$IMAGE" true
    docker run --rm --name cid "$IMAGE" true
}

@test "a name that is taken, and one that nobody could have" {
    docker run --name taken "$IMAGE" true
    refused 125 'Conflict. The container name "/taken" is already in use by container "' docker run --rm --name taken "$IMAGE" true
    refused 125 "Invalid container name" docker run --rm --name ../x "$IMAGE" true
    refused 125 "Invalid container name" docker run --rm --name $'a\xff' "$IMAGE" true
    for _ in 1 2; do docker run --rm --name free "$IMAGE" true; done
}

@test "a megabyte of arguments arrives, what no kernel takes is refused" {
    big=$(head -c 131000 /dev/zero | tr '\0' x)
    [ "$(docker run --rm "$IMAGE" sh -c 'echo $# ${#8}' sh "$big" "$big" "$big" "$big" "$big" "$big" "$big" "$big")" = "8 131000" ]
    value=$(head -c 60000 /dev/zero | tr '\0' x)
    for i in $(seq 60); do echo "V$i=$value"; done >env
    refused 255 "too long" docker run --rm --env-file env "$IMAGE" true
    cat env env >both
    refused 125 "both" docker run --rm --env-file both "$IMAGE" true
}

# ---- configuration and credentials ----

@test "a configuration that cannot be read: file, line and key" {
    export XDG_CONFIG_HOME=$PWD/config
    file=$XDG_CONFIG_HOME/atp-docker/config.yaml
    mkdir -p "${file%/*}"
    printf '# one\nbackend: local: x\nmodal:\n' >"$file"
    refused 125 "$file:2: " docker run --rm "$IMAGE" true
    (unset ATP_DOCKER_BACKEND && printf '# one\nbackend: nosuch\n' >"$file" && refused 125 "$file:2: backend: 'nosuch'" docker run --rm "$IMAGE" true)
    printf '# one\n\nbackendd: local\n' >"$file"
    refused 125 "$file:3: unknown key 'backendd'" docker run --rm "$IMAGE" true
    rm "$file" && mkdir "$file"
    refused 125 "$file" docker run --rm "$IMAGE" true
    rmdir "$file"
    ATP_DOCKER_BACKEND=nosuch refused 125 "ATP_DOCKER_BACKEND: 'nosuch'" docker run --rm "$IMAGE" true
}

@test "half credentials are refused by name, and no secret is printed" {
    export ATP_DOCKER_BACKEND=modal XDG_STATE_HOME=$PWD/state HOME=$PWD/home
    mkdir home
    MODAL_TOKEN_ID=ak-1 refused 125 "MODAL_TOKEN_SECRET is not" docker run --rm "$IMAGE" true
    MODAL_TOKEN_SECRET=as-hidden refused 125 "MODAL_TOKEN_ID is not" docker run --rm "$IMAGE" true
    [[ "$output" != *as-hidden* ]]
    refused 125 "$HOME/.modal.toml" docker run --rm "$IMAGE" true
    printf '[default]\ntoken_secret = "as-hidden"\n' >home/.modal.toml
    refused 125 "$HOME/.modal.toml has token_secret but no token_id" docker run --rm "$IMAGE" true
    [[ "$output" != *as-hidden* ]]
    printf '[default]\ntoken_id = \n' >home/.modal.toml
    refused 125 "$HOME/.modal.toml:2: " docker run --rm "$IMAGE" true
}

@test "a server that cannot be reached, and one that knows us not" {
    export ATP_DOCKER_BACKEND=modal XDG_STATE_HOME=$PWD/state
    MODAL_SERVER_URL=http://127.0.0.1:1 MODAL_TOKEN_ID=ak-1 MODAL_TOKEN_SECRET=as-1 \
        refused 125 "127.0.0.1:1" docker run --rm "$IMAGE" true
    "$ATP_BIN/atp-engine" --listen 127.0.0.1:0 --env-file "$PWD/env" --state-dir "$PWD/engine" --log "$PWD/log" 3>&- &
    engine=$!
    until_true 10 test -s env
    . ./env
    export MODAL_SERVER_URL MODAL_TOKEN_ID MODAL_TOKEN_SECRET
    run env MODAL_TOKEN_SECRET=as-hidden timeout -s KILL 180 "$ATP_BIN/atp-docker" run --rm "$IMAGE" true
    good=$(docker run --rm "$IMAGE" echo right) || true
    kill "$engine" && wait "$engine" || true
    [ "$status" -eq 125 ]
    [[ "$output" != *as-hidden* ]]
    [ "$(grep -c '^docker: ' <<<"$output")" -eq 1 ]
    [[ "$output" == *[Tt]oken* || "$output" == *credentials* ]]
    [ "$good" = right ]
}

# ---- disks ----

@test "a full host: the pull fails with 125, and nothing half-made is there" {
    [ "$(id -u)" = 0 ] || skip "an ordinary user cannot mount a small disk"
    mkdir small && mount -t tmpfs -o size=1m tmpfs small
    echo host >small/kept
    refused 125 "/w back to $PWD/small: writing big: " docker run --rm --label modal.orphan_grace=1 -v "$PWD/small:/w" "$IMAGE" \
        sh -c 'head -c 4194304 /dev/zero | tr "\0" x >/w/big'
    [ "$(cat small/kept)" = host ]
    [ "$(ls -A small)" = kept ]
    until_true 30 no_container
}

@test "a full state folder: the pull of an image says so" {
    [ "$(id -u)" = 0 ] || skip "an ordinary user cannot mount a small disk"
    mkdir small && mount -t tmpfs -o size=2m tmpfs small
    full() { refused 125 "pace" docker run --rm "$IMAGE" true; }
    with_own_engine "$PWD/small" full
}

@test "a state file that is damaged, and one that cannot be written" {
    mkdir -p state/atp-docker && head -c 8192 /dev/urandom >state/atp-docker/state.db
    broken() { refused 125 "state.db" docker run --rm "$IMAGE" true; }
    with_own_engine "$PWD/state" broken
    echo file >notdir
    notdir() { refused 125 "$PWD/notdir" docker run --rm "$IMAGE" true; }
    with_own_engine "$PWD/notdir" notdir
}

# ---- ends ----

@test "a sandbox that dies under the run" {
    "$ATP_BIN/atp-docker" run --rm --name dies -v "$PWD:/w" "$IMAGE" sh -c 'echo up; sleep 1000' >out 2>err &
    pid=$!
    until_true 30 grep -q up out
    inits=$(container_inits)
    [ -n "$inits" ]
    began=$SECONDS
    kill -9 $inits
    status=0
    wait "$pid" || status=$?
    [ $((SECONDS - began)) -le 40 ]
    [ "$status" -ne 0 ] && [ "$(grep -c '^docker: ' err)" -eq 1 ] || { echo "$status: $(cat err)"; false; }
    until_true 20 no_container
    [ "$(docker run --rm --name dies "$IMAGE" echo next)" = next ]
}

@test "an engine killed during a run: 125 within 15 s, the next run works, nothing of the old one is left" {
    echo host >kept
    "$ATP_BIN/atp-docker" run --rm -v "$PWD:/w" "$IMAGE" sh -c 'echo x >/w/kept; echo up; sleep 1000' >../out 2>../err &
    pid=$!
    until_true 30 grep -q up ../out
    began=$SECONDS
    old=$(container_inits)
    kill -9 "$(engine_pid)"
    status=0
    wait "$pid" || status=$?
    [ $((SECONDS - began)) -le 30 ] # 15 s, and what a slow machine needs to end
    [ "$status" -eq 125 ] && [ "$(grep -c '^docker: ' ../err)" -eq 1 ] || { echo "$status: $(cat ../err)"; false; }
    [ "$(cat kept)" = host ]
    [ "$(ls -A .)" = kept ]
    [ "$(docker run --rm "$IMAGE" echo next)" = next ]
    for init in $old; do until_true 20 process_gone "$init"; done
    until_true 20 no_container
}

@test "a client killed during a run: the container goes on, then ends after its grace" {
    "$ATP_BIN/atp-docker" run --rm --label modal.orphan_grace=2 "$IMAGE" sh -c 'echo up; sleep 20' >out 2>err &
    pid=$!
    until_true 30 grep -q up out
    inits=$(container_inits)
    [ -n "$inits" ]
    kill -9 "$pid"
    wait "$pid" || true
    sleep 3 # longer than the grace
    [ "$(container_inits)" = "$inits" ]
    until_true 40 no_container
}

@test "an engine whose state is gone: the image is made anew" {
    forget() {
        docker run --rm "$IMAGE" true
        engine_stop
        rm -rf "$XDG_STATE_HOME/atp-docker/engine"
        [ "$(docker run --rm "$IMAGE" echo anew 2>/dev/null)" = anew ]
    }
    with_own_engine "$PWD/state" forget
}

# ---- streams ----

@test "closed standard streams" {
    docker run --rm "$IMAGE" sh -c 'exit 3' >&- || [ $? -eq 3 ]
    docker run --rm "$IMAGE" echo unseen >&-
    docker run --rm "$IMAGE" sh -c 'echo unseen >&2' 2>&-
    [ "$(docker run --rm -i "$IMAGE" wc -c <&-)" -eq 0 ]
}

@test "a reader that leaves, and one that is slow" {
    LIMIT=60 docker run --rm "$IMAGE" yes 2>err | head -1 >out
    [ "${PIPESTATUS[0]}" -ne 137 ]
    [ "$(cat out)" = y ]
    [ ! -s err ]
    rounds=10
    [ "${ATP_ENGINE_RUNTIME:-}" != runsc ] || rounds=3
    for _ in $(seq "$rounds"); do
        LIMIT=60 docker run --rm "$IMAGE" sh -c 'seq 300000; exit 0' 2>err | head -1 >out
        [ "${PIPESTATUS[0]}" -ne 137 ]
        [ "$(cat out)" = 1 ]
        [ ! -s err ]
    done
    sum=$(docker run --rm "$IMAGE" sh -c 'seq 1000000' | (sleep 1; sha256sum))
    [ "$sum" = "$(seq 1000000 | sha256sum)" ]
}

# ---- trees ----

@test "a real file of 2 GiB: whole, in little memory" {
    [ "$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')" -ge 10 ] || skip "less than 10 GiB are free"
    size=2147483648
    [ "${ATP_ENGINE_RUNTIME:-}" != runsc ] || size=536870912 # far above the memory that it may cost, and 12 s instead of 49
    yes 'text that a file could hold' | head -c "$size" >big
    LIMIT=900 run -0 docker run --rm -v "$PWD:/w:ro" "$IMAGE" sh -c '
        wc -c </w/big; tail -c 4 /w/big | od -An -tx1; awk "/VmHWM|VmRSS/ && \$2 > m { m = \$2 } END { print m }" /proc/[0-9]*/status'
    [ "${lines[0]}" = "$size" ] || { echo "$output"; false; }
    [ "${lines[1]}" = "$(tail -c 4 big | od -An -tx1)" ]
    [ "${lines[2]}" -lt 65536 ]
    peak=$(sh -c '"$1" run --rm -v "$2:/w:ro" "$3" true & while p=$(awk "/VmHWM/ { print \$2 }" /proc/$!/status 2>/dev/null) && [ -n "$p" ]; do echo "$p"; sleep 0.1; done; wait $!' sh "$ATP_BIN/atp-docker" "$PWD" "$IMAGE" | sort -n | tail -1)
    [ "$peak" -gt 0 ]
    [ "$peak" -lt 131072 ]
}

@test "names: newlines, dashes, bytes that are no text, 255 of them" {
    long=$(head -c 255 /dev/zero | tr '\0' n)
    mkdir tree
    for name in $'new\nline' -dash '--' ' ' $'\xff\xfe' "$long" '*' '$(id)' "'\"" '\'; do printf '%s' "$name" >"tree/$name"; done
    (cd tree && find . -print0 | sort -z) >before
    docker run --rm -v "$PWD/tree:/w" -w /w "$IMAGE" sh -c 'for f in ./* ; do cp -- "$f" "/tmp/x"; cat /tmp/x >"$f"; done; echo 1 >"$(printf "made\nhere")"; echo 2 >./-made; echo 3 >"$(printf "m\377")"'
    (cd tree && find . -print0 | sort -z) >after
    [ "$(tr '\0' '\n' <before | wc -l)" -eq $(($(tr '\0' '\n' <after | wc -l) - 4)) ]
    [ "$(cat tree/$'made\nhere' tree/-made tree/$'m\xff')" = $'1\n2\n3' ]
    [ "$(cat "tree/$long")" = "$long" ]
    [ "$(cat tree/$'\xff\xfe')" = $'\xff\xfe' ]
}

@test "20,000 small files, there and back" {
    count=20000
    [ "${ATP_ENGINE_RUNTIME:-}" != runsc ] || count=4000 # each is a stop of ptrace there
    mkdir tree && (cd tree && seq "$count" | split -l 1 -a 5 - f)
    docker run --rm -v "$PWD/tree:/w" -w /w "$IMAGE" sh -c 'ls | wc -l; for f in fa*a; do echo x >>$f; done; rm f*z; ls | wc -l' >counts
    [ "$(head -1 counts)" -eq "$count" ]
    [ "$(ls tree | wc -l)" -eq "$(tail -n 1 counts)" ]
    [ "$(tail -n 1 tree/faaaaa)" = x ]
}

@test "deep folders" {
    path=$(printf 'd/%.0s' $(seq 100))
    mkdir -p "tree/$path" && echo bottom >"tree/${path}f"
    docker run --rm -v "$PWD/tree:/w" "$IMAGE" sh -c "cat /w/${path}f; mkdir -p /w/$path$path; echo deeper >/w/$path${path}g" >out
    [ "$(cat out)" = bottom ]
    [ "$(cat "tree/$path${path}g")" = deeper ]
}

@test "special files stay where they are, setuid does not come out, links lead nowhere new" {
    mkdir tree outside
    echo safe >outside/f
    mkfifo tree/fifo
    if [ "$(id -u)" = 0 ]; then mknod tree/null c 1 3; fi
    docker run --rm -v "$PWD/tree:/w" -w /w "$IMAGE" sh -c "
        mkfifo pipe; cp /bin/busybox su; chmod 6755 su; ln -s $PWD/outside out; ln -s /etc/passwd passwd
        echo changed >out/f 2>/dev/null; mkdir dir; echo x >dir/f; true"
    if [ "$(id -u)" = 0 ]; then [ -c tree/null ]; fi
    [ -p tree/fifo ]
    [ ! -e tree/pipe ]
    [ ! -u tree/su ]
    [ ! -g tree/su ]
    [ -L tree/out ]
    [ "$(readlink tree/passwd)" = /etc/passwd ]
    docker run --rm -v "$PWD/tree:/w" -w /w "$IMAGE" sh -c "rm -r out dir; mkdir out; echo changed >out/f; ln -s $PWD/outside dir"
    [ "$(cat outside/f)" = safe ]
    [ "$(cat tree/out/f)" = changed ]
    [ ! -L tree/out ]
    [ "$(readlink tree/dir)" = "$PWD/outside" ]
}

@test "mounts inside mounts, in any order" {
    mkdir a b
    docker run --rm -v "$PWD/b:/w/sub" -v "$PWD/a:/w" "$IMAGE" sh -c 'echo 1 >/w/1; echo 2 >/w/sub/2'
    [ "$(cat a/1)" = 1 ]
    [ "$(cat b/2)" = 2 ]
    [ ! -e a/2 ]
    [ ! -e a/sub/2 ]
}

# ---- several at once ----

@test "ten runs at once on one mount, each with its exit code and its file" {
    pids=()
    for i in $(seq 10); do
        timeout -s KILL 180 "$ATP_BIN/atp-docker" run --rm -v "$PWD:/w" "$IMAGE" sh -c "echo $i >/w/f$i; exit $i" 2>"$SUITE/err-$i" &
        pids+=($!)
    done
    for i in $(seq 10); do
        status=0
        wait "${pids[$((i - 1))]}" || status=$?
        [ "$status" -eq "$i" ] || { echo "run $i: $status $(cat "$SUITE/err-$i")"; false; }
        [ "$(cat "f$i")" -eq "$i" ]
    done
}

@test "an interrupt at any moment leaves no container" {
    for delay in 0.02 0.05 0.1 0.2 0.4; do
        (trap - INT; exec timeout -s KILL 180 "$ATP_BIN/atp-docker" run --rm --label modal.orphan_grace=2 -v "$PWD:/w" "$IMAGE" sh -c 'sleep 30') >out 2>&1 &
        pid=$!
        until_true 10 grep -qx timeout "/proc/$pid/comm" # a shell in the background would ignore the signal
        sleep "$delay"
        pkill -INT -P "$pid" || kill -INT "$pid" 2>/dev/null || true
        status=0
        wait "$pid" || status=$?
        [ "$status" -ne 0 ] && [ "$status" -ne 137 ] || { echo "after $delay s: $status $(cat out)"; false; }
    done
    docker run --rm "$IMAGE" true
    until_true 30 no_container
}
