# The real docker compose, made from its Go module; sourced. tests/build/buildkit.sh finds the Go for it.
#   compose_make DIR        builds DIR/$COMPOSE_VERSION/docker-compose if it is not there; 77 when that cannot be done here

COMPOSE_VERSION=v2.40.3 # the newest of v2

compose_make() {
    local dir=$1 go
    [ ! -x "$dir/$COMPOSE_VERSION/docker-compose" ] || return 0
    mkdir -p "$dir"
    go=$(buildkit_go "$dir") || return 77
    rm -rf "$dir/module"
    mkdir -p "$dir/module" "$dir/making"
    # A module of its own, so that "go install" finds the versions that compose itself was made with.
    cat >"$dir/module/go.mod" <<GOMOD
module compose
go 1.24.9
tool github.com/docker/compose/v2/cmd
require github.com/docker/compose/v2 $COMPOSE_VERSION
GOMOD
    (cd "$dir/module" && PATH=$go:$PATH GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN=$dir/making nice go install -trimpath \
        -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$COMPOSE_VERSION" tool) >"$dir/making.log" 2>&1 ||
        { tail -n 5 "$dir/making.log"; echo "docker compose cannot be made from its Go module here"; return 77; }
    mv "$dir/making/cmd" "$dir/making/docker-compose"
    rm -rf "${dir:?}/$COMPOSE_VERSION"
    mv "$dir/making" "$dir/$COMPOSE_VERSION"
}
