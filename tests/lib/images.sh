# Images for tests and for the demonstration, made from Debian packages only; sourced by shell scripts.
#
#   image_archive DIR CONFIG_JSON TAG OUT.tar   a docker-archive of one layer: the tree DIR
#   image_busybox OUT.tar TAG [CONFIG_JSON]     the same from busybox-static
#   image_changed OUT.tar TAG CONFIG_JSON COMMANDS   the same, changed by COMMANDS, which find it in $tree
#   registry_start DIR [LOG]                    a real docker-registry on a port of its own; sets REGISTRY and REGISTRY_PID
#   registry_serve CONFIG LOG                   another one of a given configuration
#   registry_push ARCHIVE.tar NAME[:TAG]        pushes into it with skopeo
#   registry_stop

# image_as_root FUNCTION ARG...: images hold files of several owners. Whoever is not root makes them as root of a user
# namespace, which has this file's functions and nothing else of the shell.
image_as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        unshare --user --map-auto --map-root-user \
            bash -c "$(declare -f image_archive image_busybox_tree image_busybox_make image_changed_make); \"\$@\"" images "$@"
    fi
}

# The configuration's "config" object is given; the rest is filled in.
image_archive() {
    local tree=$1 config=$2 tag=$3 out=$4 work diff size
    work=$(mktemp -d)
    tar -C "$tree" --numeric-owner --xattrs -cf "$work/layer.tar" .
    diff=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    printf '{"architecture":"%s","os":"linux","created":"2024-01-02T03:04:05Z","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"2024-01-02T03:04:05Z","created_by":"tree"}]}' \
        "$(dpkg --print-architecture)" "$config" "$diff" >"$work/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$tag" >"$work/manifest.json"
    tar -C "$work" -cf "$out" manifest.json config.json layer.tar
    rm -rf "$work"
}

# A small root: busybox with its links, the usual folders, root, nobody and a plain user.
image_busybox_tree() {
    local tree=$1 applet
    mkdir -p "$tree"/bin "$tree"/etc "$tree"/tmp "$tree"/root "$tree"/home/user "$tree"/usr/bin "$tree"/var "$tree"/proc "$tree"/sys "$tree"/dev
    chmod 1777 "$tree/tmp"
    cp /bin/busybox "$tree/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' >"$tree/etc/passwd"
    printf 'root:x:0:\nstaff:x:50:user\nuser:x:1000:\nnogroup:x:65534:\n' >"$tree/etc/group"
    chown -R 1000:1000 "$tree/home/user"
}

image_busybox() {
    image_as_root image_busybox_make "$@"
}

image_busybox_make() {
    local out=$1 tag=$2 config=${3:-'{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"]}'} tree
    tree=$(mktemp -d)
    image_busybox_tree "$tree"
    image_archive "$tree" "$config" "$tag" "$out"
    rm -rf "$tree"
}

# image_changed OUT.tar TAG CONFIG COMMANDS: the same, changed by COMMANDS, which are run with $tree set.
image_changed() {
    image_as_root image_changed_make "$@"
}

image_changed_make() {
    local out=$1 tag=$2 config=$3 commands=$4 tree
    tree=$(mktemp -d)
    image_busybox_tree "$tree"
    eval "$commands"
    image_archive "$tree" "$config" "$tag" "$out"
    rm -rf "$tree"
}

# A port that nobody listens on right now, and that the system gives to nobody who asks for any.
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return 0; }
    done
    return 1
}

# registry_serve CONFIG LOG: the registry of that file, whose address has port 0; sets SERVED_PORT and SERVED_PID.
registry_serve() {
    : >"$2"
    docker-registry serve "$1" >"$2" 2>&1 3>&- &
    SERVED_PID=$!
    for _ in $(seq 600); do
        SERVED_PORT=$(sed -nE 's/.*msg="listening on [^"]*:([0-9]+)[^0-9].*/\1/p' "$2" | head -n 1)
        [ -z "$SERVED_PORT" ] || return 0
        kill -0 "$SERVED_PID" 2>/dev/null || break
        sleep 0.1
    done
    echo "the registry did not start: $(cat "$2")" >&2
    return 1
}

# registry_start DIR [LOG]: LOG is what it writes into DIR/log
registry_start() {
    local dir=$1 log='{level: info, accesslog: {disabled: true}}' # at this level it says where it listens
    log=${2:-$log}
    mkdir -p "$dir/data"
    cat >"$dir/config.yml" <<EOF
version: 0.1
log: $log
storage: {filesystem: {rootdirectory: $dir/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0"}
EOF
    registry_serve "$dir/config.yml" "$dir/log" || return 1
    REGISTRY_PID=$SERVED_PID
    REGISTRY=localhost:$SERVED_PORT
}

registry_push() {
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false "docker-archive:$1" "docker://$REGISTRY/$2"
}

registry_stop() {
    [ -z "${REGISTRY_PID:-}" ] || ! kill "$REGISTRY_PID" 2>/dev/null || wait "$REGISTRY_PID" 2>/dev/null || true
    REGISTRY_PID=
}
