#!/bin/sh
# Tries what takes too long for every change: each small change of a book of a thousand records, a thousand kills. In
# release, because it is many.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
export MOLTBOT_TEST_TOOLS="$PWD/target/test-tools"
sh tests/setup.sh
exec "$cargo" nextest run --workspace --locked --release --no-fail-fast --run-ignored only siege_ "$@"
