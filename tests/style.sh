#!/usr/bin/env bash
# The style that a script can keep: banned functions, line length, tabs, line comments, words that speak of how the project was made.
# Usage: style.sh SOURCE_DIR
set -u
cd "$1" || exit 1
bad=0
report() {
    local what=$1 hits
    hits=$(cat)
    [ -z "$hits" ] && return
    echo "style: $what" >&2
    echo "$hits" | head -20 >&2
    bad=1
}
sources() { find compat translate backends shim tests -name '*.c' -o -name '*.h'; }
sources | xargs grep -nE '(^|[^_a-zA-Z0-9])(strcpy|strcat|sprintf|vsprintf|atoi|atol|strtok|system|gets|tmpnam|mktemp)\(' /dev/null | grep -v 'fuzz' | report "banned functions"
sources | xargs grep -nE '(^|[^_a-zA-Z0-9])(malloc|calloc|realloc|strdup|strndup|asprintf)\(' /dev/null | grep -v '^compat/base/alloc.c' | grep -vE '^tests/' | report "allocation outside compat/base/alloc.h"
sources | xargs grep -nP '\t' /dev/null | report "tabs"
sources | xargs awk 'length($0) > 140 { print FILENAME ":" FNR ": " length($0) " columns" }' | report "lines over 140 columns"
sources | xargs grep -nE '^[[:space:]]*//' /dev/null | report "line comments"
sources | xargs wc -l | awk '$2 != "total" && $1 > 1000 { print $2 ": " $1 " lines" }' | report "files over 1000 lines"
git grep -nIwiE 'claude|chatgpt|copilot|llm|prompted|sub-?agents?' -- . ':!tests/style.sh' 2>/dev/null | report "words about how the project was made"
exit $bad
