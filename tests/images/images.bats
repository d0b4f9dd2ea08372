#!/usr/bin/env bats
# The image store, the registry client and the archive reader against a real docker-registry, with images made by hand,
# by umoci and by skopeo. Needs root: layers hold owners, devices and overlay's own marks.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
. "$ROOT/tests/lib/images.sh"

setup_file() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    export TOOL=${ATP_TESTS:-$ROOT/build/tests}/image_store
    export SUITE=$(mktemp -d /tmp/atp-images-XXXXXX)
    registry_start "$SUITE/registry" 3>&-
    export REGISTRY REGISTRY_PID
    image_busybox "$SUITE/bb.tar" bb:1 '{"Entrypoint":["/bin/false"],"Cmd":["x"],"Env":["PATH=/bin","A=b"],"WorkingDir":"/home","User":"user"}'
    registry_push "$SUITE/bb.tar" bb:1
    layered_layout "$SUITE/layout"
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false "oci:$SUITE/layout:multi" "docker://$REGISTRY/multi:1"
}

teardown_file() {
    registry_stop
    [ -z "${SUITE:-}" ] || rm -rf "$SUITE"
}

setup() {
    STORE=$(mktemp -d "$SUITE/store-XXXXXX")
}

store() {
    TMPDIR=$SUITE timeout 60 "$TOOL" "$@"
}

kept() {
    TMPDIR=$SUITE timeout 60 "${TOOL%/*}/image_kept" "$@"
}

# A value of a line that the tool printed: "value id", "value layer".
value() {
    printf '%s\n' "$output" | sed -n "s/^$1 //p"
}

# What the built image shows, by a real overlay mount; the mount is undone at once.
inside() {
    local lowers at=$SUITE/at status=0
    lowers=$(printf '%s\n' "$output" | sed -n 's/^layer //p' | paste -sd:)
    mkdir -p "$at" "$SUITE/empty"
    mount -t overlay overlay -o "lowerdir=$lowers:$SUITE/empty" "$at"
    (cd "$at" && eval "$1") || status=$?
    umount "$at"
    return $status
}

# Three layers: a base, one with whiteouts and an opaque directory, one with links, modes, a capability and devices.
layered_layout() {
    local layout=$1 work
    work=$(mktemp -d)
    umoci init --layout "$layout"
    umoci new --image "$layout:multi"
    mkdir -p "$work/1/keep" "$work/1/gone" "$work/1/opaque" "$work/1/lib" "$work/2/opaque" "$work/3/d"
    echo one >"$work/1/keep/f"; echo x >"$work/1/gone/f"; echo old >"$work/1/opaque/old"; echo y >"$work/1/file"
    ln -s lib "$work/1/lib64"; chmod 1777 "$work/1/keep"
    : >"$work/2/.wh.gone"; : >"$work/2/.wh.file"; : >"$work/2/opaque/.wh..wh..opq"; echo new >"$work/2/opaque/new"
    echo linked >"$work/3/d/a"; ln "$work/3/d/a" "$work/3/d/b"; ln -s ../../../../etc/passwd "$work/3/d/out"
    touch -d 2001-02-03T04:05:06Z "$work/3/d/a"; chown 12:34 "$work/3/d/a"; chmod 4750 "$work/3/d/a"
    mknod "$work/3/d/null" c 1 3; mkfifo "$work/3/d/fifo"; printf 'n' >"$work/3/d/$(printf 'new\nline')"
    cp /bin/true "$work/3/d/cap"; setcap cap_net_raw+ep "$work/3/d/cap" 2>/dev/null || true
    touch -d 1999-01-01T00:00:00Z "$work/3/d"
    for i in 1 2 3; do
        tar -C "$work/$i" --xattrs --xattrs-include='*' --numeric-owner -cf "$work/$i.tar" .
        umoci raw add-layer --image "$layout:multi" "$work/$i.tar"
    done
    umoci config --image "$layout:multi" --config.cmd /bin/x --config.env K=V --architecture amd64 --os linux
    rm -rf "$work"
}

@test "a tag: the configuration, and the manifest's own digest" {
    run store config "$REGISTRY/bb:1"
    [ "$status" -eq 0 ]
    [ "$(value digest)" = "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/bb:1")" ]
    [[ "$(value json)" == *'"Entrypoint":["/bin/false"]'* ]]
}

