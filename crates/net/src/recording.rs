//! Decisions on connections on their way into the book. The book waits for a disk, so a thread of its own does.

use std::sync::Arc;

use moltbot_policy::network::{EgressPermit, Purpose, refused_egress};
use moltbot_policy::{Book, Permit, Recorded, Refusal, Unrecorded, record, record_all};

/// A book that several clients write: the gateway's own, or one that another process of its owner has it write.
pub type SharedBook = Arc<dyn Book + Send + Sync>;

/// Enters a permit.
pub(crate) async fn enter<P: Permit + Send + 'static>(
    permit: P,
    book: &SharedBook,
) -> Result<Recorded<P>, Unrecorded> {
    let book = Arc::clone(book);
    let recorded = tokio::task::spawn_blocking(move || record(permit, &*book)).await;
    recorded.map_err(|_| stopped())?
}

/// Enters several permits with one wait.
pub(crate) async fn enter_all(
    permits: Vec<EgressPermit>,
    book: &SharedBook,
) -> Result<Vec<Recorded<EgressPermit>>, Unrecorded> {
    let book = Arc::clone(book);
    let recorded = tokio::task::spawn_blocking(move || record_all(permits, &*book)).await;
    recorded.map_err(|_| stopped())?
}

/// Enters that a connection was refused. It stays refused when the book does not take that.
pub(crate) async fn enter_refused(
    purpose: Purpose,
    target: String,
    actor: &str,
    refusal: &Refusal,
    book: &SharedBook,
) {
    let entry = refused_egress(purpose, target, actor, refusal);
    let book = Arc::clone(book);
    let entered = tokio::task::spawn_blocking(move || book.enter(entry)).await;
    if let Err(error) = entered.map_err(|_| stopped()).and_then(|entered| entered) {
        tracing::error!(%error, %refusal, "a connection was refused, and that could not be recorded");
    }
}

fn stopped() -> Unrecorded {
    Unrecorded { action: "egress.open", cause: "the program is stopping".into() }
}
