//! How long a command takes behind the walls, beside a plain fork and exec: 200 runs of `true`.
//!
//! `cargo bench -p moltbot-sandbox --bench spawn -- PROGRAM` builds the walls with that program, as moltbot does with
//! itself; without one, with the small helper of the tests.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "prints figures; a failure ends the measurement"
)]

use std::process::Command;

use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_policy::command::permit_probe;
use moltbot_sandbox::Sandbox;
use moltbot_testkit::figure::{Figure, Limit, Reference, milliseconds_of, timed};
use moltbot_vault::StateDir;
use tokio_util::sync::CancellationToken;

const RUNS: usize = 200;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let helper = given.unwrap_or_else(|| env!("CARGO_BIN_EXE_moltbot-sandbox-helper").into());
    let sandbox = Sandbox::with_helper(helper.into(), ledger.clone());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut plain, mut shell, mut walls) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that a busy moment of the machine falls on all three.
    for _ in 0..RUNS {
        plain.push(timed(|| start("/bin/true", &[])));
        shell.push(timed(|| start("/bin/bash", &["-c", "true"])));
        walls.push(timed(|| {
            let permit = moltbot_policy::record(permit_probe("true"), &ledger).unwrap();
            runtime.block_on(sandbox.run(permit, None, CancellationToken::new())).unwrap();
        }));
    }
    let plain = milliseconds_of(&mut plain, 500);
    let beside = || Reference::Time("a plain fork and exec".into(), plain);
    let figure = |name: &str, value| Figure::new(name, "ms", value, Limit::None);
    for figure in [
        figure("plain fork and exec of `true`", plain),
        figure("plain `bash -c true`", milliseconds_of(&mut shell, 500)).beside(beside()),
        figure("sandbox spawn of `true`, recorded", milliseconds_of(&mut walls, 500)).beside(beside()),
        figure("sandbox spawn of `true`, recorded, p99", milliseconds_of(&mut walls, 990)),
    ] {
        println!("{}", figure.to_line());
    }
}

#[expect(clippy::disallowed_methods, reason = "what the sandbox is compared with")]
fn start(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success());
}
