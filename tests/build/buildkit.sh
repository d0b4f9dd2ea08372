# BuildKit, made from its Go module; sourced.
#   buildkit_make DIR       builds it below DIR if it is not there; 77 when that cannot be done here
#   buildkit_start DIR WORK REGISTRY   a daemon of its own below WORK that finds docker.io in REGISTRY; sets BUILDKIT_PID and
#                           BUILDKIT_HOST; buildctl is DIR/buildctl
#   buildkit_stop
#   buildkit_frontend DIR OUT.tar      the image that "# syntax=docker/dockerfile:1" asks for, as a docker-archive

BUILDKIT_VERSION=v0.29.0
BUILDKIT_GO="1.25.5" # what its go.mod asks for
BUILDKIT_TOOLCHAIN=1.25.5

# The folder of a go that is new enough: the system's, else a toolchain that Debian's older one can fetch as a module.
buildkit_go() {
    local dir=$1 have module=golang.org/toolchain@v0.0.1-go$BUILDKIT_TOOLCHAIN.linux-$(dpkg --print-architecture)
    have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || { echo "BuildKit needs Go" >&2; return 77; }
    if printf '%s\n%s\n' "$BUILDKIT_GO" "${have#go}" | sort -CV; then
        dirname "$(command -v go)"
        return 0
    fi
    (cd / && GOFLAGS=-modcacherw GOMODCACHE=$dir/toolchain go mod download "$module") >"$dir/toolchain.log" 2>&1 ||
        { echo "BuildKit $BUILDKIT_VERSION needs Go $BUILDKIT_GO, here is $have, and no newer one can be fetched: $(tail -n 1 "$dir/toolchain.log")" >&2; return 77; }
    chmod +x "$dir/toolchain/$module/bin"/* "$dir/toolchain/$module"/pkg/tool/*/*
    echo "$dir/toolchain/$module/bin"
}

buildkit_make() {
    local dir=$1 go
    [ ! -x "$dir/$BUILDKIT_VERSION/buildkitd" ] || return 0
    mkdir -p "$dir"
    go=$(buildkit_go "$dir") || return 77
    rm -rf "$dir/module"
    mkdir -p "$dir/module" "$dir/making"
    # A module of its own: BuildKit's go.mod has lines that "go install" of another module's program does not take.
    cat >"$dir/module/go.mod" <<EOF
module buildkit
go 1.25.5
tool (
    github.com/moby/buildkit/cmd/buildctl
    github.com/moby/buildkit/cmd/buildkitd
    github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend
)
require github.com/moby/buildkit $BUILDKIT_VERSION
EOF
    (cd "$dir/module" && PATH=$go:$PATH GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN=$dir/making nice go install -trimpath -ldflags '-s -w' tool) \
        >"$dir/making.log" 2>&1 || { tail -n 5 "$dir/making.log"; echo "BuildKit cannot be made from its Go module here"; return 77; }
    rm -rf "${dir:?}/$BUILDKIT_VERSION"
    mv "$dir/making" "$dir/$BUILDKIT_VERSION"
}

buildkit_start() {
    local dir=$1 work=$2 registry=$3
    mkdir -p "$work/root"
    cat >"$work/config.toml" <<EOF
root = "$work/root"
[grpc]
  address = ["unix://$work/socket"]
[worker.oci]
  enabled = true
  gc = false
  networkMode = "host"
  snapshotter = "overlayfs"
[worker.containerd]
  enabled = false
[registry."docker.io"]
  mirrors = ["$registry"]
[registry."$registry"]
  http = true
EOF
    export BUILDKIT_HOST=unix://$work/socket
    OTEL_SDK_DISABLED=true "$dir/$BUILDKIT_VERSION/buildkitd" --config "$work/config.toml" --oci-worker-binary "$(command -v runc)" >"$work/log" 2>&1 &
    BUILDKIT_PID=$!
    BUILDCTL=$dir/$BUILDKIT_VERSION/buildctl
    for _ in $(seq 200); do
        [ -S "$work/socket" ] && "$BUILDCTL" debug workers >/dev/null 2>&1 && return 0
        kill -0 "$BUILDKIT_PID" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/log" >&2
    return 1
}

buildkit_stop() {
    [ -z "${BUILDKIT_PID:-}" ] || { kill "$BUILDKIT_PID" && wait "$BUILDKIT_PID"; } 2>/dev/null || true
    BUILDKIT_PID=
}

buildkit_frontend() {
    local tree
    tree=$(mktemp -d)
    mkdir "$tree/bin"
    cp "$1/$BUILDKIT_VERSION/dockerfile-frontend" "$tree/bin/"
    image_archive "$tree" '{"Entrypoint":["/bin/dockerfile-frontend"],"Labels":{"moby.buildkit.frontend.network.none":"true"}}' docker/dockerfile:1 "$2"
    rm -rf "$tree"
}
