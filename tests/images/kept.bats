#!/usr/bin/env bats
# What the image store keeps, so that it can give images back: a registry's blobs byte for byte, built layers as tars
# that other programs take; what is fetched once however many want it; what stays and what goes. Needs root.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
. "$ROOT/tests/lib/images.sh"

setup_file() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    export TOOLS=${ATP_TESTS:-$ROOT/build/tests}
    export SUITE=$(mktemp -d /tmp/atp-kept-XXXXXX)
    registry_start "$SUITE/registry" '{level: info}' # with a line for each request
    export REGISTRY REGISTRY_PID
    make_images
}

teardown_file() {
    registry_stop
    [ -z "${SUITE:-}" ] || rm -rf "$SUITE"
}

setup() {
    STORE=$(mktemp -d "$SUITE/store-XXXXXX")
}

kept() {
    TMPDIR=$SUITE timeout 120 "$TOOLS/image_kept" "$@"
}

store() {
    TMPDIR=$SUITE timeout 120 "$TOOLS/image_store" "$@"
}

value() {
    printf '%s\n' "$output" | sed -n "s/^$1 //p"
}

# add_layer IMAGE TAR: a layer as it is, on an image of the suite's layout.
add_layer() {
    umoci raw add-layer --image "$SUITE/layout:$1" "$2"
}

push() {
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false "oci:$SUITE/layout:$1" "docker://$REGISTRY/$1:1"
}

# Two images with two layers in common and one of their own each; the same layer twice in one; a large one.
make_images() {
    local work=$SUITE/work i
    umoci init --layout "$SUITE/layout"
    for i in 1 2 3 4; do
        mkdir -p "$work/$i/d$i"
        head -c 3000000 /dev/urandom >"$work/$i/d$i/f"
        tar -C "$work/$i" --numeric-owner -cf "$work/$i.tar" .
    done
    for i in one two; do
        umoci new --image "$SUITE/layout:$i"
        add_layer $i "$work/1.tar"
        add_layer $i "$work/2.tar"
    done
    add_layer one "$work/3.tar"
    add_layer two "$work/4.tar"
    umoci new --image "$SUITE/layout:twice"
    for i in 1 2 1; do
        add_layer twice "$work/$i.tar"
    done
    for i in one two twice; do
        umoci config --image "$SUITE/layout:$i" --config.cmd /bin/x --config.env "I=$i" --architecture amd64 --os linux
        push $i
    done
    image_busybox "$SUITE/bb.tar" bb:1
    registry_push "$SUITE/bb.tar" bb:1
}

# How often blobs were asked for since the log had $1 lines: "<times> <digest>" for each.
gets() {
    tail -n +"$(($1 + 1))" "$SUITE/registry/log" | sed -n 's|.*"GET /v2/[^ ]*/blobs/\(sha256:[0-9a-f]*\) .*|\1|p' | sort | uniq -c
}

# The digest of an image's configuration.
config_of() {
    skopeo inspect --tls-verify=false --raw "docker://$REGISTRY/$1:1" |
        python3 -c 'import json,sys; print(json.load(sys.stdin)["config"]["digest"])'
}

log_lines() {
    wc -l <"$SUITE/registry/log"
}

