//! Command line and composition root: arguments in, parts joined, exit code out.
#![forbid(unsafe_code)]

mod arguments;
mod background;
mod book;
mod bots;
mod certificate;
mod change;
mod channels;
mod choosing;
mod client;
mod clock;
mod commands;
mod credentials;
mod desk;
mod editor;
mod environment;
mod exit;
mod home;
mod keeper;
mod keys;
mod log;
mod manager;
mod output;
mod prompt;
mod redacted;
mod serve;
mod tui;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;
use exit::Exit;

/// The variable that names the control to take away.
#[cfg(feature = "drill-holes")]
const HOLE: &str = "MOLTBOT_DRILL_HOLE";

/// Takes a control away, so that the drill on it gets through. Not in any program that anybody uses.
#[cfg(feature = "drill-holes")]
#[expect(clippy::disallowed_methods, reason = "a build for tests alone")]
fn open_hole() {
    if let Ok(name) = std::env::var(HOLE) {
        moltbot_config::hole::open(name);
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "drill-holes")]
    open_hole();
    // The sandbox's helper is this program, run again. It must not read arguments, config or environment.
    match std::env::args_os().nth(1) {
        Some(argument) if argument == moltbot_sandbox::HELPER => return moltbot_sandbox::helper_main(),
        Some(argument) if argument == moltbot_sandbox::KEEPER => return moltbot_sandbox::keeper_main(),
        Some(_) | None => {}
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let outcome = harden().and_then(|()| commands::run(arguments.command, arguments.profile.as_deref()));
    let exit = outcome.unwrap_or_else(|error| {
        if !exit::is_closed_pipe(&error) {
            output::note(&format!("moltbot: {error:#}"));
        }
        exit::of(&error)
    });
    ExitCode::from(exit.code())
}

/// Help and version to standard output, usage errors (2) to standard error.
fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if printed.is_ok() { ExitCode::from(code) } else { ExitCode::from(Exit::Done.code()) }
}

/// What this process gives up before it reads anything: files that others can read, memory on disk after a
/// crash, and other processes of the same user looking into it.
fn harden() -> anyhow::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit, umask};
    umask(rustix::fs::Mode::from_bits_truncate(0o077));
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
