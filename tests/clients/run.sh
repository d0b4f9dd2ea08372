#!/usr/bin/env bash
# A test with a real client program out of a package registry. It skips (77) where it cannot have it, unless ATP_CLIENTS=required:
# then a skip is a failure. Usage: run.sh SCRIPT ARGUMENTS...
code=0
bash "$@" || code=$?
if [ "$code" = 77 ] && [ "${ATP_CLIENTS:-}" = required ]; then
    echo "skipped, but ATP_CLIENTS=required"
    exit 1
fi
exit "$code"
