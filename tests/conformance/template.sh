#!/bin/bash
# Gives the templates of template.txt to a real docker (`context inspect` needs no daemon) and to ours, over the same data:
# the same output, the same errors, the same exit codes. Exits 77 without a docker 28.
. "$(dirname "$0")/common.sh"

"$docker" context inspect >"$tmp/list.json"
# The one context of the list: everything between the outer brackets.
sed '1d;$d' "$tmp/list.json" >"$tmp/context.json"

failed=0 compared=0
while IFS= read -r line; do
    case $line in '' | '# '*) continue ;; esac
    text=$(printf '%bx' "$line")
    text=${text%x}
    "$docker" context inspect -f "$text" >"$tmp/real.out" 2>"$tmp/real.err"
    real=$?
    "$words" template context.contextWithTLSListing "$text" <"$tmp/context.json" >"$tmp/ours.out" 2>"$tmp/ours.err"
    ours=$?
    compared=$((compared + 1))
    # What an inspect prints before a failing template is its own matter.
    [ "$real" = 0 ] || : >"$tmp/real.out"
    if [ "$real" != "$ours" ] || ! cmp -s "$tmp/real.out" "$tmp/ours.out" || ! cmp -s "$tmp/real.err" "$tmp/ours.err"; then
        echo "template $line: exit $real, ours $ours"
        diff "$tmp/real.out" "$tmp/ours.out"
        diff "$tmp/real.err" "$tmp/ours.err"
        failed=1
    fi
done <"$(dirname "$0")/template.txt"
echo "$compared templates compared"
[ "$compared" -gt 100 ] || failed=1
exit "$failed"
