# docker build, on the embedded engine: odd and bad inputs, what is sent, what is shown, what is left behind. That trees
# and configurations are those of a real builder is tests/build's business.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
}

teardown_file() {
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    unset DOCKER_BUILDKIT BUILDKIT_PROGRESS
}

teardown() {
    [ -z "$(ls "$XDG_STATE_HOME/atp-docker/build" 2>/dev/null)" ] # no folder of a build stays
}

# dockerfile LINE...: a Dockerfile of these lines on the suite's busybox; @ is that image.
dockerfile() {
    printf '%s\n' "$@" | sed "s|@|$IMAGE|" >Dockerfile
}

# built OPTION...: builds silently and prints what `docker run` of it gives for the command in $RUN.
build() { docker build -q "$@" .; }

@test "FROM, COPY, RUN: built, named, run" {
    dockerfile 'FROM @' 'COPY hello /hello' 'RUN cat /hello >/again && echo more >>/again' 'CMD ["cat", "/again"]'
    echo hello >hello
    docker build -t first . 2>out
    grep -q '^#[0-9]* \[2/3\] COPY hello /hello$' out
    grep -q '^#[0-9]* \[3/3\] RUN cat' out
    grep -q '^#[0-9]* naming to docker.io/library/first:latest done$' out
    [ "$(docker run --rm first)" = "hello
more" ]
    [ "$(docker images -q first)" ]
}

@test "-q and --iidfile say the id, and nothing else" {
    dockerfile 'FROM @' 'RUN true'
    run --separate-stderr docker build -q --iidfile id .
    [ "$status" -eq 0 ]
    [[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
    [ -z "$stderr" ]
    [ "$(cat id)" = "$output" ]
    [ "$(wc -c <id)" -eq 71 ]
    docker image inspect "$output" >/dev/null
}

@test "a path that is not there, no Dockerfile, an empty one, a wrong word" {
    run docker build nope
    [ "$status" -eq 1 ]
    [ "$output" = 'ERROR: unable to prepare context: path "nope" not found' ]
    run docker build .
    [ "$status" -eq 1 ]
    [ "${lines[-1]}" = 'ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory' ]
    : >Dockerfile
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == 'ERROR: failed to solve: '* ]]
    dockerfile 'FROM @' 'FOO bar'
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'dockerfile parse error on line 2: unknown instruction: FOO'* ]]
    echo x >file
    run docker build file
    [ "$status" -eq 1 ]
    [[ $output == *'context must be a directory: file' ]]
}

@test "a step that fails: its output, the place in the file, the exit code" {
    dockerfile 'FROM @' 'RUN true' 'RUN echo before; echo on-stderr >&2; exit 3' 'RUN true'
    run docker build -t broken .
    [ "$status" -eq 1 ]
    [[ $output == *' > [3/4] RUN echo before'* ]]
    [[ $output == *'before'* ]]
    [[ $output == *'on-stderr'* ]]
    [[ $output == *'Dockerfile:3'* ]]
    [[ $output == *'   3 | >>> RUN echo before'* ]]
    [ "${lines[-1]}" = 'ERROR: failed to solve: process "/bin/sh -c echo before; echo on-stderr >&2; exit 3" did not complete successfully: exit code: 3' ]
    [ -z "$(docker images -q broken)" ]
}

@test "a COPY of what is not there names the path and the line" {
    dockerfile 'FROM @' 'COPY nope.txt /'
    run docker build .
    [ "$status" -eq 1 ]
    [[ $output == *'Dockerfile:2'* ]]
    [[ ${lines[-1]} == *'"/nope.txt": not found'* ]]
    echo '*.txt' >.dockerignore
    touch nope.txt
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'"/nope.txt": not found'* ]]
    dockerfile 'FROM @' 'COPY ../outside /'
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'"/outside": not found'* ]]
}

