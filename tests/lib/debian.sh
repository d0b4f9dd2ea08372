# Debian trees and source packages from the mirror that this machine uses; sourced.
#   debian_tree DIR PACKAGES     a minimal Debian 12 root with PACKAGES (comma separated)
#   debian_source DIR PACKAGE    unpacks the source package PACKAGE below DIR

# The mirror in the machine's own sources.
debian_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -nE 's/^deb (\[[^]]*\] )?(https?:[^ ]*) bookworm .*main.*/\2/p; s/^URIs: *(https?:[^ ]*).*/\1/p' | grep -v security | head -n 1
}

debian_tree() {
    local dir=$1 packages=$2
    debootstrap --variant=minbase --include="$packages" bookworm "$dir" "$(debian_mirror)" >"$dir.log" 2>&1 || { tail -n 20 "$dir.log" >&2; return 1; }
    rm -rf "$dir"/var/cache/apt/archives/*.deb "$dir"/var/lib/apt/lists/* "$dir"/usr/share/doc "$dir"/usr/share/locale "$dir"/usr/share/man
    find "$dir/dev" -mindepth 1 -delete
}

debian_source() {
    local dir=$1 package=$2 apt
    mkdir -p "$dir"
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm main\n' "$(debian_mirror)" >"$apt/sources.list"
    local options="-o Dir::Etc::sourcelist=$apt/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::Lists=$apt/lists -o Dir::Cache=$apt -o Dir::Cache::archives=$apt/archives -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086
    apt-get $options update -qq && (cd "$dir" && apt-get $options source -qq "$package" >/dev/null)
    rm -rf "$apt"
}
