#!/bin/sh
# Passes every test: sets up, lints, runs the tests, then the budgets on the release build, and at the end says which
# tests this machine could not run. A skip that is not in tests/skips-allowed.txt fails the run.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
export MOLTBOT_SKIP_FILE="$PWD/target/skipped.tsv"
export MOLTBOT_TEST_TOOLS="$PWD/target/test-tools"
mkdir -p target
: > "$MOLTBOT_SKIP_FILE"

sh tests/setup.sh
make lint
# Before the tests, whose build puts the ordinary program in its place again.
sh tests/holes.sh
# One container engine for all tests; where there can be none, they say so by name.
engine=$(mktemp -d)
# Gateways of other users ask it too, as members of the group `docker` would.
chmod 711 "$engine"
trap 'sh tests/engine.sh stop "$engine"' EXIT
if sh tests/engine.sh start "$engine"; then export MOLTBOT_TEST_ENGINE="$engine/engine.sock"; fi
$cargo nextest run --workspace --locked --no-fail-fast
sh tests/engine.sh stop "$engine"
# shellcheck disable=SC2046
python3 tests/defects.py target/nextest/default/junit.xml docs/not-applicable.toml $(grep -v '^#' tests/covered.txt)
$cargo test --workspace --locked --doc --quiet
make build
sh tests/compat/run.sh --quick
sh tests/bench.sh --budgets
# After every other step: what it names are their results.
python3 tests/proof.py target/nextest/default/junit.xml "$MOLTBOT_SKIP_FILE" proof/*.toml

echo
if [ -s "$MOLTBOT_SKIP_FILE" ]; then
    echo "skipped here:"
    sort -u "$MOLTBOT_SKIP_FILE"
    cut -f1 "$MOLTBOT_SKIP_FILE" | sort -u > target/skipped.names
    grep -v '^#' tests/skips-allowed.txt | cut -f1 | sort -u > target/allowed.names || true
    if unexpected=$(comm -23 target/skipped.names target/allowed.names) && [ -n "$unexpected" ]; then
        echo "not allowed to be skipped:"
        echo "$unexpected"
        exit 1
    fi
else
    echo "skipped here: none"
fi
