# Images as archives, there and back: by ourselves, by skopeo and by the real docker. What is kept of them on this machine
# is whole whatever is killed, and goes when no image needs it.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    export BLOBS=$XDG_STATE_HOME/atp-docker/blobs
}

teardown_file() {
    real_stop
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    docker image prune -af >/dev/null
    [ "$(kept)" = 0 ]
}

# How many blobs are kept.
kept() { find "$BLOBS/sha256" -type f 2>/dev/null | wc -l; }
config_of() { docker image inspect "$1" --format '{{.Id}}'; }
copy() { skopeo copy -q --insecure-policy "$@"; }

# The real docker, with a daemon of its own that the first test that needs it starts.
real() { "$(type -P docker)" -H "unix://$SUITE/real.sock" "$@"; }
real_start() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    type -P docker dockerd >/dev/null || skip "needs docker and dockerd"
    [ ! -S "$SUITE/real.sock" ] || return 0
    dockerd --bip 172.31.237.1/24 --data-root "$SUITE/real/data" --exec-root "$SUITE/real/exec" -H "unix://$SUITE/real.sock" \
        --pidfile "$SUITE/real.pid" >"$SUITE/real.log" 2>&1 3>&- &
    for _ in $(seq 300); do
        ! real version >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    cat "$SUITE/real.log"
    return 1
}
real_stop() {
    local pid
    pid=$(cat "$SUITE/real.pid" 2>/dev/null) || return 0
    kill "$pid"
    for _ in $(seq 300); do
        ! process_gone "$pid" || break
        sleep 0.1
    done
    umount -R "$SUITE"/real/* 2>/dev/null || true
}

# two.tar: two images of three layers, of which they share one, and one has a whiteout and an opaque folder.
two_images() {
    python3 - <<'PY'
import hashlib, io, json, tarfile
busybox = open('/bin/busybox', 'rb').read()

def layer(files):
    out = io.BytesIO()
    t = tarfile.open(fileobj=out, mode='w')
    for name, data in files:
        i = tarfile.TarInfo(name)
        if data is None:
            i.type, i.mode = tarfile.DIRTYPE, 0o755
            t.addfile(i)
        else:
            i.size, i.mode = len(data), 0o755
            t.addfile(i, io.BytesIO(data))
    t.close()
    return out.getvalue()

base = layer([('bin/', None), ('bin/busybox', busybox), ('d/', None), ('d/old', b'old'), ('gone', b'x')])
above = layer([('.wh.gone', b''), ('d/', None), ('d/.wh..wh..opq', b''), ('d/new', b'new')])
other = layer([('other', b'other')])
archive = tarfile.open('two.tar', 'w')
manifest = []

def put(name, data):
    i = tarfile.TarInfo(name)
    i.size = len(data)
    archive.addfile(i, io.BytesIO(data))

for n, l in enumerate((base, above, other)):
    put(f'{n}.tar', l)
for tag, layers in (('one:1', (base, above)), ('two:1', (base, other))):
    config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'created': '2024-01-02T03:04:05Z',
        'config': {'Cmd': ['/bin/busybox', 'ls', '/', '/d'], 'Labels': {'a "b" $c': 'd\\e'}, 'Env': ['PATH=/bin:/sbin', 'X=$HOME "q"'], 'WorkingDir': '/d'},
        'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(l).hexdigest() for l in layers]},
        'history': [{'created': '2024-01-02T03:04:05Z', 'created_by': 'layer'} for _ in layers]}).encode()
    put(tag[:3] + '.json', config)
    manifest.append({'Config': tag[:3] + '.json', 'RepoTags': [tag], 'Layers': [f'{(base, above, other).index(l)}.tar' for l in layers]})
put('manifest.json', json.dumps(manifest).encode())
archive.close()
PY
}

@test "saved and loaded: the same images, each layer once, the same bytes every time" {
    two_images
    run -0 docker load -i two.tar
    [ "$output" = $'Loaded image: one:1\nLoaded image: two:1' ]
    [ "$(kept)" = 3 ]
    one=$(config_of one:1) two=$(config_of two:1)
    docker save one:1 two:1 >a.tar
    docker save -o b.tar one:1 two:1
    cmp a.tar b.tar
    [ "$(stat -c %a b.tar)" = 600 ]
    [ "$(tar tf a.tar | sort | uniq -d)" = "" ]
    [ "$(tar tf a.tar | grep -c 'blobs/sha256/.')" = 7 ] # three layers, two configurations, two manifests
    docker rmi one:1 two:1
    [ "$(kept)" = 0 ]
    docker load <a.tar
    [ "$(config_of one:1)" = "$one" ]
    [ "$(config_of two:1)" = "$two" ]
    docker save one:1 two:1 | cmp - a.tar
    run -0 docker run --rm one:1
    [[ "$output" != *gone* && "$output" != *old* && "$output" == *new* ]]
    [ "$(docker run --rm two:1 /bin/busybox sh -c 'cat /gone /d/old; echo $X')" = 'xold$HOME "q"' ]
}

@test "compressed archives, and layouts: kept as they came" {
    docker rmi -f busybox:1 || true
    for tool in 'gzip -c' 'xz -0c' 'zstd -qc' 'bzip2 -c'; do
        $tool "$SUITE/busybox.tar" >packed
        run -0 docker load -q -i packed
        [ "$output" = "Loaded image: busybox:1" ]
        docker rmi busybox:1
        [ "$(kept)" = 0 ]
    done
    copy docker-archive:"$SUITE/busybox.tar" oci-archive:oci.tar:lay:1
    docker load -i oci.tar
    docker save lay:1 -o saved.tar
    mkdir layout
    tar xf saved.tar -C layout
    tar xOf oci.tar index.json | jq -r .manifests[0].digest >want
    jq -r .manifests[0].digest layout/index.json | cmp - want
    [ "$(skopeo inspect --format '{{.Digest}}' oci:layout)" = "$(cat want)" ]
    docker tag lay:1 "$REGISTRY/lay:1"
    docker push -q "$REGISTRY/lay:1"
    [ "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/lay:1")" = "$(cat want)" ]
    copy --format oci --dest-compress-format zstd docker-archive:"$SUITE/busybox.tar" oci-archive:zstd.tar:zs:1
    tar xf zstd.tar --wildcards 'blobs/*' --to-command 'head -c 4 | od -An -tx1' | grep -q '28 b5 2f fd'
    docker load -i zstd.tar
    [ "$(docker run --rm zs:1 echo zstd)" = zstd ]
    docker save zs:1 | docker load
}

@test "what is built on a loaded image starts from its configuration" {
    two_images
    docker load -i two.tar
    printf 'FROM two:1\nRUN ["/bin/busybox","sh","-c","echo \\"$X\\" >/x"]\nLABEL more=1\n' >Dockerfile
    docker build -q -t built:1 .
    [ "$(docker run --rm built:1 /bin/busybox cat /x)" = '$HOME "q"' ]
    [ "$(docker image inspect built:1 --format '{{json .Config.Env}}{{json .Config.Cmd}}{{.Config.WorkingDir}}')" = \
        "$(docker image inspect two:1 --format '{{json .Config.Env}}{{json .Config.Cmd}}{{.Config.WorkingDir}}')" ]
    [ "$(docker image inspect built:1 --format '{{json .Config.Labels}}')" = '{"a \"b\" $c":"d\\e","more":"1"}' ]
}

@test "a layer that comes in two forms is kept in the first, and both images can be saved" {
    docker load -i "$SUITE/busybox.tar"
    docker save busybox:1 >before.tar
    copy docker-archive:"$SUITE/busybox.tar" oci-archive:oci.tar:lay:1
    docker load -i oci.tar
    docker save busybox:1 | cmp - before.tar
    docker rmi busybox:1
    docker save lay:1 | docker load
}

@test "by name, by id, by repository" {
    docker load -i "$SUITE/busybox.tar"
    docker tag busybox:1 busybox:2
    docker tag busybox:1 other:3
    id=$(config_of busybox:1)
    docker save busybox | tar xO manifest.json | jq -c '.[0].RepoTags' | grep -Fx '["busybox:1","busybox:2"]'
    docker save "${id#sha256:}" | tar xO manifest.json | jq -c '.[0].RepoTags' | grep -Fx null
    docker save "$(docker images -q other)" other:3 | tar xO manifest.json | jq -c '[.[].RepoTags]' | grep -Fx '[["other:3"]]'
    docker save other:3 | tar xO repositories | jq -e '.other["3"]'
    docker rmi -f "$id"
    docker pull -q "$IMAGE"
    docker save "$IMAGE" >pulled.tar # what a registry has
    docker load <pulled.tar
    docker save "$IMAGE" | cmp - pulled.tar
}

@test "refused as docker does" {
    docker load -i "$SUITE/busybox.tar"
    run -1 docker save nosuch
    [ "$output" = "Error response from daemon: No such image: nosuch" ]
    run -1 docker save nosuch:1
    [ "$output" = "Error response from daemon: reference does not exist" ]
    run -1 docker save -o "$WORK/no/x.tar" busybox:1
    [ "$output" = "failed to save image: invalid output path: stat $WORK/no: no such file or directory" ]
    run -1 docker save -o . busybox:1
    [ "$output" = "failed to save image: cannot write to a directory" ]
    ln -s x link
    run -1 docker save -o link busybox:1
    [ "$output" = "failed to save image: cannot write to a symbolic link directly" ]
    run -1 script -qec "$ATP_BIN/atp-docker save busybox:1" /dev/null
    [[ "$output" == *"cowardly refusing to save to a terminal. Use the -o flag or redirect"* ]]
    run -1 docker save -o out.tar busybox:1 nosuch:1
    [ ! -e out.tar ]
    [ -z "$(find . -name '.tmp-*')" ]
    run -1 docker save --platform linux/arm64 busybox:1
}

@test "what an archive says does not speak to the terminal" {
    printf '[{"Config":"\\u001b[31mred","Layers":[]}]' >manifest.json
    tar -cf bad.tar manifest.json
    run docker load -i bad.tar
    [ "$status" -eq 1 ]
    [[ $output == *'?[31mred'* ]]
    [[ $output != *$'\e'* ]]
}

@test "no room, and a reader that goes: said, and nothing is left" {
    docker load -i "$SUITE/busybox.tar"
    run ! bash -c "'$ATP_BIN/atp-docker' save busybox:1 >/dev/full"
    [[ "$output" == *"No space left on device"* ]]
    run ! bash -c "ulimit -f 100; trap '' XFSZ; '$ATP_BIN/atp-docker' save -o out.tar busybox:1"
    [ ! -e out.tar ]
    [ -z "$(find . -name '.tmp-*')" ]
    docker save busybox:1 | head -c 1000 >/dev/null
}

@test "a layer that was damaged here is not given out, and comes back whole" {
    docker load -i "$SUITE/busybox.tar"
    blob=$(find "$BLOBS/sha256" -type f -size +100k)
    printf x | dd of="$blob" bs=1 seek=1000 conv=notrunc status=none
    run -1 docker save -o out.tar busybox:1
    [ ! -e out.tar ]
    docker load -i "$SUITE/busybox.tar"
    docker save busybox:1 | docker load
}

@test "loads that are killed at any moment leave nothing that stays" {
    two_images
    for n in $(seq 12); do
        "$ATP_BIN/atp-docker" load -q -i two.tar >/dev/null 2>&1 3>&- &
        sleep "0.0$((n * 7 % 10))"
        kill -9 $! 2>/dev/null || true
        wait $! 2>/dev/null || true
    done
    docker load -i two.tar
    docker save one:1 two:1 >/dev/null
    [ -z "$(find "$XDG_STATE_HOME/atp-docker" -maxdepth 1 -name 'atp-archive-*')" ]
    [ -z "$(find "$BLOBS/tmp" -type f)" ]
    docker rmi one:1 two:1
    docker image prune -f
    [ "$(kept)" = 0 ]
}

@test "what is being loaded is not swept by who removes another image" {
    two_images
    docker load -qi two.tar
    for n in $(seq 8); do
        docker tag one:1 "spare:$n"
        docker load -qi "$SUITE/busybox.tar" &
        docker rmi -f two:1 >/dev/null
        wait $!
        docker save busybox:1 >/dev/null
        docker load -qi two.tar >/dev/null
    done
}

@test "the real docker loads what we save, and we what it saves" {
    real_start
    two_images
    docker load -i two.tar
    id=$(config_of one:1)
    docker save one:1 two:1 | real load
    [ "$(real image inspect one:1 --format '{{.Id}}')" = "$id" ]
    run -0 real run --rm --network none one:1
    [[ "$output" != *gone* && "$output" != *old* && "$output" == *new* ]]
    docker rmi one:1 two:1
    real save one:1 two:1 | docker load
    [ "$(config_of one:1)" = "$id" ]
    run -0 docker run --rm one:1
    [[ "$output" != *gone* && "$output" != *old* && "$output" == *new* ]]
    copy docker-archive:"$SUITE/busybox.tar" oci-archive:oci.tar:lay:1
    docker load -i oci.tar
    docker save lay:1 | real load # its layers are compressed
    [ "$(real image inspect lay:1 --format '{{.Id}}')" = "$(config_of lay:1)" ]
}

@test "import: from a file, from stdin and from a server, with changes" {
    mkdir -p tree/bin web
    cp /bin/busybox tree/bin
    tar -C tree -czf web/tree.tar.gz .
    run -0 docker import -m said -c 'CMD ["/bin/busybox","echo","im"]' -c 'LABEL a=b' web/tree.tar.gz im:1
    [ "$output" = "$(config_of im:1)" ]
    [ "$(docker run --rm im:1)" = im ]
    [ "$(docker image inspect im:1 --format '{{.Comment}} {{.Config.Labels.a}}')" = "said b" ]
    docker save im:1 | docker load
    docker import - <web/tree.tar.gz
    port=$(free_port)
    python3 -m http.server --bind 127.0.0.1 --directory web "$port" >/dev/null 2>&1 3>&- &
    server=$!
    for _ in $(seq 600); do
        ! (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
        sleep 0.1
    done
    run -0 docker import "http://127.0.0.1:$port/tree.tar.gz" im:2
    [ "${lines[0]}" = "Downloading from http://127.0.0.1:$port/tree.tar.gz" ]
    [ "${lines[1]}" = "$(config_of im:2)" ]
    [ "$(docker image inspect im:2 --format '{{.Comment}}')" = "Imported from http://127.0.0.1:$port/tree.tar.gz" ]
    run -1 docker import "http://127.0.0.1:$port/nosuch" im:3
    kill "$server"
    [[ "$output" == *"failed to GET http://127.0.0.1:$port/nosuch with status 404"* ]]
    run -1 docker import -c 'RUN x' web/tree.tar.gz
    [[ "$output" == *"not a valid change command"* ]]
}