@test "links stay links and lead nowhere else; empty directories and modes travel" {
    mkdir -p src/empty src/sub src/private
    chmod 700 src/private
    echo text >src/sub/file
    chmod 755 src/sub/file
    ln -s sub/file src/inside
    ln -s /etc/shadow src/outside
    ln -s ../../.. src/up
    echo secret >"$SUITE/secret"
    ln -s "$SUITE/secret" src/absolute
    dockerfile 'FROM @' 'COPY src /src'
    id=$(build)
    run docker run --rm "$id" sh -c 'cd /src; for l in inside outside up absolute; do readlink $l; done; cat inside; stat -c "%a %F" empty private sub/file; ls -a empty | wc -l'
    [ "$output" = "sub/file
/etc/shadow
../../..
$SUITE/secret
text
755 directory
700 directory
755 regular file
2" ]
}

@test "a source that is a link brings what it leads to" {
    mkdir dir
    echo there >dir/real
    ln -s real dir/link
    ln -s dir alias
    dockerfile 'FROM @' 'COPY dir/link /a' 'COPY alias/link /b' 'RUN cat /a /b'
    id=$(build)
    [ "$(docker run --rm "$id" cat /a /b)" = "there
there" ]
}

@test "only what is used is read: the rest may be unreadable or huge" {
    [ "$(id -u)" -ne 0 ] || skip "root reads everything"
    mkdir locked
    echo used >used
    chmod 0 locked
    dockerfile 'FROM @' 'COPY used /'
    build
    dockerfile 'FROM @' 'COPY . /'
    run docker build .
    chmod 700 locked
    [ "$status" -eq 1 ]
    [ "${lines[-1]}" = 'ERROR: failed to solve: error from sender: open locked: permission denied' ]
}

@test "names: several, wrong ones, the same twice" {
    dockerfile 'FROM @' 'LABEL a=b'
    docker build -q -t one:1 -t "$REGISTRY/two" -t one:1 .
    docker image inspect one:1 "$REGISTRY/two:latest" >/dev/null
    run docker build -t UPPER .
    [ "$status" -ne 0 ]
    [[ $output == *'invalid reference format: repository name (library/UPPER) must be lowercase'* ]]
    run docker build -t one:1@sha256:$(printf %064d 0) .
    [ "$status" -ne 0 ]
}

@test "build arguments, from the environment too; labels; target" {
    dockerfile 'ARG BASE=@' 'FROM $BASE AS first' 'ARG A=1' 'ARG B' 'RUN echo $A-$B >/args' 'FROM first AS second' 'RUN echo second >>/args'
    B=env build --build-arg A=2 --build-arg B --label k='v "q" $x' --target first -t args
    [ "$(docker run --rm args cat /args)" = 2-env ]
    [ "$(docker image inspect -f '{{index .Config.Labels "k"}}' args)" = 'v "q" $x' ]
    run docker build --target third .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'target stage "third" could not be found'* ]]
    run docker build --build-arg NOBODY=1 .
    [ "$status" -eq 0 ]
    [[ $output == *'[Warning] One or more build-args [NOBODY] were not consumed'* ]]
}

@test "the Dockerfile: -f, another name, on stdin, with its own ignore file, outside the context" {
    echo kept >kept
    echo gone >gone
    printf 'FROM %s\nCOPY . /c\n' "$IMAGE" >Other
    echo gone >Other.dockerignore
    id=$(build -f Other)
    [ "$(docker run --rm "$id" ls /c)" = "Other
Other.dockerignore
kept" ]
    mkdir context
    echo in >context/in
    docker build -q -t stdin -f - context <<<"FROM $IMAGE
COPY in /in"
    [ "$(docker run --rm stdin cat /in)" = in ]
    docker build -q -t alone - <<<"FROM $IMAGE
RUN echo alone >/alone"
    [ "$(docker run --rm alone cat /alone)" = alone ]
    docker build -q -t outside -f Other context
    [ "$(docker run --rm outside ls /c)" = in ]
    run docker build -f - - </dev/null
    [ "$status" -eq 1 ]
    [[ $output == *"invalid argument: can't use stdin for both build context and dockerfile" ]]
    run docker build -f nope .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'failed to read dockerfile: open nope: no such file or directory' ]]
}

