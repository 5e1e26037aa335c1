//! The book as another process of its owner reaches it: through the gateway that has it open.

use std::fmt;

use moltbot_policy::{Book, Entry, Unrecorded};

/// Has a line written, and tells its number or why it was not.
type Ask = dyn Fn(&Entry) -> Result<u64, String> + Send + Sync;

/// A book that is written by the gateway, which is asked over a connection that signed in. Two processes never write
/// one book; this one waits for the other's word that the line is on disk.
pub struct Relayed {
    ask: Box<Ask>,
}

impl Relayed {
    /// A book that `ask` writes: it returns the line's number once the gateway has it on disk, or why it has not.
    pub fn through(ask: impl Fn(&Entry) -> Result<u64, String> + Send + Sync + 'static) -> Self {
        Self { ask: Box::new(ask) }
    }
}

impl Book for Relayed {
    fn enter(&self, entry: Entry) -> Result<u64, Unrecorded> {
        (self.ask)(&entry).map_err(|cause| Unrecorded { action: entry.action, cause })
    }
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed").finish_non_exhaustive()
    }
}
