//! Programs of the owner that are asked for secrets, such as those of password managers.
//!
//! They run on the host and outside the walls: a password manager works nowhere else. What stands in the place of walls
//! is that the owner's config names the program, that nobody else can change it or what leads to it ([`file`]), that no
//! shell and no variable has a say in what is run, and that nothing of it is left when its time is over ([`run`]). What
//! it prints goes into secret types, and nowhere else; what it writes to standard error goes nowhere at all.

mod answer;
pub(crate) mod family;
mod file;
pub(crate) use file::open_own;
mod run;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moltbot_ledger::Ledger;
use moltbot_policy::command::Ended;
use moltbot_policy::secret::program::SecretProgramPermit;
use moltbot_policy::{Book as _, Recorded, Unrecorded};
use secrecy::SecretString;
use thiserror::Error;

/// What a program has for each id: the secret, or why there is none.
pub type Answers = BTreeMap<String, Result<SecretString, String>>;

/// What a program finds around it.
#[derive(Clone, Copy)]
pub struct ProgramSurroundings<'a> {
    /// The owner's home, which is its `HOME`.
    pub home: &'a Path,
    /// Looks up the variables that its provider names.
    pub variable: &'a dyn Fn(&str) -> Option<SecretString>,
}

/// Why a program gave no secrets.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum AskError {
    /// What it printed is no answer.
    #[error(
        "what {program} printed is no answer: {what}; run it by hand with the request that the manual shows"
    )]
    Answer { program: String, what: &'static str },
    /// It ended as one that failed.
    #[error(
        "{program} ended with {exit}, after {bytes} bytes on standard error, which may hold secrets and are not shown; run it by hand to see them"
    )]
    Failed { program: String, exit: String, bytes: u64 },
    /// A folder on the way can be changed by others, who could put another program there.
    #[error("{path} leads to {program} and {what}; correct that with chown or chmod, or move the program")]
    Folder { program: String, path: PathBuf, what: String },
    /// It left processes.
    #[error(
        "{program} left processes behind, which were killed, so its answer is not used; start what is to stay before moltbot starts"
    )]
    Left { program: String },
    /// A symbolic link, which was not allowed.
    #[error(
        "{path} on the way to {program} is a symbolic link; name the real path, or set allowSymlinkCommand and trustedDirs"
    )]
    Link { program: String, path: PathBuf },
    /// It printed more than it may.
    #[error(
        "{program} printed more than {most} bytes and was killed; raise maxOutputBytes of its provider, or ask it for less"
    )]
    Long { program: String, most: usize },
    /// It is no program that may be run.
    #[error("{program} is not run: {what}; correct that, or name another program")]
    Program { program: String, what: String },
    /// The operating system refused.
    #[error("{program} cannot be run")]
    Start { program: String, source: io::Error },
    /// It took too long.
    #[error("{program} did not end within {} ms and was killed; raise timeoutMs of its provider, or find out what it waits for", .after.as_millis())]
    Slow { program: String, after: Duration },
    /// Its processes cannot be killed.
    #[error("processes of {program} cannot be killed; end them by hand: {processes}")]
    Survived { program: String, processes: String },
    /// It is somewhere else than it should be.
    #[error("{program} is {real}, which is in none of the trustedDirs of its provider; add its folder")]
    Untrusted { program: String, real: PathBuf },
    /// Its end could not be recorded, so what it said is not used.
    #[error("what {program} said is not used")]
    Unrecorded { program: String, source: Unrecorded },
}

/// Asks the program of a recorded permit for its secrets, and enters its end into the book. Blocks until nothing of it is
/// left, for the permit's time at most. Whatever becomes a child of this process meanwhile is taken for the program's:
/// to be called while the process starts nothing else, which is when the config is read.
///
/// # Errors
/// When others could change the program, it does not end well or in time, or its answer is none.
pub fn ask_program(
    permit: Recorded<SecretProgramPermit>,
    surroundings: ProgramSurroundings<'_>,
    ledger: &Ledger,
) -> Result<Answers, AskError> {
    let (start, permit, began) = (permit.sequence(), permit.into_permit(), Instant::now());
    let asked = ask(&permit, surroundings);
    let ended = Ended {
        // Of an answer that is none, and of what is around it, the book learns no more than the message has.
        outcome: asked.as_ref().map_or_else(ToString::to_string, |_| "answered".into()),
        exit: asked.as_ref().ok().map(|_| 0),
        duration: began.elapsed(),
    };
    let program = permit.program().to_owned();
    let entered = ledger.enter(permit.end_entry(start, &ended));
    entered.map_err(|source| AskError::Unrecorded { program, source })?;
    asked
}

fn ask(permit: &SecretProgramPermit, surroundings: ProgramSurroundings<'_>) -> Result<Answers, AskError> {
    let handle = file::open(permit)?;
    let request = answer::request(permit);
    let output = run::run(permit, &handle, request.as_bytes(), surroundings)?;
    answer::read(permit, &output).map_err(|what| AskError::Answer { program: permit.program().into(), what })
}
