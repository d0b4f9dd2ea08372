# Debian packages by purpose; sourced. packages_install NAME... installs the groups that are named, quietly, only what is missing.
PACKAGES_build="gcc libc6-dev cmake make pkg-config musl-tools libcurl4-openssl-dev libprotobuf-c-dev protobuf-c-compiler \
    libarchive-dev zlib1g-dev libzstd-dev libsqlite3-dev libjansson-dev libfyaml-dev libssl-dev libnghttp2-dev libuv1-dev libcmocka-dev"
PACKAGES_engine="crun iptables iproute2 ca-certificates"
PACKAGES_demo="docker-registry skopeo debootstrap dpkg-dev busybox-static"
PACKAGES_tests="libcap2-bin jq openssl bash-static clang-format curl umoci bats python3 docker-registry skopeo debootstrap dpkg-dev busybox-static valgrind docker.io runc runsc apache2-utils git util-linux procps zstd bzip2 xz-utils uidmap slirp4netns sqlite3"
PACKAGES_clients="nodejs npm python3-venv golang-go"

packages_install() {
    local group list= missing= name
    for group in "$@"; do
        eval "list=\"\$list \$PACKAGES_$group\""
    done
    for name in $list; do
        # Node.js comes from elsewhere on many machines, with an npm of its own that Debian's package refuses to stand beside.
        case $name in
        nodejs) ! command -v node >/dev/null || continue ;;
        golang-go) ! command -v go >/dev/null || continue ;;
        npm) ! command -v npm >/dev/null || continue ;;
        esac
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing="$missing $name"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ]; then
        echo "these Debian packages are missing (run as root, or install them):$missing" >&2
        return 1
    fi
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
