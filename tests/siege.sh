#!/bin/sh
# Tries what takes too long for every change: each small change of a book of a thousand records, a thousand kills, the
# attacks on the entrances at their full size. In release, because it is many. The entrances that are attacked are those of
# the program that `make build` builds; cargo would build another one beside the tests, with their libraries' features.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
export MOLTBOT_TEST_TOOLS="$PWD/target/test-tools"
sh tests/setup.sh
"$cargo" build --release --locked -p moltbot
mkdir -p target/siege/release
cp target/release/moltbot target/siege/release/moltbot
export MOLTBOT_ATTACKED="$PWD/target/siege/release/moltbot"
exec "$cargo" nextest run --workspace --locked --release --no-fail-fast --run-ignored only siege_ "$@"
