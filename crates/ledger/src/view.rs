//! The two logs that operators know, written from the book: `logs/auth-audit.jsonl`, one line for every sign-in,
//! and `logs/command-audit.jsonl`, one for every command that ended or was refused.
//!
//! A view is a function of the book's lines, times included, so that it can be written again from them. It is
//! written by the book's own thread after the flush of what it mirrors, never flushed itself, and never waited
//! for: what it lacks is in the book. It keeps no more than a flood may write in a minute ([`flood`]).

mod auth;
mod command;
mod flood;
mod line;
mod reading;
mod rotating;

use moltbot_vault::{Lock, LockError, StateDir};

use crate::error::LedgerError;
use crate::ledger;
use crate::query::{QueryError, Reader, Record};
use auth::AuthView;
use command::CommandView;
use rotating::Rotating;

pub use reading::{AuthLine, CommandLine, Found, auth_lines, auth_successes, command_lines};

/// The folder of logs in the state folder.
const FOLDER: &str = "logs";
/// What a record must have in it to be looked at.
const MIRRORED: [&str; 4] =
    [r#""action":"auth."#, r#""action":"pairing."#, r#""action":"command."#, r#""action":"ledger."#];

/// Both views.
#[derive(Debug)]
pub(crate) struct Views {
    auth: AuthView,
    command: CommandView,
}

impl Views {
    pub(crate) fn new(state: &StateDir) -> Self {
        Self::with(state, |name| name.to_owned())
    }

    fn with(state: &StateDir, named: impl Fn(&str) -> String) -> Self {
        let file = |name: &str| Rotating::new(state.clone(), &named(name));
        let auth = AuthView::new(file(auth::FILE), file(auth::SUCCESSES));
        Self { auth, command: CommandView::new(file(command::FILE)) }
    }

    /// Adds what whole lines of the book say. Never fails: what cannot be written is logged once, and counted.
    pub(crate) fn mirror(&mut self, lines: &str) {
        for line in lines.lines().filter(|line| MIRRORED.iter().any(|part| line.contains(part))) {
            if let Some(record) = Record::parse(line.as_bytes()) {
                self.add(&record);
            }
        }
    }

    fn add(&mut self, record: &Record) {
        let action = record.action.as_str();
        self.auth.pass(record.millis());
        self.command.pass(record.millis());
        if action.starts_with("auth.") || action.starts_with("pairing.") {
            self.auth.add(record);
        } else if action.starts_with("command.") {
            self.command.add(record);
        } else if action == "ledger.stop" {
            self.auth.close();
            self.command.close();
        }
    }
}

/// Writes both views again from the book, for when they were damaged or a disk did not take them. No gateway may
/// be running. Tells how many lines of the book could not be read.
///
/// # Errors
/// [`LedgerError::Busy`] when a gateway writes the book; or when the book cannot be read or the views not written.
pub fn rebuild_views(state: &StateDir) -> Result<u64, RebuildError> {
    let folder = state.folder(ledger::FOLDER).map_err(LedgerError::File)?;
    let _lock = lock(&folder)?;
    let named = |name: &str| format!("new-{name}");
    let files = [auth::FILE, auth::SUCCESSES, command::FILE];
    let logs = state.folder(FOLDER).map_err(LedgerError::File)?;
    for name in files {
        rotating::remove(&logs, &named(name)).map_err(LedgerError::File)?;
    }
    let mut views = Views::with(state, named);
    let mut records = Reader::of(folder).records(1)?;
    while let Some(record) = records.next_record()? {
        views.add(&record);
    }
    views.auth.close();
    views.command.close();
    if views.auth.lost() + views.command.lost() > 0 {
        return Err(RebuildError::Views);
    }
    for name in files {
        rotating::replace(&logs, &named(name), name).map_err(LedgerError::File)?;
    }
    Ok(records.skipped())
}

/// No gateway writes the book, and its views, while this is held.
fn lock(folder: &StateDir) -> Result<Lock, LedgerError> {
    let process = std::process::id().to_string();
    folder.lock(ledger::LOCK, process.as_bytes()).map_err(|error| match error {
        LockError::Held { .. } => LedgerError::Busy { path: folder.path().to_owned() },
        other => LedgerError::Lock(other),
    })
}

/// Why the views could not be written again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The book or a file.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Reading the book.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Writing a view; the log says why.
    #[error("the views could not be written; see the log for the reason, then try again")]
    Views,
}
