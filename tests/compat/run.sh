#!/bin/sh
# Drives the clients of other generations against the release binary, as tests/compat/clients.toml says. With --quick the
# rows that are part of `make test`. The clients come from the npm registry into target/test-tools, with their own Node:
# about a gigabyte and half a minute the first time.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
tools=target/test-tools
python3 tests/compat/clients.py check
[ -x target/release/moltbot ] || make build
$cargo build --locked -p moltbot-testkit --bin moltbot-stage
python3 tests/compat/clients.py install "$tools"
exec python3 tests/compat/clients.py run target/debug/moltbot-stage target/release/moltbot "$tools" "$@"
