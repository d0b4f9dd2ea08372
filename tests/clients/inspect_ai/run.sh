#!/usr/bin/env bash
# inspect_ai's docker sandbox, unmodified from its package, with atp-docker first on the PATH as `docker`: its own conformance
# checks on a Debian and a busybox image, as root and as a user; an evaluation with two services, of which one has to be healthy
# first; one with three samples at once. Nothing is left afterwards.
# Usage: run.sh SOURCE_DIR BIN_DIR WORK_DIR. Needs root, python3 with venv; 77 when it cannot run.
set -eu
source=$1 bin=$2 work=$3
here=$source/tests/clients/inspect_ai
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
. "$source/tests/lib/images.sh"
. "$source/tests/lib/engine.sh"
mkdir -p "$work"
if ! cmp -s "$here/requirements.txt" "$work/installed"; then
    rm -rf "$work/venv"
    /usr/bin/python3 -m venv "$work/venv" || { echo "needs python3-venv"; exit 77; }
    "$work/venv/bin/pip" install -q --no-deps -r "$here/requirements.txt" >"$work/pip.log" 2>&1 ||
        { cat "$work/pip.log"; echo "the package registry did not give inspect_ai"; exit 77; }
    cp "$here/requirements.txt" "$work/installed"
fi
bases=$(dirname "$bin")/fixtures/bases
bash "$source/tests/build/bases.sh" "$source" "$bases"

tmp=$(mktemp -d /tmp/atp-inspect-XXXXXX)
finish() {
    registry_stop
    engine_stop || true
    rm -rf --one-file-system "$tmp"
}
trap finish EXIT
export XDG_STATE_HOME=$tmp/state XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run XDG_DATA_HOME=$tmp/data HOME=$tmp/home
unset DOCKER_HOST DOCKER_CONTEXT
mkdir -p "$tmp/run" "$tmp/home" "$tmp/bin" "$tmp/registry"
ln -s "$bases/data" "$tmp/registry/data"
registry_start "$tmp/registry"
ln -s "$bin/atp-docker" "$tmp/bin/docker"
export ATP_DOCKER_BACKEND=local PATH=$tmp/bin:$PATH

# As Alpine has it: its own programs in /usr/bin are busybox too. Debian's busybox has no adduser: as much of it as is asked for.
mkdir "$tmp/small"
cat >"$tmp/small/adduser" <<'EOT'
#!/bin/sh
[ "$1" = --help ] && { echo "as BusyBox has it: adduser -D NAME" >&2; exit 1; }
[ "$1" = -D ] && [ -n "$2" ] || exit 1
id=$(($(sort -t: -k3n /etc/passwd | tail -n 2 | head -n 1 | cut -d: -f3) + 1000))
echo "$2:x:$id:$id::/home/$2:/bin/sh" >>/etc/passwd
echo "$2:x:$id:" >>/etc/group
mkdir -p "/home/$2" && chown "$id:$id" "/home/$2"
EOT
chmod +x "$tmp/small/adduser"
cat >"$tmp/small/Dockerfile" <<EOT
FROM $REGISTRY/library/busybox:1
COPY adduser /usr/bin/
RUN for name in \$(busybox --list); do [ -e /usr/bin/\$name ] || ln -s /bin/busybox /usr/bin/\$name; done
EOT
docker build -q -t small:1 "$tmp/small" >/dev/null
timeout 500 "$work/venv/bin/python" "$here/drive.py" "$REGISTRY/library/debian:12" small:1 "$tmp/evals" >"$tmp/all" 2>"$tmp/err" ||
    { cat "$tmp/all" "$tmp/err"; exit 1; }
grep '^\["' "$tmp/all" >"$tmp/seen" || true
bad=0
# What root may write everywhere is no failure of a sandbox (clients.md 1.6).
for label in debian busybox; do
    for user in root user; do
        said=$(grep -c "^\[\"check\", \"$label\", \"$user\"" "$tmp/seen" || true)
        failed=$(grep "^\[\"check\", \"$label\", \"$user\"" "$tmp/seen" | grep -v ', null\]$' || true)
        [ "$user" = user ] || failed=$(grep -v '"test_write_[a-z]*_\?file_without_permissions"' <<<"$failed" || true)
        echo "$label as $user: $said checks"
        [ "$said" -ge 40 ] || { echo "too few"; bad=1; }
        [ -z "$failed" ] || { echo "$failed"; bad=1; }
    done
done
grep '^\["failed"' "$tmp/seen" && bad=1
grep -Fx '["two services", 0, "hello\n", 0]' "$tmp/seen" || bad=1
[ "$(grep -c '^\["parallel", "sample [0-2]", "sample [0-2]", "1"\]$' "$tmp/seen")" -eq 3 ] || { grep parallel "$tmp/seen"; bad=1; }
left=$(docker ps -aq; docker network ls -q --filter type=custom)
[ -z "$left" ] || { echo "left: $left"; bad=1; }
[ $bad = 0 ] || cat "$tmp/err"
exit $bad
