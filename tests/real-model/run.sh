#!/bin/sh
# Talks to two real models through the release binary: `make test-model`. Fetches 600 MB the first time.
set -eu
cd "$(dirname "$0")/../.."
cache=$PWD/target/real-model
mkdir -p "$cache"
[ -d "$cache/node_modules/node-llama-cpp" ] || npm install --prefix "$cache" --ignore-scripts --omit=optional \
    --no-audit --no-fund --loglevel=error node-llama-cpp@3.22 @node-llama-cpp/linux-x64@3.22
exec python3 tests/real-model/run.py target/release/moltbot "$cache"