@test "a tag is built into layers and a configuration" {
    run store build "$STORE" "FROM $REGISTRY/bb:1"
    [ "$status" -eq 0 ]
    [ "$(value entrypoint)" = "[/bin/false]" ]
    [ "$(value env)" = "[PATH=/bin] [A=b]" ]
    [ "$(value workdir)/$(value user)" = "/home/user" ]
    inside '[ -x bin/busybox ] && [ "$(stat -c %a tmp)" = 1777 ] && [ "$(stat -c %u home/user)" = 1000 ]'
}

@test "by digest, and a digest that is not there" {
    run store config "$REGISTRY/bb:1"
    digest=$(value digest)
    run store build "$STORE" "FROM $REGISTRY/bb@$digest"
    [ "$status" -eq 0 ]
    run store build "$STORE" "FROM $REGISTRY/bb@sha256:$(printf x | sha256sum | cut -c1-64)"
    [ "$status" -eq 2 ]
    [[ "$(value failed)" == "manifest for $REGISTRY/bb@sha256:"*" not found: manifest unknown: manifest unknown" ]]
}

@test "whiteouts, opaque directories, links, owners, modes, times, devices" {
    run store build "$STORE" "FROM $REGISTRY/multi:1"
    [ "$status" -eq 0 ]
    [ "$(printf '%s\n' "$output" | grep -c '^layer ')" -eq 3 ]
    inside '[ ! -e gone ] && [ ! -e file ] && [ "$(ls opaque)" = new ] && [ "$(cat keep/f)" = one ]'
    inside '[ "$(stat -c %a:%u:%g:%h d/a)" = 4750:12:34:2 ] && [ "$(stat -c %Y d/a)" = "$(date -d 2001-02-03T04:05:06Z +%s)" ]'
    inside '[ d/a -ef d/b ] && [ "$(readlink d/out)" = ../../../../etc/passwd ] && [ -p d/fifo ] && [ "$(stat -c %t:%T d/null)" = 1:3 ]'
    inside '[ "$(stat -c %a keep)" = 1777 ] && [ "$(stat -c %Y d)" = "$(date -d 1999-01-01T00:00:00Z +%s)" ] && [ "$(ls d | wc -l)" -eq 8 ]'
    inside 'getcap d/cap 2>/dev/null | grep -q cap_net_raw || [ -z "$(command -v getcap)" ]'
}

@test "zstd layers and an index" {
    skopeo copy --quiet --insecure-policy "oci:$SUITE/layout:multi" "docker-archive:$SUITE/plain.tar:multi:1"
    skopeo copy --quiet --insecure-policy --format oci --dest-compress --dest-compress-format zstd "docker-archive:$SUITE/plain.tar" "oci:$SUITE/zstd:1"
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false --preserve-digests "oci:$SUITE/zstd:1" "docker://$REGISTRY/zstd:1"
    rm "$SUITE/plain.tar"
    manifest=$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/zstd:1")
    [[ "$manifest" == *zstd* ]]
    size=$(printf %s "$manifest" | wc -c)
    digest=sha256:$(printf %s "$manifest" | sha256sum | cut -c1-64)
    index='{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
    index+='{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:'$(printf y | sha256sum | cut -c1-64)'","size":7,"platform":{"os":"linux","architecture":"s390x"}},'
    index+='{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"'$digest'","size":'$size',"platform":{"os":"linux","architecture":"amd64"}}]}'
    dir=$SUITE/registry/data/docker/registry/v2/repositories/zstd/_manifests
    hex=$(printf %s "$index" | sha256sum | cut -c1-64)
    mkdir -p "$dir/revisions/sha256/$hex" "$dir/tags/idx/current" "$SUITE/registry/data/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex"
    printf %s "$index" >"$SUITE/registry/data/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex/data"
    printf 'sha256:%s' "$hex" | tee "$dir/revisions/sha256/$hex/link" >"$dir/tags/idx/current/link"
    run store config "$REGISTRY/zstd:idx"
    [ "$status" -eq 0 ]
    [ "$(value digest)" = "sha256:$hex" ]
    [ "$(value manifest)" = "$digest" ]
    run store build "$STORE" "FROM $REGISTRY/zstd:idx"
    [ "$status" -eq 0 ]
    inside '[ ! -e gone ] && [ d/a -ef d/b ]'
    run store -P linux/arm64 config "$REGISTRY/zstd:idx"
    [ "$status" -eq 1 ]
    [ "$output" = "error: no matching manifest for linux/arm64 in the manifest list entries" ]
}

