#!/usr/bin/env bash
# Arrows point down: a file includes only headers of its own floor or a lower one (the rooms' order below), and the agent's
# link map holds nothing but what a static helper may hold. Usage: arrows.sh SOURCE_DIR [LINK_MAP]
set -u
cd "$1" || exit 1
bad=0
complain() {
    echo "arrows: $*" >&2
    bad=1
}
# One line each: FILE:LINE:#include "HEADER".
includes() {
    grep -rn --include='*.c' --include='*.h' '^#include "' --exclude-dir=cases compat translate backends shim tests
}
includes | awk -F: '
function floor(path) {
    if (path ~ /^compat\/base\//) return 10
    if (path ~ /^compat\/sys\//) return 11
    if (path ~ /^compat\/(lib|docker)\//) return 12
    if (path ~ /^translate\/(wire|tree|sync|dockerfile)\//) return 20
    if (path ~ /^translate\/compose\//) return 22
    if (path ~ /^translate\//) return 21
    if (path ~ /^backends\/(proto|grpc|state|docker|sync)\//) return 30
    if (path ~ /^backends\/(tree|session|modal|registry|local|blobs)\//) return 31
    if (path ~ /^backends\/(agent|engine|monitor)\//) return 32
    if (path ~ /^shim\//) return 40
    if (path ~ /^tests\//) return 50
    return 0
}
function complain(text) {
    print "arrows: " text > "/dev/stderr"
    bad = 1
}
{
    file = $1
    split($0, quoted, "\"")
    header = quoted[2]
    if (!floor(file)) complain(file ": lies in no known room")
    if (header ~ /\.pb-c\.h$/ || header == "agent_digest.h") next
    if (!floor(header)) complain(file ":" $2 ": \"" header "\" is not included from the root of the project")
    if (floor(header) > floor(file)) complain(file ":" $2 ": includes upwards: " header)
    # The two programs are nobody'"'"'s library, and pure rooms stay pure.
    if (header ~ /^backends\/(agent|engine)\// && file !~ /^tests\// && substr(file, 1, 14) != substr(header, 1, 14))
        complain(file ":" $2 ": includes a header of a program: " header)
    if (file ~ /^backends\/agent\// &&
        header !~ /^(compat\/(base|sys)|translate\/(wire|sync|tree)|backends\/(sync|tree|agent))\//)
        complain(file ":" $2 ": the agent may not use " header)
}
END { exit bad }' || bad=1

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