@test "a pulled image is given back as it came, from any byte on" {
    run kept pull "$STORE" "$REGISTRY/one:1"
    id=$(value ready)
    run kept describe "$STORE" "$id"
    [ "$status" -eq 0 ]
    skopeo inspect --tls-verify=false --config --raw "docker://$REGISTRY/one:1" >"$SUITE/config"
    [ "$(value config)" = "$(sha256sum <"$SUITE/config" | cut -d' ' -f1)" ]
    [ "$(value text)" = "$(cat "$SUITE/config")" ]
    skopeo inspect --tls-verify=false --raw "docker://$REGISTRY/one:1" >"$SUITE/manifest"
    [ "$(value layer | cut -d' ' -f2)" = "$(python3 -c 'import json,sys; print("\n".join(l["digest"] for l in json.load(sys.stdin)["layers"]))' <"$SUITE/manifest")" ]
    [ "$(value layer | cut -d' ' -f3 | sort -u)" = application/vnd.oci.image.layer.v1.tar+gzip ]
    for i in 0 1 2; do
        read -r diff digest _ size <<<"$(value layer | sed -n "$((i + 1))p")"
        kept layer "$STORE" "$id" $i >"$SUITE/blob"
        [ "sha256:$(sha256sum <"$SUITE/blob" | cut -d' ' -f1)" = "$digest" ]
        [ "$(stat -c %s "$SUITE/blob")" = "$size" ]
        [ "sha256:$(zcat "$SUITE/blob" | sha256sum | cut -d' ' -f1)" = "$diff" ]
        kept layer "$STORE" "$id" $i 1234567 | cmp - <(tail -c +1234568 "$SUITE/blob")
    done
    run kept layer "$STORE" "$id" 3
    [ "$output" = "error: image $id has no layer 3" ]
}

@test "FROM alone is the base itself; one more line is another image on the same layers" {
    run kept pull "$STORE" "$REGISTRY/one:1"; base=$(value ready)
    run kept describe "$STORE" "$base"; config=$(value config); layers=$(value layer)
    run store -b "$base" build "$STORE" 'FROM base'; same=$(value ready)
    [ "$same" != "$base" ]
    run kept describe "$STORE" "$same"
    [ "$(value config)" = "$config" ]; [ "$(value layer)" = "$layers" ]
    run store -b "$base" build "$STORE" 'FROM base' 'ENV X=1'; other=$(value ready)
    run kept describe "$STORE" "$other"
    [ "$(value config)" != "$config" ]; [ "$(value layer)" = "$layers" ]
    [ "$(value text | python3 -c 'import json,sys; c=json.load(sys.stdin); print(len(c["rootfs"]["diff_ids"]), sum(1 for h in c["history"] if not h.get("empty_layer")))')" = "3 3" ]
}

@test "a built image is taken by other programs: the same tree, the same id" {
    ctx=$(mktemp -d "$SUITE/ctx-XXXXXX"); mkdir -p "$ctx/in/deep"
    echo text >"$ctx/in/file"; echo x >"$ctx/in/deep/$(printf 'n%.0s' {1..200})"; chmod 4755 "$ctx/in/file"
    printf y >"$ctx/in/$(printf 'caf\xc3\xa9')"
    run store -c "$ctx" build "$STORE" "FROM $REGISTRY/bb:1" 'COPY --chown=7:8 in /data' 'WORKDIR /w/x' 'COPY in/file /bin/sh' 'CMD ["a"]'
    [ "$status" -eq 0 ]
    id=$(value ready); layers=$(value layer)
    run kept describe "$STORE" "$id"
    [ "$status" -eq 0 ]
    mkdir -p "$SUITE/archive"
    value text | tr -d '\n' >"$SUITE/archive/config.json"
    [ "$(sha256sum <"$SUITE/archive/config.json" | cut -d' ' -f1)" = "$(value config)" ]
    names=
    count=$(value layer | wc -l)
    for ((i = 0; i < count; i++)); do
        read -r diff digest type size <<<"$(value layer | sed -n "$((i + 1))p")"
        kept layer "$STORE" "$id" $i >"$SUITE/archive/raw"
        [ "sha256:$(sha256sum <"$SUITE/archive/raw" | cut -d' ' -f1)" = "$digest" ]
        case $type in
        *gzip) zcat "$SUITE/archive/raw" >"$SUITE/archive/$i.tar" ;;
        *) mv "$SUITE/archive/raw" "$SUITE/archive/$i.tar"; [ "$diff" = "$digest" ] ;;
        esac
        names="$names${names:+,}\"$i.tar\""
    done
    printf '[{"Config":"config.json","RepoTags":["built:1"],"Layers":[%s]}]' "$names" >"$SUITE/archive/manifest.json"
    (cd "$SUITE/archive" && tar -cf "$SUITE/built.tar" manifest.json config.json [0-9]*.tar)
    skopeo copy --quiet --insecure-policy "docker-archive:$SUITE/built.tar" "oci:$SUITE/oci:built"
    umoci unpack --image "$SUITE/oci:built" "$SUITE/bundle"
    mkdir -p "$SUITE/at"
    mount -t overlay overlay -o "lowerdir=$(paste -sd: <<<"$layers"):$SUITE/archive" "$SUITE/at" 2>/dev/null ||
        mount -t overlay overlay -o "lowerdir=$(paste -sd: <<<"$layers")" "$SUITE/at"
    list='find . -mindepth 1 -not -name "[0-9].tar" -not -name raw -not -name "*.json" -printf "%p %y %m %U:%G %l %s\n" | sed "s/ d\(.*\) [0-9]*$/ d\1/" | sort'
    a=$(cd "$SUITE/at" && eval "$list"); b=$(cd "$SUITE/bundle/rootfs" && eval "$list")
    umount "$SUITE/at"
    diff <(printf '%s\n' "$a") <(printf '%s\n' "$b")
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false "docker-archive:$SUITE/built.tar" "docker://$REGISTRY/built:1"
    [ "$(config_of built)" = "sha256:$(value config)" ]
    # Pulled back it is the same image.
    run kept pull "$STORE" "$REGISTRY/built:1"; back=$(value ready)
    run kept describe "$STORE" "$id"; want=$(value config)
    run kept describe "$STORE" "$back"
    [ "$(value config)" = "$want" ]
}