@test "a damaged layer and a cut one are refused, and nothing half-made stays" {
    registry_push "$SUITE/bb.tar" damaged:1
    run store config "$REGISTRY/damaged:1"
    hex=$(value layer | sed 's/sha256:\([0-9a-f]*\).*/\1/')
    data=$SUITE/registry/data/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex/data
    cp "$data" "$SUITE/whole"
    printf 'XXXX' | dd of="$data" bs=1 seek=5000 conv=notrunc status=none
    run store build "$STORE" "FROM $REGISTRY/damaged:1"
    damaged=$(value failed)
    truncate -s 5000 "$data"
    run store build "$STORE" "FROM $REGISTRY/damaged:1"
    cut=$(value failed)
    cp "$SUITE/whole" "$data"
    [ "$damaged" = "filesystem layer verification failed for digest sha256:$hex" ]
    [[ "$cut" == *"sha256:$hex"* ]]
    [ -z "$(ls "$STORE/l" "$STORE/tmp" | grep -v :)" ]
    run store build "$STORE" "FROM $REGISTRY/damaged:1"
    [ "$status" -eq 0 ]
}

@test "unknown names, nobody there, no such host, bad reference" {
    run store build "$STORE" "FROM $REGISTRY/nothing:1"
    [ "$(value failed)" = "manifest for $REGISTRY/nothing:1 not found: manifest unknown: manifest unknown" ]
    run store build "$STORE" "FROM 127.0.0.1:1/x:1"
    [[ "$(value failed)" == *"dial tcp 127.0.0.1:1: connect: connection refused" ]]
    run store build "$STORE" "FROM nohost.invalid/x:1"
    [[ "$(value failed)" == *"lookup nohost.invalid: no such host" ]]
    run store build "$STORE" "FROM x/UPPER"
    [[ "$(value failed)" == *"invalid reference format"* ]]
}

@test "a registry with passwords" {
    dir=$SUITE/locked
    mkdir -p "$dir"
    printf 'me:%s\n' "$(perl -e 'print crypt("open sesame", "\$2y\$05\$abcdefghijklmnopqrstuu")')" >"$dir/htpasswd"
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nauth: {htpasswd: {realm: r, path: %s}}\nhttp: {addr: "127.0.0.1:0"}\n' \
        "$dir/data" "$dir/htpasswd" >"$dir/config.yml"
    registry_serve "$dir/config.yml" "$dir/log"
    port=$SERVED_PORT pid=$SERVED_PID
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false --dest-creds 'me:open sesame' "docker-archive:$SUITE/bb.tar" "docker://localhost:$port/bb:1"
    run store config "localhost:$port/bb:1"; none=$output
    run store -u me -p wrong config "localhost:$port/bb:1"; wrong=$output
    run store -u me -p 'open sesame' build "$STORE" "FROM localhost:$port/bb:1"; right=$status
    mkdir -p "$dir/docker"
    printf '{"auths":{"localhost:%s":{"auth":"%s"}}}' "$port" "$(printf 'me:open sesame' | base64)" >"$dir/docker/config.json"
    run store -d "$dir/docker" config "localhost:$port/bb:1"; file=$status
    printf '#!/bin/sh\nread s; [ "$1 $s" = "get localhost:%s" ] && echo "{\\"Username\\":\\"me\\",\\"Secret\\":\\"open sesame\\"}"\n' "$port" >"$dir/docker-credential-test"
    chmod +x "$dir/docker-credential-test"
    printf '{"credHelpers":{"localhost:%s":"test"}}' "$port" >"$dir/docker/config.json"
    PATH=$dir:$PATH run store -d "$dir/docker" config "localhost:$port/bb:1"; helper=$status
    run store -m "docker.io=localhost:$port" -u me -p 'open sesame' config bb:1; mirror=$output
    kill "$pid"
    [[ "$none" == *"no basic auth credentials" ]]
    [[ "$wrong" == *"unauthorized: authentication required"* && "$wrong" != *wrong* ]]
    [ "$right $file $helper" = "0 0 0" ]
    [[ "$mirror" == *"no basic auth credentials" ]]
}

