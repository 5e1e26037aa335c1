//! Why there is no book.

use std::io;
use std::path::PathBuf;

use moltbot_vault::{FileError, LockError, RandomError};
use thiserror::Error;

/// Why the book could not be opened or written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process writes it.
    #[error("the book in {path} is open in another process; stop that one first")]
    Busy { path: PathBuf },
    /// The segment that is written was cut, removed or written to by somebody else.
    #[error(
        "the book {path} has {found} bytes instead of {expected}: something else wrote to it; find out what, then restart"
    )]
    Changed { path: PathBuf, expected: u64, found: u64 },
    /// The disk refused.
    #[error("the book cannot be read or written")]
    File(#[from] FileError),
    /// The book's own lock could not be used.
    #[error("the book cannot be locked")]
    Lock(#[from] LockError),
    /// No id could be drawn for this process.
    #[error("the book cannot name this process")]
    Random(#[from] RandomError),
    /// A line is not what was written.
    #[error(
        "the book was changed: {path}, line {line}: {what}; keep the folder as evidence by moving it away, and find out who changed it before you start again"
    )]
    Tampered { path: PathBuf, line: u64, what: &'static str },
    /// The thread that writes could not start.
    #[error("the book's writer cannot start; raise the limit on threads")]
    Thread { source: io::Error },
}

impl LedgerError {
    /// What happened with its causes, for those who wait: they see one text.
    pub(crate) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
