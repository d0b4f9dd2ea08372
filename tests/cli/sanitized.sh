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
# As in .ci/run: what fails runs once more, and both are shown. Of what passes there is nothing to say.
some() {
    ctest --test-dir "$build" --output-on-failure --repeat until-pass:2 -j "$(nproc)" "$@" | grep -vE '^ +Start +[0-9]+: | Passed +[0-9.]+ sec$'
}
some -L quick -E '^(arrows|style|loads|unit_agent_container)$'
if [ "$(id -u)" = 0 ]; then
    some -R "^cli_($(echo "$*" | tr ' ' '|'))\$"
fi