@test "what several want at once is fetched once" {
    before=$(log_lines)
    run kept pull "$STORE" "$REGISTRY/one:1" "$REGISTRY/two:1" "$REGISTRY/one:1" "$REGISTRY/twice:1"
    [ "$(value ready | sort -u | wc -l)" -eq 3 ]
    sleep 0.5
    gets "$before" >&2
    # 4 layers and 3 configurations, each once; a configuration may be asked for by both definitions of one image.
    [ "$(gets "$before" | awk '$1 != 1' | wc -l)" -eq 0 ]
    [ "$(gets "$before" | wc -l)" -eq 7 ]
    # And nothing is fetched again for what is there.
    before=$(log_lines)
    run kept pull "$STORE" "localhost:${REGISTRY#*:}/two:1" "127.0.0.1:${REGISTRY#*:}/one:1"
    [ "$(value ready | wc -l)" -eq 2 ]
    sleep 0.5
    for digest in $(gets "$before" | awk '{print $2}'); do
        [ "$digest" = "$(config_of one)" ] || [ "$digest" = "$(config_of two)" ]
    done
}

@test "blobs go with the last image that has them, also when it was pulled twice" {
    run kept pull "$STORE" "$REGISTRY/one:1" "$REGISTRY/two:1"
    [ "$(find "$STORE/blobs" -type f | wc -l)" -eq 4 ]
    set -- $(value ready)
    store delete "$STORE" "$1"; kept sweep "$STORE"
    [ "$(find "$STORE/blobs" -type f | wc -l)" -eq 3 ]
    [ "$(ls "$STORE/l" | wc -l)" -eq 3 ]
    run kept describe "$STORE" "$2"
    [ "$status" -eq 0 ]
    store delete "$STORE" "$2"; kept sweep "$STORE"
    [ "$(find "$STORE/blobs" -type f | wc -l)" -eq 0 ]
    [ -z "$(ls "$STORE/l")" ]
}

@test "a store of an earlier version opens, and another pull completes it" {
    run kept pull "$STORE" "$REGISTRY/one:1"; id=$(value ready)
    run kept describe "$STORE" "$id"; want=$(value config)
    rm -rf "$STORE/blobs" "$STORE"/l/*/meta.json "$STORE/names.json"
    run kept describe "$STORE" "$id"
    [[ "$output" == "error: layer sha256:"*" was made by an earlier version, which did not keep it: pull or build the image again" ]]
    run store show "$STORE" "$id"
    [ "$status" -eq 0 ]
    run store -f build "$STORE" "FROM $REGISTRY/one:1"
    [ "$status" -eq 0 ]
    run kept describe "$STORE" "$id"
    [ "$(value config)" = "$want" ]
    # A blob that somebody took away is fetched again as well.
    rm -f "$STORE"/blobs/*/*
    run kept describe "$STORE" "$id"
    [[ "$output" == *"is not kept here as its registry had it: pull the image again" ]]
    run store -f build "$STORE" "FROM $REGISTRY/one:1"
    run kept describe "$STORE" "$id"
    [ "$(value config)" = "$want" ]
}

