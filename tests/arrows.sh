#!/usr/bin/env bash
# Arrows point down: a file includes only headers of its own floor or a lower one (the rooms' order below), and the agent's
# link map holds nothing but what a static helper may hold. Usage: arrows.sh SOURCE_DIR [LINK_MAP]
set -u
cd "$1" || exit 1
bad=0
floor() {
    case $1 in
    compat/base/*) echo 10 ;;
    compat/sys/*) echo 11 ;;
    compat/lib/*) echo 12 ;;
    compat/docker/*) echo 12 ;;
    translate/wire/* | translate/tree/* | translate/sync/* | translate/dockerfile/*) echo 20 ;;
    translate/compose/*) echo 22 ;;
    translate/*) echo 21 ;;
    backends/proto/* | backends/grpc/* | backends/state/* | backends/docker/* | backends/sync/*) echo 30 ;;
    backends/tree/* | backends/session/* | backends/modal/* | backends/registry/* | backends/local/* | backends/blobs/*) echo 31 ;;
    backends/agent/* | backends/engine/* | backends/monitor/*) echo 32 ;;
    shim/*) echo 40 ;;
    tests/*) echo 50 ;;
    *) echo 0 ;;
    esac
}
complain() {
    echo "arrows: $*" >&2
    bad=1
}
while IFS=: read -r file line text; do
    header=$(sed -n 's/.*#include "\([^"]*\)".*/\1/p' <<<"$text")
    from=$(floor "$file")
    to=$(floor "$header")
    [ "$from" != 0 ] || complain "$file: lies in no known room"
    case $header in
    *.pb-c.h | agent_digest.h) continue ;;
    esac
    [ "$to" != 0 ] || complain "$file:$line: \"$header\" is not included from the project's root"
    [ "$to" -le "$from" ] || complain "$file:$line: includes upwards: $header"
    # The two programs are nobody's library, and pure rooms stay pure.
    case $file:$header in
    backends/agent/*:backends/agent/* | backends/engine/*:backends/engine/* | tests/*) ;;
    *:backends/agent/* | *:backends/engine/*) complain "$file:$line: includes a program's header: $header" ;;
    esac
    case $file in
    backends/agent/*)
        case $header in
        compat/base/* | compat/sys/* | translate/wire/* | translate/sync/* | translate/tree/* | backends/sync/* | backends/tree/* | \
            backends/agent/*) ;;
        *) complain "$file:$line: the agent may not use $header" ;;
        esac
        ;;
    esac
done < <(grep -rn --include='*.c' --include='*.h' '^#include "' --exclude-dir=cases compat translate backends shim tests)

if [ -n "${2:-}" ]; then
    [ -s "$2" ] || complain "no link map at $2"
    if grep -Eo '/[^ ]*lib(curl|sqlite3|jansson|protobuf[^ ]*|archive|ssl|crypto|nss[^ ]*|uv|nghttp2|fyaml)[^ ]*\.(a|so)[^ ]*' "$2" | sort -u | grep .; then
        complain "the agent links the libraries above"
    fi
fi
# Only main() prints an error and ends the program; a library room does neither.
while IFS=: read -r file line text; do
    complain "$file:$line: a library room ends the program: $text"
done < <(grep -rnE --include='*.c' '(^|[^_a-z])exit\(' compat translate backends --exclude=main.c | grep -vE '_exit\(|atexit\(' | grep -vE '^[^:]+:[0-9]+: *(/?\*|//)')
exit $bad
