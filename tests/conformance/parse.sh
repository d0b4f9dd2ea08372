#!/bin/bash
# Gives the lines of parse.txt to a real docker and to our tables: the same texts on stderr, the same exit code, or both
# get past parsing. Exits 77 without a docker 28.
. "$(dirname "$0")/common.sh"

failed=0 compared=0
while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    eval "set -- $line"
    "$docker" "$@" >"$tmp/real.out" 2>"$tmp/real" </dev/null
    real=$?
    "$words" parse "$@" >"$tmp/ours.out" 2>"$tmp/ours" </dev/null
    ours=$?
    compared=$((compared + 1))
    if grep -q '^parsed$' "$tmp/ours"; then
        # Past parsing: docker may only complain about what is checked later.
        if grep -Eq '^(unknown (shorthand )?flag|invalid argument|flag needs|bad flag|docker: .* (requires|accepts) )' "$tmp/real"; then
            echo "docker $line: docker refuses it, we do not:"
            head -1 "$tmp/real"
            failed=1
        fi
        continue
    fi
    if [ "$real" != "$ours" ] || ! cmp -s "$tmp/real" "$tmp/ours"; then
        echo "docker $line: exit $real, ours $ours"
        diff "$tmp/real" "$tmp/ours"
        failed=1
    fi
done <"$(dirname "$0")/parse.txt"
echo "$compared lines compared"
[ "$compared" -gt 100 ] || failed=1
exit "$failed"
