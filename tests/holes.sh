#!/bin/sh
# Builds the program in which one control can be taken away by its name (feature `drill-holes`), for the tests that show that
# a drill can fail. It shares every compiled dependency with the ordinary one; the next build puts that in its place again.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo build --locked -p moltbot --features drill-holes
mkdir -p target/test-tools
# Beside it and renamed, because a test may be running the old one.
cp target/debug/moltbot target/test-tools/moltbot-drilled.new
mv target/test-tools/moltbot-drilled.new target/test-tools/moltbot-drilled
