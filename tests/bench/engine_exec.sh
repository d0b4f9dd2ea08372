#!/usr/bin/env bash
# How long the engine's own part takes, without a client: a sandbox's start, its first exec, the next, and one after a rest; execs by the
# sandbox's starter and by runs of the container runtime, in turns, so that what else the machine does hits both. Medians.
# Usage: engine_exec.sh TESTS_BIN_DIR [ROUNDS]
set -eu
tests=$1
rounds=${2:-20}
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for turn in 1 2 3; do
    for how in starter runtime; do
        line=$(ATP_BENCH_ROUNDS=$rounds ATP_ENGINE_EXEC=$how ATP_TEST_FILTER=test_times "$tests/unit_engine_starter" 2>&1 | grep 'medians of')
        echo "$turn, by the $how: $line"
    done
done
