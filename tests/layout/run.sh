#!/bin/sh
# Finds which functions a start, a sign-in and an idle gateway enter, and writes them into crates/moltbot/start.txt, by
# which the release build puts them together: what is used at all times is then a quarter of the program's pages.
#   run.sh          adds what this build enters and the list lacks
#   run.sh --anew   begins with an empty list
# Worth it when many names of the list are of no function any more, which dependencies and another compiler cause; the
# idle memory that `make bench` prints tells. Whose hash alone changed is still found by its name.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
list=crates/moltbot/start.txt
binary=$PWD/target/release/moltbot
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
[ "${1:-}" = --anew ] && : > "$list"

# A list that changes the layout changes which of several equal functions is kept: the second round sees those.
for round in 1 2 3; do
    MOLTBOT_LINK_MAP="$room/map" $cargo build --release --locked -p moltbot
    rm -rf "$room/state"
    mkdir -m 700 "$room/state"
    token=$(head -c 32 /dev/urandom | base64 -w0 | tr -d '=+/')
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    (
        for _ in 1 2 3; do
            sleep 4
            MOLTBOT_GATEWAY_TOKEN=$token python3 tests/layout/sign_in.py "$port"
        done
    ) &
    clients=$!
    HOME="$room" MOLTBOT_STATE_DIR="$room/state" MOLTBOT_GATEWAY_TOKEN="$token" \
        python3 tests/layout/trace.py "$room/map" 16 "$binary" gateway run --port "$port" > "$room/entered" 2> "$room/log"
    wait "$clients"
    tail -1 "$room/log"
    awk 'NR == FNR { known[$0] = 1; next } !($0 in known)' "$list" "$room/entered" > "$room/new"
    new=$(grep -c . "$room/new" || true)
    echo "round $round: $new functions are new"
    cat "$room/new" >> "$list"
    [ "$new" -lt 20 ] && break
done