@test "a mirror stands for the registry that it is named for" {
    registry_push "$SUITE/bb.tar" library/bb:1
    run store -m "docker.io=$REGISTRY" build "$STORE" "FROM bb:1"
    [ "$status" -eq 0 ]
    run store -m "docker.io=$REGISTRY" build "$STORE" "FROM bb:2"
    [ "$(value failed)" = "manifest for bb:2 not found: manifest unknown: manifest unknown" ]
}

@test "equal builds at once are one build; later ones are known; force makes a new one" {
    run store -n 3 build "$STORE" "FROM $REGISTRY/bb:1"
    [ "$(value id | sort -u | wc -l)" -eq 1 ]
    [ "$(value log | grep -c 'Pulling fs layer')" -eq 1 ]
    id=$(value ready)
    run store build "$STORE" "FROM $REGISTRY/bb:1"
    [ "$(value ready)" = "$id" ]
    [ -z "$(value log)" ]
    run store -f build "$STORE" "FROM $REGISTRY/bb:1"
    [ "$(value ready)" != "$id" ]
    [[ "$(value log)" == *"Already exists"* ]]
}

@test "COPY: directories, patterns, owners, modes, links of the base" {
    ctx=$(mktemp -d "$SUITE/ctx-XXXXXX")
    mkdir -p "$ctx/src/deep" "$ctx/lib64"
    echo a >"$ctx/src/a.c"; echo b >"$ctx/src/deep/b.c"; echo m >"$ctx/Makefile"; echo so >"$ctx/lib64/so"; chmod 755 "$ctx/src/a.c"
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/multi:1" 'WORKDIR /w' 'COPY src out' 'COPY Makefile src/*.c files/' \
        'COPY --chown=7:8 --chmod=0600 Makefile /own' 'COPY lib64/so /lib64/' 'COPY . /all/' 'ENV V=/var/x' 'COPY Makefile $V/'
    [ "$status" -eq 0 ]
    inside '[ "$(cat w/out/a.c w/out/deep/b.c)" = "$(printf "a\nb")" ] && [ "$(stat -c %a w/out/a.c)" = 755 ]'
    inside '[ "$(ls w/files | paste -sd,)" = Makefile,a.c ] && [ "$(stat -c %u:%g:%a own)" = 7:8:600 ]'
    inside '[ -L lib64 ] && [ "$(cat lib/so)" = so ] && [ -f all/src/deep/b.c ] && [ -f var/x/Makefile ]'
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/multi:1" '' 'COPY nothing /'
    [ "$status" -eq 2 ]
    [ "$(value failed)" = 'failed to compute cache key: failed to calculate checksum of the build context: "/nothing": not found' ]
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/bb:1" 'COPY --chown=user:staff Makefile /x' 'COPY --chown=1000 Makefile /y'
    [ "$status" -eq 0 ]
    inside '[ "$(stat -c %u:%g x y)" = "$(printf "1000:50\n1000:1000")" ]'
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/bb:1" 'COPY --chown=stranger Makefile /x'
    [ "$(value failed)" = "unable to find user stranger: no matching entries in passwd file" ]
}

