//! Who asks the owner about a command. The gateway knows how; a turn only waits for the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use moltbot_policy::Recorded;
use moltbot_policy::approval::{ApprovalPermit, ApprovalsFile, Question};

/// An answer on its way. Dropped before it is there, nobody is asked any more.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Recorded<ApprovalPermit>, String>> + Send + 'a>>;

/// What knows the owner, and what he keeps about commands.
pub trait Approvals: Send + Sync {
    /// What the owner keeps. May block.
    ///
    /// # Errors
    /// When it cannot be read: no command then runs.
    fn file(&self) -> Result<ApprovalsFile, String>;

    /// Asks about a command. A no is an answer, too; no answer, and nobody to ask, is an error that says so.
    fn ask(&self, question: Arc<Question>) -> Answer<'_>;

    /// The time, in milliseconds since the epoch.
    fn now_ms(&self) -> u64;

    /// Notes that entries of the list let a command pass, by their ids. `path` is that of its program. May block.
    fn used(&self, entries: &[String], script: &str, path: &str);
}
