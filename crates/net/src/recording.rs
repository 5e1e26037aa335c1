//! Decisions on connections on their way into the book.

use std::sync::Arc;

use moltbot_policy::network::{EgressPermit, Purpose, refused_egress};
use moltbot_policy::{Book, Permit, Recorded, Refusal, Unrecorded, record_all_soon, record_soon};

/// A book that several clients write: the gateway's own, or one that another process of its owner has it write.
pub type SharedBook = Arc<dyn Book + Send + Sync>;

/// Enters a permit.
pub(crate) async fn enter<P: Permit>(permit: P, book: &SharedBook) -> Result<Recorded<P>, Unrecorded> {
    record_soon(permit, &**book).await
}

/// Enters several permits with one wait.
pub(crate) async fn enter_all(
    permits: Vec<EgressPermit>,
    book: &SharedBook,
) -> Result<Vec<Recorded<EgressPermit>>, Unrecorded> {
    record_all_soon(permits, &**book).await
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
    if let Err(error) = book.enter_soon(vec![entry]).await {
        tracing::error!(%error, %refusal, "a connection was refused, and that could not be recorded");
    }
}
