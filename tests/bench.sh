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
        echo "measuring sandbox spawns" >&2
        $cargo bench --quiet --locked -p moltbot-sandbox --bench spawn -- "$PWD/target/release/moltbot" \
            > target/bench-sandbox.txt
        set -- --sandbox target/bench-sandbox.txt --baseline bench/baseline.json "$@"
        ;;
esac
exec ./target/release/moltbot-bench "$@" target/release/moltbot
