#!/bin/bash
# Holds every command's --help, made out of our tables, to that of a real docker: usage, sentences, other names, options,
# type words, defaults, lay-out. Exits 77 without a docker 28.
. "$(dirname "$0")/common.sh"

# Names that may differ, each with its reason. A name in the list that does not differ is a failure as well.
declare -A expected=(
    [checkpoint]="what is below a delegated group is the real docker's"
    [config]="what is below a delegated group is the real docker's"
    [context]="what is below a delegated group is the real docker's"
    [manifest]="what is below a delegated group is the real docker's"
    [node]="what is below a delegated group is the real docker's"
    [plugin]="what is below a delegated group is the real docker's"
    [secret]="what is below a delegated group is the real docker's"
    [service]="what is below a delegated group is the real docker's"
    [stack]="what is below a delegated group is the real docker's"
    [swarm]="what is below a delegated group is the real docker's"
    [trust]="what is below a delegated group is the real docker's"
)

failed=0 compared=0

# Compares the help of one name.
compare() {
    local name=$1
    # shellcheck disable=SC2086 # the words of a name
    "$docker" $name --help 2>/dev/null >"$tmp/real"
    # shellcheck disable=SC2086
    "$words" help $name >"$tmp/ours"
    compared=$((compared + 1))
    if cmp -s "$tmp/real" "$tmp/ours"; then
        if [ -n "$name" ] && [ -n "${expected[$name]:-}" ]; then
            echo "docker $name: listed as different but the same"
            failed=1
        fi
    elif [ -z "$name" ] || [ -z "${expected[$name]:-}" ]; then
        echo "docker $name --help differs:"
        diff "$tmp/real" "$tmp/ours" | head -20
        failed=1
    fi
}

compare ""
"$words" list | tr '\t' '\n' | tr ',' '\n' | sed 's/^ *docker //; s/^ *//' | grep . | grep -vE '^(compose|buildx( |$))' | sort -u >"$tmp/names"
while read -r name; do
    compare "$name" </dev/null
done <"$tmp/names"
echo "$compared names compared"
[ "$compared" -gt 100 ] || failed=1

# Every command that the real docker lists is in our tables.
"$docker" --help | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p' | while read -r name; do
    "$words" help "$name" >/dev/null || echo "docker $name: not in the tables"
done >"$tmp/missing"
if [ -s "$tmp/missing" ]; then
    cat "$tmp/missing"
    failed=1
fi
exit "$failed"
