#!/usr/bin/env bash
# Builds each of cases/ twice from the same files in the same run, with atp-docker on the embedded engine and with a real
# builder, pushes both results into a real registry and compares configuration, history and every file of the merged layers.
# The real builder is BuildKit, made from its Go module, or dockerd's classic one for the cases that have a file "classic".
# What may differ stands in BUILDER.differences, with its reason: one that is not there fails, and so does one that no longer
# occurs. A case's "check" is run with the result ($IMAGE); its output has to be "expected".
#
# Usage: compare.sh BUILD-DIRECTORY buildkit|classic [CASE...]. Exits 77 where the real builder cannot be had.
#
# A case is a folder: context/ (with the Dockerfile), made ready by prepare (a shell script, run beside the copy of context/), args
# (one option of docker build a line), check and expected.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
builder=$2
shift 2
. "$here/../lib/images.sh"
. "$here/../lib/engine.sh"
. "$here/buildkit.sh"

skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for program in docker-registry skopeo debootstrap runc python3; do
    command -v "$program" >/dev/null || skip "needs $program"
done
[ -x "$build/bin/atp-docker" ] || { echo "no $build/bin/atp-docker"; exit 1; }

# The cases of this run: all that the builder can build, or those that are named.
cases=()
for folder in "$here"/cases/*/; do
    name=$(basename "$folder")
    [ $# -eq 0 ] || [[ " $* " == *" $name "* || " $* " == *" ${name%%-*} "* ]] || continue
    [ "$builder" = buildkit ] || [ -e "$folder/classic" ] || continue
    cases+=("$name")
done
[ ${#cases[@]} -gt 0 ] || { echo "no such case"; exit 1; }

real=
case $builder in
classic)
    for real in ${ATP_DOCKER_REAL:-} $(type -ap docker); do
        "$real" --version 2>/dev/null | grep -q '^Docker version' && [ "$(readlink -f "$real")" != "$build/bin/atp-docker" ] && break
        real=
    done
    [ -n "$real" ] || skip "needs a real docker"
    command -v dockerd >/dev/null || skip "needs dockerd (package docker.io)"
    ;;
buildkit) buildkit_make "$build/tests/buildkit" || skip "no BuildKit" ;;
*) echo "usage: compare.sh BUILD-DIRECTORY buildkit|classic [CASE...]" >&2; exit 2 ;;
esac
bash "$here/bases.sh" "$source_dir" "$build/fixtures/bases" || exit $?

tmp=$(mktemp -d /tmp/atp-builds-XXXXXX)
bridge=atpb$((BASHPID % 1000000))
dockerd_pid=
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run HOME=$tmp/home
unset DOCKER_HOST ATP_DOCKER_REAL MODAL_TOKEN_ID MODAL_TOKEN_SECRET MODAL_PROFILE MODAL_CONFIG_PATH DOCKER_BUILDKIT
mkdir -p "$tmp/run" "$tmp/home" "$tmp/config/atp-docker" "$tmp/ours" "$tmp/layers" "$tmp/registry"
ln -s "$build/bin/atp-docker" "$tmp/ours/docker"
finish() {
    registry_stop
    buildkit_stop
    [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid" || true; } 2>/dev/null
    engine_stop
    ip link del "$bridge" 2>/dev/null
    umount -R "$tmp"/d/* 2>/dev/null
    [ -n "${ATP_KEEP:-}" ] && echo "kept: $tmp" || rm -rf --one-file-system "$tmp"
}
trap finish EXIT

start_daemon() {
    ip link add "$bridge" type bridge && ip addr add 172.31.249.1/24 dev "$bridge" && ip link set "$bridge" up || return 1
    dockerd --bridge "$bridge" --iptables=false --data-root "$tmp/d/data" --exec-root "$tmp/d/exec" -H "unix://$tmp/d.sock" \
        --pidfile "$tmp/d.pid" --insecure-registry "$REGISTRY" --registry-mirror "http://$REGISTRY" >"$tmp/dockerd.log" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 300); do
        [ -S "$tmp/d.sock" ] && "$real" -H "unix://$tmp/d.sock" version >"$tmp/version" 2>/dev/null && return 0
        sleep 0.1
    done
    tail "$tmp/dockerd.log"
    return 1
}

# Reads a case's options into the array args, one line each: "--build-arg A=b" is two words.
read_args() {
    local line
    args=()
    [ -e "$1" ] || return 0
    while IFS= read -r line; do
        case $line in
        '') ;;
        *' '*) args+=("${line%% *}" "${line#* }") ;;
        *) args+=("$line") ;;
        esac
    done <"$1"
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# The same options as buildctl says them.
buildctl_args() {
    local file=Dockerfile
    said=()
    while [ $# -gt 0 ]; do
        case $1 in
        --build-arg) said+=(--opt "build-arg:$2") ;;
        --label) said+=(--opt "label:$2") ;;
        --target) said+=(--opt "target=$2") ;;
        --network) said+=(--opt "force-network-mode=$2") ;;
        --add-host) said+=(--opt "add-hosts=${2%%:*}=${2#*:}") ;;
        --secret) said+=(--secret "$2") ;;
        -f) file=${2#context/} ;;
        *) echo "no words for $1 in buildctl" >&2; return 1 ;;
        esac
        shift 2
    done
    said+=(--opt "filename=$(basename "$file")" --local "dockerfile=$(dirname "context/$file")")
}

our_docker() {
    ATP_DOCKER_BACKEND=local PATH=$tmp/ours:$PATH timeout 300 docker "$@"
}

# Built twice: the second time nothing is left to do, and the image is the same one.
ours() {
    local began made again
    began=$(milliseconds)
    our_docker build --progress=plain --iidfile made.id -t "$REGISTRY/ours/$1" "${args[@]}" context || return 1
    made=$(milliseconds)
    our_docker build --progress=plain --iidfile again.id -t "$REGISTRY/ours/$1" "${args[@]}" context || return 1
    again=$(milliseconds)
    cmp made.id again.id || { echo "built again, it is another image"; return 1; }
    echo "$1 $((made - began)) $((again - made))" >>"$tmp/times"
    our_docker push -q "$REGISTRY/ours/$1"
}

theirs() {
    if [ "$builder" = classic ]; then
        DOCKER_BUILDKIT=0 timeout 300 "$real" -H "unix://$tmp/d.sock" build -t "$REGISTRY/real/$1" "${args[@]}" context &&
            "$real" -H "unix://$tmp/d.sock" push -q "$REGISTRY/real/$1"
    else
        # What it keeps of an earlier context lends its times to the directories of the next one.
        "$BUILDCTL" prune --filter type==source.local && buildctl_args "${args[@]}" &&
            timeout 300 "$BUILDCTL" build --progress=plain --frontend dockerfile.v0 --local context=context "${said[@]}" \
                --output "type=image,name=$REGISTRY/real/$1,push=true,oci-mediatypes=true"
    fi
}

# The context as both builders get it: modes and times do not depend on how this tree was checked out. Each case has times of
# its own: to BuildKit a file of the same name, size and time is the one that it has.
copy_context() {
    cp -R "$here/cases/$1/context" "$2/context"
    chmod -R u=rwX,go=rX "$2/context"
    find "$2/context" -exec touch -h -d "2023-04-05 06:${1%%-*}:08.123456789Z" {} +
    [ ! -e "$here/cases/$1/prepare" ] || (cd "$2" && bash -eu "$here/cases/$1/prepare")
}

# What the result prints when it runs.
checked() {
    [ -e "$here/cases/$1/check" ] || return 0
    (cd "$tmp/case" && IMAGE=$REGISTRY/ours/$1 ATP_DOCKER_BACKEND=local PATH=$tmp/ours:$PATH timeout 100 bash -u "$here/cases/$1/check") \
        >"$tmp/case/printed" 2>&1 </dev/null
    diff "$here/cases/$1/expected" "$tmp/case/printed" >"$tmp/case/run.diff" && return 0
    echo "$1: it prints (expected <, printed >):"
    cat "$tmp/case/run.diff"
    return 1
}

one() {
    local name=$1 dir=$tmp/case side
    rm -rf "$dir"
    mkdir "$dir"
    copy_context "$name" "$dir" || return 1
    read_args "$here/cases/$name/args"
    for side in theirs ours; do
        (cd "$dir" && "$side" "$name") >"$dir/$side.log" 2>&1 </dev/null || { echo "$name: $side does not build:"; tail -n 25 "$dir/$side.log"; return 1; }
    done
    python3 "$here/image.py" "$tmp/registry/data" "real/$name:latest" "$dir/real" "$tmp/layers" "$start" "--$builder" || return 1
    python3 "$here/image.py" "$tmp/registry/data" "ours/$name:latest" "$dir/ours" "$tmp/layers" "$start" "--$builder" || return 1
    { diff "$dir/real.config" "$dir/ours.config"; diff "$dir/real.tree" "$dir/ours.tree"; } | grep -a '^[<>]' >"$dir/found"
    awk -v name="[$name]" '/^\[/ { on = $0 == name } on && /^[<>]/' "$here/$builder.differences" >"$dir/listed"
    files=$((files + $(wc -l <"$dir/ours.tree")))
    if ! cmp -s "$dir/found" "$dir/listed"; then
        echo "$name: the builder's <, ours >"
        [ ! -s "$dir/listed" ] || { echo " listed as:"; cat "$dir/listed"; echo " now:"; }
        [ -s "$dir/found" ] && head -n 60 "$dir/found" || echo " no difference any more"
        [ "$(wc -l <"$dir/found")" -le 60 ] || echo " ... $(wc -l <"$dir/found") lines"
        return 1
    fi
    checked "$name"
}

cp -a "$build/fixtures/bases/data" "$tmp/registry/data"
registry_start "$tmp/registry" || exit 1
printf 'registry:\n  mirrors:\n    docker.io: %s\n' "$REGISTRY" >"$tmp/config/atp-docker/config.yaml"
if [ "$builder" = classic ]; then
    start_daemon || { echo "the daemon did not start"; exit 1; }
else
    buildkit_frontend "$build/tests/buildkit" "$tmp/frontend.tar" && registry_push "$tmp/frontend.tar" docker/dockerfile:1 || exit 1
    buildkit_start "$build/tests/buildkit" "$tmp/buildkit" "$REGISTRY" || { echo "BuildKit did not start"; exit 1; }
fi
: >"$tmp/times"
start=$(date +%s)
failed=0 files=0
for name in "${cases[@]}"; do
    one "$name" || failed=$((failed + 1))
done

# A table that names what is not there, or gives no reason, says nothing.
sed -n 's/^\[\(.*\)\]$/\1/p' "$here/$builder.differences" | while IFS= read -r name; do
    [ -d "$here/cases/$name" ] || echo "$name: listed as a difference, but no such case"
done | grep . && failed=$((failed + 1))
[ "$(grep -c '^\[' "$here/$builder.differences")" = "$(grep -c '^why: .' "$here/$builder.differences")" ] || { echo "$builder.differences: one without its reason"; failed=$((failed + 1)); }
[ -z "${ATP_TIMES:-}" ] || cat "$tmp/times"
awk '{ first += $2; second += $3 } END { printf "built in %.1f s, the second time in %.1f s\n", first / 1000, second / 1000; exit second * 10 > first }' "$tmp/times" ||
    { [ ${#cases[@]} -lt 5 ] || { echo "a second build takes more than a tenth of the first"; failed=$((failed + 1)); }; }
echo "${#cases[@]} Dockerfiles compared, $files files, $failed failed"
[ "$failed" = 0 ]
