#!/usr/bin/env bash
# The unit tests and the container suites once more, on a build of client and engine with AddressSanitizer and
# UndefinedBehaviorSanitizer. The agent in the containers is static musl, for which there are none: its code is under them in the
# unit tests, as atp-agent-native.
# Usage: sanitized.sh SOURCE_DIR BUILD_DIR [SUITE...]
set -eu -o pipefail
source_dir=$1
build=$2
shift 2
[ $# -gt 0 ] || set -- run mounts exec life
cmake -S "$source_dir" -B "$build" -DATP_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug >/dev/null
cmake --build "$build" -j "$(nproc)" | tail -n 1
export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
ctest --test-dir "$build" --output-on-failure -L quick -E '^(arrows|style|loads|unit_agent_container)$' -j "$(nproc)"
if [ "$(id -u)" = 0 ]; then
    for suite in "$@"; do
        ATP_BIN=$build/bin ATP_TESTS=$build/tests bats "$source_dir/tests/cli/$suite.bats"
    done
fi
