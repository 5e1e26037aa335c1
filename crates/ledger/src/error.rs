//! Why there is no book.

use std::io;
use std::path::PathBuf;

use moltbot_policy::with_causes;
use moltbot_vault::{FileError, LockError, RandomError, SealError};
use thiserror::Error;

use crate::anchor::AnchorError;

/// Why the book could not be opened or written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum LedgerError {
    /// What remembers the book's head elsewhere could not be asked.
    #[error("what the book is compared with cannot be read")]
    Anchor(#[from] AnchorError),
    /// Another process writes it.
    #[error("the book in {path} is open in another process; stop that one first")]
    Busy { path: PathBuf },
    /// The segment that is written was cut, removed or written to by somebody else.
    #[error(
        "the book {path} has {found} bytes instead of {expected}: something else wrote to it; find out what, then restart"
    )]
    Changed { path: PathBuf, expected: u64, found: u64 },
    /// It was closed before.
    #[error("the book is closed")]
    Closed,
    /// The disk refused.
    #[error("the book cannot be read or written")]
    File(#[from] FileError),
    /// The book's own lock could not be used.
    #[error("the book cannot be locked")]
    Lock(#[from] LockError),
    /// No id could be drawn for this process.
    #[error("the book cannot name this process")]
    Random(#[from] RandomError),
    /// The signing key could not be sealed.
    #[error("the signing key of the book cannot be kept")]
    Seal(#[from] SealError),
    /// The thread that writes could not start.
    #[error("the book's writer cannot start; raise the limit on threads")]
    Thread { source: io::Error },
}

impl LedgerError {
    /// Whether there is no space for more.
    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Self::File(FileError::Full { .. }))
    }

    /// What happened with its causes, for those who wait: they see one text.
    pub(crate) fn told(&self) -> String {
        with_causes(self)
    }
}
