#!/bin/sh
# Measures the release build; with --budgets only what has a budget, failing when one is exceeded.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo build --release --locked -p moltbot-testkit --bin moltbot-bench
./target/release/moltbot-bench "$@" target/release/moltbot