@test "ADD unpacks archives, whiteout names stay files, and hostile ones stay inside" {
    ctx=$(mktemp -d "$SUITE/ctx-XXXXXX")
    work=$(mktemp -d "$SUITE/work-XXXXXX")
    mkdir "$work/t"; echo z >"$work/t/z"; : >"$work/t/.wh.bin"
    for c in "" z J j -zstd; do
        tar -C "$work" ${c:+$([ "$c" = -zstd ] && echo --zstd || echo "-$c")} -cf "$ctx/t$c.tar" t
    done
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/bb:1" 'ADD t.tar /0' 'ADD tz.tar /1/' 'ADD tJ.tar /2' 'ADD tj.tar /3' 'ADD t-zstd.tar /4' 'COPY t.tar /5'
    [ "$status" -eq 0 ]
    inside '[ "$(cat 0/t/z 1/t/z 2/t/z 3/t/z 4/t/z | paste -sd,)" = z,z,z,z,z ] && [ -f 0/t/.wh.bin ] && [ -f 5 ] && [ -d bin ]'
    for name in ../up /../../abs; do
        tar -C "$work" -P --transform "s,^t/z,$name," -cf "$ctx/h.tar" t/z
        run store -c "$ctx" build "$STORE" "FROM $REGISTRY/bb:1" 'ADD h.tar /'
        [ ! -e "$STORE/up" ] && [ ! -e /abs ] && [ ! -e "$STORE/l/up" ]
    done
    ln -s "$SUITE" "$work/evil"; mkdir "$work/x"; echo pwned >"$work/x/pwned"
    tar -C "$work" -cf "$ctx/h.tar" evil
    tar -C "$work" --transform 's,^x,evil,' -rf "$ctx/h.tar" x/pwned
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/bb:1" 'ADD h.tar /'
    [ ! -e "$SUITE/pwned" ]
    inside "[ -f .$SUITE/pwned ]"
}

@test "lines that change the configuration only" {
    run store -a WHO=me -a UNUSED=1 build "$STORE" '# escape=`' 'ARG V=1' "FROM $REGISTRY/bb:\`" '${V}' 'ARG WHO' 'ENV X=${WHO:-you}`' ' Y="a b" Z=$A' \
        'LABEL a=b "c d"=e' 'EXPOSE 80 53/udp 7000-7001' 'VOLUME ["/data", "/x y"]' 'USER 5:6' 'STOPSIGNAL SIGUSR1' 'CMD echo $X' 'ENTRYPOINT ["/e", "1"]' 'WORKDIR rel' 'WORKDIR ../up'
    [ "$status" -eq 0 ]
    [ "$(value env)" = "[PATH=/bin] [A=b] [X=me] [Y=a b] [Z=b]" ]
    [ "$(value cmd)$(value entrypoint)" = '[/bin/sh] [-c] [echo $X][/e] [1]' ]
    [ "$(value user) $(value workdir)" = "5:6 /home/up" ]
    [[ "$(value oci)" == *'"7000/tcp":{}'*'"7001/tcp":{}'* && "$(value oci)" == *'"c d":"e"'* && "$(value oci)" == *'"/x y":{}'* ]]
    [[ "$(value log)" == *"build-args [UNUSED] were not consumed"* ]]
    inside '[ -d home/up ] && [ -d home/rel ]'
}

@test "what is not carried out is refused" {
    run store build "$STORE" 'FROM scratch' '' 'RUN make'
    [ "$(value failed)" = "RUN cannot be carried out here: there is no container runtime" ]
    run store build "$STORE" 'FROM 127.0.0.1:1/x' 'FORM y'
    [ "$(value failed)" = "dockerfile parse error on line 2: unknown instruction: FORM (did you mean FROM?)" ]
    run store build "$STORE" 'FROM scratch' 'ADD https://127.0.0.1:1/x.git /'
    [[ "$(value failed)" == "ADD of a git repository (https://127.0.0.1:1/x.git) is not supported"* ]]
    run store build "$STORE" 'FROM scratch' 'ENV a=b c'
    [[ "$(value failed)" == *"Syntax error - can't find = in \"c\". Must be of the form: name=value" ]]
}

@test "scratch, base, delete: layers go when nobody stands on them" {
    ctx=$(mktemp -d "$SUITE/ctx-XXXXXX"); echo 1 >"$ctx/one"
    run store build "$STORE" 'FROM scratch'
    [ "$status" -eq 0 ]; [ "$(printf '%s\n' "$output" | grep -c '^layer ')" -eq 1 ]
    empty=$(value ready)
    run store build "$STORE" "FROM $REGISTRY/bb:1"; base=$(value ready)
    run store -b "$base" -c "$ctx" build "$STORE" 'FROM base' 'COPY one /'; top=$(value ready)
    [ "$(printf '%s\n' "$output" | grep -c '^layer ')" -eq 2 ]
    run store tag "$STORE" "$top" app:1
    run store list "$STORE"
    [ "$output" = "tag app:1 $top" ]
    store delete "$STORE" "$base"; store delete "$STORE" "$empty"
    run store show "$STORE" "$top"
    [ "$status" -eq 0 ]; inside '[ "$(cat one)" = 1 ] && [ -x bin/busybox ]'
    store delete "$STORE" "$top"; run store list "$STORE"
    [ -z "$output" ]
    kept sweep "$STORE"
    [ "$(ls "$STORE/l" | wc -l)" -eq 2 ] # the layer of COPY is build cache, and stands on the other
    kept prune "$STORE"
    [ -z "$(ls "$STORE/l")" ]; [ -z "$(find "$STORE/blobs" -type f)" ]
    run store delete "$STORE" "$top"
    [ "$output" = "error: image $top not found" ]
}

