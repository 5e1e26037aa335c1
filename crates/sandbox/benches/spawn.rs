//! How long a command takes behind the walls, beside a plain fork and exec: medians of 200 runs of `true`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "prints figures; a failure ends the measurement"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use moltbot_ledger::Ledger;
use moltbot_policy::command::permit_probe;
use moltbot_sandbox::Sandbox;
use moltbot_vault::StateDir;
use tokio_util::sync::CancellationToken;

const RUNS: usize = 200;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&StateDir::open_or_create(&home.path().join("state")).unwrap()).unwrap();
    let helper = env!("CARGO_BIN_EXE_moltbot-sandbox-helper");
    let sandbox = Sandbox::with_helper(helper.into(), ledger.clone());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    #[expect(clippy::disallowed_methods, reason = "what the sandbox is compared with")]
    let plain = measure(|| assert!(Command::new("/bin/true").status().unwrap().success()));
    #[expect(clippy::disallowed_methods, reason = "what the sandbox is compared with")]
    let shell =
        measure(|| assert!(Command::new("/bin/bash").args(["-c", "true"]).status().unwrap().success()));
    let walls = measure(|| {
        let permit = moltbot_policy::record(permit_probe("true"), &ledger).unwrap();
        runtime.block_on(sandbox.run(permit, None, CancellationToken::new())).unwrap();
    });
    for (name, (median, slow)) in [
        ("plain fork and exec", plain),
        ("plain bash -c true", shell),
        ("sandbox, with both lines of the book", walls),
    ] {
        println!("{name}: p50 {:.2} ms, p99 {:.2} ms", milliseconds(median), milliseconds(slow));
    }
}

/// The median, and what 99 of 100 stay below.
fn measure(mut run: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times.get(RUNS * share / 100).copied().unwrap();
    (at(50), at(99))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
