//! The book as another process of its owner reaches it: through the gateway that has it open.

use std::fmt;
use std::sync::Arc;

use moltbot_policy::{Book, Entering, Entry, Unrecorded};

/// Has a line written, and tells its number or why it was not.
type Ask = dyn Fn(&Entry) -> Result<u64, String> + Send + Sync;

/// A book that is written by the gateway, which is asked over a connection that signed in. Two processes never write
/// one book; this one waits for the other's word that the line is on disk.
pub struct Relayed {
    ask: Arc<Ask>,
}

impl Relayed {
    /// A book that `ask` writes: it returns the line's number once the gateway has it on disk, or why it has not.
    pub fn through(ask: impl Fn(&Entry) -> Result<u64, String> + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask) }
    }
}

impl Book for Relayed {
    fn enter(&self, entry: Entry) -> Result<u64, Unrecorded> {
        ask_for(&*self.ask, &entry)
    }

    /// Asking blocks, so a thread of its own does.
    fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
        let ask = Arc::clone(&self.ask);
        let asking = move || entries.iter().map(|entry| ask_for(&*ask, entry)).collect();
        let asked = tokio::task::spawn_blocking(asking);
        let stopped = |_| Unrecorded { action: "ledger.relay", cause: "the program is stopping".into() };
        Box::pin(async move { asked.await.map_err(stopped)? })
    }
}

fn ask_for(ask: &Ask, entry: &Entry) -> Result<u64, Unrecorded> {
    ask(entry).map_err(|cause| Unrecorded { action: entry.action, cause })
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed").finish_non_exhaustive()
    }
}