@test "a crash leaves nothing that counts" {
    mkdir -p "$STORE/tmp/half/f" "$STORE/l/0123456789abcdef0123/f"; echo x >"$STORE/tmp/half/f/x"
    run kept sweep "$STORE"
    [ "$status" -eq 0 ]
    [ -z "$(ls "$STORE/l")" ]; [ ! -e "$STORE/tmp/half" ]
}

@test "archives: docker save, oci layout, compressed, merged when a layer takes away" {
    skopeo copy --quiet --insecure-policy "oci:$SUITE/layout:multi" "docker-archive:$SUITE/multi.tar:multi:9"
    skopeo copy --quiet --insecure-policy "oci:$SUITE/layout:multi" "oci-archive:$SUITE/oci.tar:localhost/multi:9"
    gzip -k "$SUITE/multi.tar"
    for file in multi.tar oci.tar multi.tar.gz; do
        out=$(mktemp -d "$SUITE/out-XXXXXX")
        run store archive "$SUITE/$file" "$out"
        [ "$status" -eq 0 ]
        [[ "$(value tags)" == *multi:9] ]]
        [ "$(ls "$out")" = 0-0.tar ]
        mkdir "$out/x"; tar -C "$out/x" -xpf "$out/0-0.tar" --numeric-owner
        [ ! -e "$out/x/gone" ] && [ ! -e "$out/x/file" ] && [ "$(ls "$out/x/opaque")" = new ]
        [ "$(stat -c %a:%u:%g:%h "$out/x/d/a")" = 4750:12:34:2 ] && [ "$out/x/d/a" -ef "$out/x/d/b" ]
        [ -z "$(find "$out/x" -name '.wh.*')" ]
    done
    out=$(mktemp -d "$SUITE/out-XXXXXX")
    run store archive "$SUITE/bb.tar" "$out"
    [ "$(value tags)" = "[bb:1]" ]
    mkdir "$out/c"; cp "$out/0-0.tar" "$out/c/layer.tar"
    run store -c "$out/c" build "$STORE" 'FROM scratch' 'ADD layer.tar /' 'CMD ["sh"]'
    [ "$status" -eq 0 ]
    inside '[ "$(readlink bin/sh)" = busybox ] && [ "$(stat -c %a tmp)" = 1777 ] && [ "$(stat -c %u home/user)" = 1000 ]'
}

@test "archives that are none" {
    printf 'not a tar at all, and long enough to be looked at' >"$SUITE/bad"; run store archive "$SUITE/bad"
    [ "$output" = "error: archive/tar: invalid tar header" ]
    : >"$SUITE/bad"; run store archive "$SUITE/bad"
    [ "$output" = "error: open repositories: no such file or directory" ]
    tar -C "$SUITE" -cf "$SUITE/plain.tar" bb.tar; run store archive "$SUITE/plain.tar"
    [ "$output" = "error: open repositories: no such file or directory" ]
    head -c 300000 "$SUITE/bb.tar" >"$SUITE/bad"; run store archive "$SUITE/bad"
    [ "$output" = "error: unexpected EOF" ]
    gzip -c "$SUITE/bb.tar" | head -c 300000 >"$SUITE/bad"; run store archive "$SUITE/bad"
    [ "$output" = "error: unexpected EOF" ]
    run store import "$SUITE/plain.tar" "$SUITE/imported"; [ "$status" -eq 0 ]
    cmp "$SUITE/plain.tar" "$SUITE/imported"
    run store import "$SUITE/bad" "$SUITE/imported"; [ "$output" = "error: unexpected EOF" ]; [ ! -e "$SUITE/imported" ]
    [ -z "$(ls -d "$SUITE"/atp-archive-* 2>/dev/null)" ]
}