# hostile NAME PYTHON: an image with one layer that Python fills: t is the tar, add(name, ...) adds to it.
hostile() {
    local work=$SUITE/hostile-$1
    mkdir -p "$work"
    python3 - "$work/layer.tar" <<END
import io, sys, tarfile
t = tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT)
def add(name, type=tarfile.REGTYPE, link="", data=b"pwned", **more):
    i = tarfile.TarInfo(name)
    i.type, i.linkname = type, link
    if type == tarfile.REGTYPE: i.size = len(data)
    for k, v in more.items(): setattr(i, k, v)
    t.addfile(i, io.BytesIO(data) if type == tarfile.REGTYPE else None)
$2
t.close()
END
    umoci new --image "$SUITE/layout:hostile-$1"
    add_layer "hostile-$1" "$work/layer.tar"
    umoci config --image "$SUITE/layout:hostile-$1" --architecture amd64 --os linux
    push "hostile-$1"
    run store build "$STORE" "FROM $REGISTRY/hostile-$1:1"
}

@test "hostile layers stay inside, or are refused" {
    outside=$SUITE/outside; mkdir -p "$outside"; echo secret >"$outside/secret"
    hostile up 'add("../../../../../../../../'"${outside#/}"'/up")'
    [ "$status" -eq 2 ]; [ ! -e "$outside/up" ]
    hostile absolute 'add("'"$outside"'/absolute")'
    [ ! -e "$outside/absolute" ]
    hostile link 'add("out", tarfile.SYMTYPE, "'"$outside"'"); add("out/through")'
    [ ! -e "$outside/through" ]
    hostile up-link 'add("out", tarfile.SYMTYPE, "../../../../../../../../../'"${outside#/}"'"); add("out/through2")'
    [ ! -e "$outside/through2" ]
    hostile hard 'add("h", tarfile.LNKTYPE, "'"$outside"'/secret")'
    [ "$status" -eq 2 ]
    hostile hard-up 'add("h", tarfile.LNKTYPE, "../../../../../../../../'"${outside#/}"'/secret"); add("h", data=b"pwned")'
    [ "$status" -eq 2 ]
    hostile hard-through 'add("out", tarfile.SYMTYPE, "'"$outside"'"); add("h", tarfile.LNKTYPE, "out/secret"); add("h2", tarfile.LNKTYPE, "h")'
    [ "$status" -eq 2 ]
    hostile over 'add("d", tarfile.DIRTYPE); add("d/f"); add("d", tarfile.SYMTYPE, "'"$outside"'"); add("d/f", data=b"pwned")'
    [ ! -e "$outside/f" ]
    hostile opaque 'add("out", tarfile.SYMTYPE, "'"$outside"'"); add("out/.wh.secret"); add("out/.wh..wh..opq")'
    [ -e "$outside/secret" ]
    hostile name 'add(".wh..")'
    [ "$status" -eq 2 ]
    hostile overlay 'add("r", tarfile.DIRTYPE, pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "'"$outside"'", "SCHILY.xattr.user.overlay.opaque": "y"})'
    [ "$status" -eq 0 ]
    [ -z "$(find "$STORE/l" -path '*/f/r' -exec python3 -c 'import os,sys; print(*os.listxattr(sys.argv[1]))' {} \;)" ]
    hostile owner 'add("big", uid=4294967296)'
    [ "$status" -eq 2 ]
    [ "$(cat "$outside/secret")" = secret ]
    [ "$(ls "$outside")" = secret ]
    # Nothing half made is left.
    kept sweep "$STORE"
    [ -z "$(ls "$STORE/tmp")" ]
}