@test "a context on stdin: plain, compressed, hostile" {
    mkdir c
    echo file >c/file
    ln -s file c/link
    printf 'FROM %s\nCOPY . /c\nRUN cat /c/link\n' "$IMAGE" >c/Dockerfile
    for how in '' -z -j -J; do
        tar -C c $how -cf - . | docker build -q -t tarred -
        [ "$(docker run --rm tarred sh -c 'readlink /c/link; cat /c/file')" = "file
file" ]
    done
    tar -C c -cf - . | docker build -q -t tarred -f ./Dockerfile -
    # a name that leads out, and one by way of a link
    tar -C c -cf bad.tar --transform 's|^\./file|../../evil|' -P ./Dockerfile ./file
    run docker build - <bad.tar
    [ "$status" -eq 1 ]
    [[ $output == *'leads out of it'* ]]
    mkdir d
    ln -s "$WORK" d/way
    tar -C d -cf bad.tar way
    rm d/way
    mkdir d/way
    echo evil >d/way/evil
    tar -C d -rf bad.tar way/evil
    run docker build - <bad.tar
    [ "$status" -eq 1 ]
    [ ! -e evil ]
    [ ! -e "$SUITE/evil" ]
    run docker build - </dev/null
    [ "$status" -eq 1 ]
    tar -C c -czf - . | head -c 100 >short
    run docker build - <short
    [ "$status" -eq 1 ]
}

@test "secrets are there for the step, and nowhere afterwards" {
    dockerfile 'FROM @' 'RUN --mount=type=secret,id=one cat /run/secrets/one | wc -c >/len; env | grep -c ATP_ >/vars || true' \
        'RUN --mount=type=secret,id=two,target=/tmp/x cat /tmp/x >/dev/null; ls /run/secrets 2>/dev/null | wc -l >/left'
    printf 'very secret' >file
    TWO=hidden docker build -q --secret id=one,src=file --secret id=two,env=TWO -t secretive .
    [ "$(docker run --rm secretive cat /len /vars /left)" = "11
0
0" ]
    if docker history --no-trunc secretive | grep -q 'very secret'; then return 1; fi
    if docker image inspect secretive | grep -q 'very secret\|hidden'; then return 1; fi
    run docker build --secret id=one,src=nope .
    [ "$status" -eq 1 ]
    [[ $output == *nope* ]]
    run docker build --secret src=file .
    [ "$status" -eq 1 ]
}

@test "nothing changed: nothing is sent, everything is said to be cached" {
    mkdir data
    for i in $(seq 50); do head -c 20000 /dev/urandom >data/$i; done
    dockerfile 'FROM @' 'COPY data /data' 'RUN sleep 1; sha256sum /data/* >/sums'
    ATP_DOCKER_TRACE=calls docker build -t again . 2>first
    [ "$(grep -c MountPutFile first)" -ge 50 ]
    before=$(docker images -q --no-trunc again)
    ATP_DOCKER_TRACE=calls docker build -t again . 2>second
    [ "$(grep -c MountPutFile second)" -eq 0 ]
    [ "$(grep -c ' CACHED$' second)" -eq 3 ]
    [ "$(docker images -q --no-trunc again)" = "$before" ]
    echo changed >data/1
    ATP_DOCKER_TRACE=calls docker build -t again . 2>third
    [ "$(grep -c MountPutFile third)" -eq 1 ]
}

@test "--no-cache does it again" {
    dockerfile 'FROM @' 'RUN head -c 16 /dev/urandom | sha256sum >/random'
    one=$(build)
    [ "$(build)" = "$one" ]
    two=$(build --no-cache)
    [ "$two" != "$one" ]
}

@test "what cannot be kept is refused, never ignored" {
    dockerfile 'FROM @'
    for option in --squash --memory=1g --cpu-quota=1 --cpuset-cpus=0 --ulimit=nofile=1 --shm-size=1g --security-opt=x \
        --cgroup-parent=x --ssh=default --provenance=true --sbom=true --isolation=hyperv --annotation=a=b --check --call=outline; do
        run docker build "$option" .
        [ "$status" -ne 0 ] || { echo "$option was taken"; false; }
        [[ $output == *'is refused by atp-docker'* ]] || { echo "$option: $output"; false; }
    done
    for option in --provenance=false --sbom=false --rm --force-rm --compress --rm=false --isolation=default --load \
        --network=default --progress=plain --pull=false --platform=linux/amd64; do
        docker build "$option" . 2>out || { echo "$option: $(cat out)"; false; }
    done
}

@test "--network none: a step reaches nothing" {
    dockerfile 'FROM @' 'RUN ip -o link | grep -vc lo: >/links || true'
    build --no-cache --network none -t alone
    [ "$(docker run --rm alone cat /links)" = 0 ]
}

@test "a Dockerfile alone cannot have the builder's own network" {
    dockerfile 'FROM @' 'RUN --network=host readlink /proc/self/ns/net >/net'
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'network.host is not allowed' ]]
    if [ "$(id -u)" = 0 ]; then # else the engine has none to give
        build --allow network.host -t own
        [ "$(docker run --rm own cat /net)" = "$(readlink /proc/self/ns/net)" ]
    fi
    dockerfile 'FROM @' 'ONBUILD RUN --network=host true'
    build -t trigger
    dockerfile 'FROM trigger'
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'network.host is not allowed' ]]
}

