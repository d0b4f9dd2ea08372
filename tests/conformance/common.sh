# Shared by the comparisons with a real docker. They need its client only: DOCKER_HOST points to nothing.
# Usage: . common.sh BUILD-DIRECTORY

build=${1:?build directory}
words=$build/tests/docker_words
docker=${ATP_DOCKER_REAL:-$(command -v docker || true)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if [ -z "$docker" ] || ! "$docker" --version 2>/dev/null | grep -q '^Docker version'; then
    echo "skipped: no real docker"
    exit 77
fi
if ! "$docker" --version | grep -q '^Docker version 28\.'; then
    echo "skipped: the tables are those of docker 28, here is $("$docker" --version)"
    exit 77
fi
export HOME="$tmp/home" DOCKER_HOST=unix:///nonexistent/docker.sock
unset DOCKER_CONFIG DOCKER_CONTEXT DOCKER_CERT_PATH
mkdir -p "$HOME"
# Plugins and terminals would change what docker prints.
exec </dev/null
