#!/bin/sh
# Measures the release build, beside what this machine does without moltbot. With --budgets only what has a budget. A
# budget that is exceeded fails; with --compare, a ratio worse than twice that of bench/baseline.json does, too.
# --write makes this run the new baseline.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo build --release --locked -p moltbot-testkit --bin moltbot-bench
case " $* " in
    *" --budgets "*) ;;
    *)
        echo "measuring sandbox spawns, the book, secrets and reviews" >&2
        $cargo bench --quiet --locked -p moltbot-sandbox --bench spawn -- "$PWD/target/release/moltbot" \
            > target/bench-sandbox.jsonl
        $cargo bench --quiet --locked -p moltbot-ledger --bench book > target/bench-book.jsonl
        $cargo bench --quiet --locked -p moltbot-vault --bench secrets > target/bench-secrets.jsonl
        $cargo bench --quiet --locked -p moltbot-policy --bench review > target/bench-review.jsonl
        set -- --bench target/bench-review.jsonl --bench target/bench-sandbox.jsonl --bench target/bench-book.jsonl \
            --bench target/bench-secrets.jsonl --baseline bench/baseline.json "$@"
        ;;
esac
# Away from where the tests have just removed thousands of files: see `cold_starts`.
TMPDIR=$(mktemp -d /var/tmp/moltbot-bench-XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
./target/release/moltbot-bench "$@" target/release/moltbot