@test "several images behind FROM and --from, built here and the registry's" {
    dockerfile 'FROM @' 'RUN echo one >/one'
    build -t part:one
    dockerfile 'FROM @' 'RUN echo two >/two'
    build -t part:two
    dockerfile 'FROM part:one' 'COPY --from=part:two /two /two' 'COPY --from=@ /bin/busybox /b' 'RUN cat /one /two'
    sed -i "s|@|$IMAGE|" Dockerfile
    build -t whole
    [ "$(docker run --rm whole cat /one /two)" = "one
two" ]
}

@test "--build-context: a directory, an image" {
    mkdir other
    echo from-other >other/file
    ln -s file other/link
    dockerfile 'FROM alias' 'COPY --from=more /link /link' 'COPY --from=more file /file'
    build -t contexts --build-context more=other --build-context "alias=docker-image://$IMAGE"
    [ "$(docker run --rm contexts cat /file /link)" = "from-other
from-other" ]
}

@test "FROM scratch with nothing but a file" {
    cp /bin/busybox .
    dockerfile 'FROM scratch' 'COPY busybox /busybox' 'ENTRYPOINT ["/busybox"]'
    build -t bare
    [ "$(docker run --rm bare echo hello)" = hello ]
}

@test "a git repository, a part of one, a ref that is not there" {
    git init -q -b main repo
    mkdir repo/sub
    printf 'FROM %s\nCOPY . /r\n' "$IMAGE" | tee repo/Dockerfile >repo/sub/Dockerfile
    echo tracked >repo/sub/tracked
    git -C repo add .
    git -C repo -c user.name=a -c user.email=a@b commit -qm one
    git clone -q --bare repo bare.git
    git -C bare.git update-server-info
    port=$(free_port)
    busybox httpd -f -p "127.0.0.1:$port" -h . 3>&- &
    server=$!
    for _ in $(seq 600); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
    status=0
    git init -q -b main other # as in a hook of git's, where another repository is meant
    GIT_DIR=$PWD/other/.git GIT_WORK_TREE=$PWD/other \
        docker build -q -t cloned "http://127.0.0.1:$port/bare.git#main:sub" || status=1
    run docker build "http://127.0.0.1:$port/bare.git#nope"
    missing=$status
    kill "$server"
    [ "$missing" -eq 1 ]
    [ -z "$(git -C other remote)" ]
    [ "$(docker run --rm cloned ls /r)" = "Dockerfile
tracked" ]
}

@test "a URL: a tar, a Dockerfile, nothing there" {
    mkdir www c
    printf 'FROM %s\nCOPY file /file\n' "$IMAGE" >c/Dockerfile
    echo fetched >c/file
    tar -C c -czf www/context.tar.gz .
    printf 'FROM %s\nRUN echo text >/file\n' "$IMAGE" >www/Dockerfile
    port=$(free_port)
    busybox httpd -f -p "127.0.0.1:$port" -h www 3>&- &
    server=$!
    for _ in $(seq 600); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
    first=0 second=0
    docker build -q -t fetched:1 "http://127.0.0.1:$port/context.tar.gz" || first=$?
    docker build -q -t fetched:2 "http://127.0.0.1:$port/Dockerfile" || second=$?
    run docker build "http://127.0.0.1:$port/nope"
    third=$status
    kill "$server"
    [ "$first$second$third" = 001 ]
    [ "$(docker run --rm fetched:1 cat /file)$(docker run --rm fetched:2 cat /file)" = fetchedtext ]
}

@test "the classic look" {
    dockerfile 'FROM @' 'RUN echo output' 'CMD ["x"]'
    export DOCKER_BUILDKIT=0
    docker build --no-cache -t classic . >out 2>err
    [ "$(grep Step out)" = "Step 1/3 : FROM $IMAGE
Step 2/3 : RUN echo output
Step 3/3 : CMD [\"x\"]" ]
    grep -qx output out
    grep -q '^Successfully built [0-9a-f]\{12\}$' out
    [ "$(tail -1 out)" = 'Successfully tagged classic:latest' ]
    dockerfile 'FROM @' 'RUN exit 7'
    run docker build .
    [ "$status" -eq 7 ]
    [[ $output == *"The command '/bin/sh -c exit 7' returned a non-zero code: 7" ]]
}

@test "rawjson is JSON, one document to a line" {
    dockerfile 'FROM @' 'RUN echo output-$((6 * 7))'
    docker build --no-cache --progress rawjson . 2>out
    python3 - <<'PY'
import base64, json
seen = [json.loads(line) for line in open("out")]
names = [v["name"] for s in seen for v in s.get("vertexes", [])]
assert any(n.startswith("[2/2] RUN echo") for n in names), names
logs = b"".join(base64.b64decode(l["data"]) for s in seen for l in s.get("logs", []))
assert b"output-42\n" in logs, logs
PY
}

@test "on a terminal: drawn, and text that a terminal would obey taken out" {
    dockerfile 'FROM @' 'RUN printf "\033[31mred\033]0;title\007\n"; sleep 0.3'
    docker build -q . >/dev/null
    script -qec "$ATP_BIN/atp-docker build --no-cache ." /dev/null >out
    grep -q '\[+\] Building' out
    grep -q 'FINISHED' out
    if grep -q $'\033]0;title' out; then return 1; fi
    dockerfile 'FROM @' 'RUN echo last-words; exit 4'
    script -qec "$ATP_BIN/atp-docker build --no-cache ." /dev/null >out || true
    tr -d '\r' <out | sed 's/.*\x1b\[?25h//' | grep -A20 '^------$' >end # nothing is drawn over it
    grep -q ' last-words$' end
    grep -q '^   2 | >>> RUN echo last-words' end
    grep -q '^ERROR: failed to solve' end
    if grep -q $'\033\\[31mred' out; then return 1; fi
}

@test "^C: nothing stays, nobody waits" {
    dockerfile 'FROM @' 'RUN sleep 100'
    "$ATP_BIN/atp-docker" build -t never . 2>err &
    pid=$!
    until_true 20 grep -q 'RUN sleep' err
    kill -INT "$pid" # a job in the background may ignore it: TERM does not
    kill -TERM "$pid" 2>/dev/null || true
    status=0
    wait "$pid" || status=$?
    [ "$status" -ge 130 ]
    [ -z "$(docker images -q never)" ]
}

@test "buildx: the same verb, its version, what it cannot" {
    dockerfile 'FROM @' 'RUN true'
    docker buildx build --load -t loaded .
    docker image inspect loaded >/dev/null
    docker builder build -q -t loaded .
    docker image build -q -t loaded .
    [[ $(docker buildx version) == 'github.com/docker/buildx v0.'* ]]
    run docker buildx nope
    [ "$status" -ne 0 ]
    PATH=/nowhere run "$ATP_BIN/atp-docker" buildx create --use
    [ "$status" -ne 0 ]
}

@test "another platform is refused without a real docker" {
    dockerfile 'FROM @'
    PATH=/nowhere run "$ATP_BIN/atp-docker" build --platform linux/arm64 .
    [ "$status" -eq 1 ]
    [[ $output == *'--platform linux/arm64 is refused by atp-docker'* ]]
    dockerfile 'FROM --platform=$BUILDPLATFORM @'
    docker build -q .
    dockerfile 'FROM @' 'FROM --platform=linux/arm64 @'
    run docker build .
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'line 2: platform linux/arm64 is not carried out'* ]]
}

@test "--output type=docker, and --metadata-file" {
    dockerfile 'FROM @' 'RUN echo archived >/file'
    docker build -q -t archived --output type=docker,dest=out.tar --metadata-file meta.json .
    tar -tf out.tar | grep -q manifest.json
    python3 -c 'import json; m = json.load(open("meta.json")); assert m["containerimage.config.digest"].startswith("sha256:"), m'
    docker rmi archived
    docker load -q -i out.tar
    [ "$(docker run --rm archived cat /file)" = archived ]
}

@test "--push: to the registry, and back" {
    dockerfile 'FROM @' 'RUN echo pushed >/file'
    docker build -q --push -t "$REGISTRY/pushed:1" .
    id=$(docker images -q --no-trunc "$REGISTRY/pushed:1")
    docker rmi "$REGISTRY/pushed:1"
    docker pull -q "$REGISTRY/pushed:1"
    [ "$(docker images -q --no-trunc "$REGISTRY/pushed:1")" = "$id" ]
}

@test "the cache can be measured and pruned" {
    dockerfile 'FROM @' 'RUN echo to-be-pruned >/file'
    id=$(build)
    docker buildx du | grep -q Reclaimable
    docker builder prune -f | grep -q 'Total reclaimed space'
    docker buildx prune -af | grep -q '^Total:'
    [ "$(docker run --rm "$id" cat /file)" = to-be-pruned ]
}

@test "--output: the files alone" {
    dockerfile 'FROM @ AS make' 'RUN mkdir /out /out/d; echo made >/out/made; ln -s ../made /out/d/link; chmod 750 /out/made' \
        'FROM scratch' 'COPY --from=make /out /'
    images=$(docker images -aq)
    docker build -q -o here .
    [ "$(cat here/made)$(readlink here/d/link)$(stat -c %a here/made)" = made../made750 ]
    docker build -q --output type=tar,dest=out.tar .
    [ "$(tar -tf out.tar 2>/dev/null | sort | tr '\n' ' ')" = 'd/ d/link made ' ]
    [ "$(docker build -o - . 2>/dev/null | tar -xOf - made 2>/dev/null)" = made ]
    [ "$(docker images -aq)" = "$images" ]
    run docker build --output type=oci,dest=x .
    [ "$status" -eq 1 ]
    [[ $output == *'is refused by atp-docker'* ]]
}

@test "a build that was killed leaves nothing that the next one does not remove" {
    dockerfile 'FROM @'
    mkfifo tube
    "$ATP_BIN/atp-docker" build - <tube 3>&- &
    pid=$!
    exec 4>tube
    tar -cf - Dockerfile | head -c 1024 >&4
    until_true 20 sh -c '[ -n "$(ls "$XDG_STATE_HOME/atp-docker/build")" ]'
    kill -9 "$pid"
    exec 4>&-
    [ -n "$(ls "$XDG_STATE_HOME/atp-docker/build")" ]
    tar -cf - Dockerfile | docker build -q -
}

@test "odd names travel as they are" {
    mkdir c
    touch "c/a b" c/$'new\nline' 'c/[x]' c/é c/$'\001' "c/$(printf 'x%.0s' $(seq 255))"
    dockerfile 'FROM @' 'COPY c /c' 'COPY ["c/a b", "/with blank/"]' 'COPY c/[[]x] /x/'
    docker build -q -t odd .
    [ "$(docker run --rm odd sh -c 'cd /c && for f in *; do printf %s/ "$f"; done' | sha256sum)" = \
        "$(cd c && LC_ALL=C && for f in *; do printf %s/ "$f"; done | sha256sum)" ]
    [ "$(docker run --rm odd ls '/with blank' /x | tr '\n' ' ')" = '/with blank: a b  /x: [x] ' ]
}

@test "an image that cannot be had: where the file asks for it" {
    printf 'FROM %s AS one\nFROM %s/nosuch:1\nRUN true\n' "$IMAGE" "$REGISTRY" >Dockerfile
    run docker build .
    [ "$status" -eq 1 ]
    [[ $output == *'   2 | >>> FROM '*'/nosuch:1'* ]]
    [[ ${lines[-1]} == "ERROR: failed to solve: $REGISTRY/nosuch:1: "*'not found'* ]]
    printf 'FROM BAD\n' >Dockerfile
    run docker build .
    [ "$status" -eq 1 ]
}

@test "a private image beside a public one: its registry alone is told who asks" {
    export DOCKER_CONFIG=$WORK/config
    mkdir -p private/data
    htpasswd -Bbn me secret >private/htpasswd
    cat >private/config.yml <<EOT
version: 0.1
storage: {filesystem: {rootdirectory: $WORK/private/data}, delete: {enabled: true}}
auth: {htpasswd: {realm: basic-realm, path: $WORK/private/htpasswd}}
http: {addr: "127.0.0.1:0"}
EOT
    registry_serve private/config.yml log
    port=$SERVED_PORT server=$SERVED_PID
    echo secret | docker login -u me --password-stdin "localhost:$port"
    dockerfile 'FROM @' 'RUN echo private >/p'
    docker build -q --push -t "localhost:$port/mine/p:1" .
    docker rmi -f "localhost:$port/mine/p:1"
    printf 'FROM localhost:%s/mine/p:1 AS a\nFROM %s\nCOPY --from=a /p /p\n' "$port" "$IMAGE" >Dockerfile
    first=0
    docker build -q -t mixed . || first=$?
    docker logout "localhost:$port"
    run docker build --pull --no-cache .
    kill "$server"
    [ "$first" -eq 0 ]
    [ "$(docker run --rm mixed cat /p)" = private ]
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *'no basic auth credentials'* ]]
}

@test "the size of a layer is that of its files" {
    dockerfile 'FROM @' 'COPY f /f' 'RUN echo 12345 >/g && ln /g /h && truncate -s 20000000 /sparse' 'RUN rm /h'
    printf abc >f
    docker build -q -t sized .
    [ "$(docker history --human=false --format '{{.Size}}' sized | head -3 | tr '\n' ' ')" = "0 20000006 3 " ]
    base=$(docker image inspect -f '{{.Size}}' "$IMAGE")
    [ "$(docker image inspect -f '{{.Size}}' sized)" = $((base + 20000009)) ]
}
