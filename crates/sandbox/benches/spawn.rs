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

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use moltbot_config::settings::DockerConfig;
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_policy::command::{permit_own, permit_probe};
use moltbot_policy::container::{Backend, Container};
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use moltbot_sandbox::Sandbox;
use moltbot_testkit::engine::{Engine, IMAGE};
use moltbot_testkit::figure::{Figure, Limit, Reference, milliseconds_of, timed};
use moltbot_vault::StateDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const RUNS: usize = 200;
/// The most that walls may cost, in plain forks and execs; 4.5 is the target.
const GATE: f64 = 7.0;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let helper = given.unwrap_or_else(|| env!("CARGO_BIN_EXE_moltbot-sandbox-helper").into());
    let helper = PathBuf::from(helper);
    let sandbox = Sandbox::with_helper(helper.clone(), ledger.clone());
    let runtime = Runtime::new().unwrap();
    let (mut plain, mut shell, mut walls) = (Vec::new(), Vec::new(), Vec::new());
    let (mut book, mut bubblewrap) = (Vec::new(), Vec::new());
    let has_bubblewrap = runtime.block_on(sandbox.posture_of(&Backend::Bwrap)).is_ok();
    // As the agent's commands: with a workspace, and so within walls that were built ahead after the first.
    let folder = home.path().join("workspace");
    rustix::fs::mkdir(&folder, rustix::fs::Mode::RWXU).unwrap();
    let spawn = |backend| run_in(&folder, backend, &sandbox, &ledger, &runtime);
    let cold = timed(|| spawn(Backend::Embedded));
    // In turns, so that a busy moment of the machine falls on all of them.
    for _ in 0..RUNS {
        plain.push(timed(|| start("/bin/true", &[])));
        shell.push(timed(|| start("/bin/bash", &["-c", "true"])));
        walls.push(timed(|| spawn(Backend::Embedded)));
        if has_bubblewrap {
            bubblewrap.push(timed(|| spawn(Backend::Bwrap)));
        }
        // What a command has in the book: that it begins, and how it ended.
        book.push(timed(|| {
            for _ in 0..2 {
                drop(moltbot_policy::record(permit_probe("true", Backend::Embedded), &ledger).unwrap());
            }
        }));
    }
    let plain = milliseconds_of(&mut plain, 500);
    let beside = || Reference::Time("a plain fork and exec".into(), plain);
    let figure = |name: &str, value| Figure::new(name, "ms", value, Limit::None);
    containers(&ledger, &helper, plain);
    let (walls_ms, book_ms) = (milliseconds_of(&mut walls, 500), milliseconds_of(&mut book, 500));
    let ratio = (walls_ms - book_ms) / plain;
    if has_bubblewrap {
        let value = milliseconds_of(&mut bubblewrap, 500);
        println!("{}", figure("spawn of `true` by bwrap, recorded", value).beside(beside()).to_line());
    }
    for figure in [
        figure("the two records of a command", book_ms),
        Figure::new(
            "sandbox spawn without its records, to a plain fork and exec",
            "x",
            ratio,
            Limit::AtMost(GATE),
        ),
        figure("the first sandbox spawn of `true`, recorded", milliseconds_of(&mut [cold], 500))
            .beside(beside()),
        figure("plain fork and exec of `true`", plain),
        figure("plain `bash -c true`", milliseconds_of(&mut shell, 500)).beside(beside()),
        figure("sandbox spawn of `true`, recorded", walls_ms).beside(beside()),
        figure("sandbox spawn of `true`, recorded, p99", milliseconds_of(&mut walls, 990)),
    ] {
        println!("{}", figure.to_line());
    }
}

fn run_in(folder: &Path, backend: Backend, sandbox: &Sandbox, ledger: &Ledger, runtime: &Runtime) {
    let walls = Profile { backend, workspace: WorkspaceAccess::ReadWrite, ..Profile::for_probe() };
    let permit = moltbot_policy::record(permit_own("true", walls), ledger).unwrap();
    let workspace = rustix::fs::open(folder, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    runtime.block_on(sandbox.run(permit, Some(workspace), CancellationToken::new())).unwrap();
}

/// A command in a warm container, where the run has an engine.
fn containers(ledger: &Ledger, helper: &Path, plain: f64) {
    let Some(engine) = Engine::start("the spawn of a command in a warm container") else { return };
    let docker = DockerConfig {
        container_prefix: format!("bench{}-", std::process::id()),
        image: IMAGE.into(),
        socket: engine.socket().display().to_string(),
        ..DockerConfig::default()
    };
    let container = Container::of(&docker, "bench", Vec::new());
    let name = container.name.clone();
    let backend = Backend::Docker(Arc::new(container));
    let runtime = Runtime::new().unwrap();
    let sandbox = Sandbox::with_helper(helper.to_owned(), ledger.clone());
    let run = || {
        let walls = Profile { backend: backend.clone(), ..Profile::for_probe() };
        let permit = moltbot_policy::record(permit_own("true", walls), ledger).unwrap();
        runtime.block_on(sandbox.run(permit, None, CancellationToken::new())).unwrap();
    };
    let cold = timed(run);
    let mut warm: Vec<_> = (0..RUNS / 4).map(|_| timed(run)).collect();
    let beside = Reference::Time("a plain fork and exec".into(), plain);
    for figure in [
        Figure::new(
            "first command of a container, recorded",
            "ms",
            milliseconds_of(&mut [cold], 500),
            Limit::None,
        ),
        Figure::new(
            "command in a warm container, recorded",
            "ms",
            milliseconds_of(&mut warm, 500),
            Limit::None,
        )
        .beside(beside),
    ] {
        println!("{}", figure.to_line());
    }
    engine.docker(&["rm", "--force", &name]);
}

#[expect(clippy::disallowed_methods, reason = "what the sandbox is compared with")]
fn start(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success());
}
