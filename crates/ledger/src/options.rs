//! What can be different about a book.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use moltbot_config::limits;

/// How a book is kept. What the owner may set is `anchors` and `retention`; the rest is smaller in tests.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// Files that remember the book's head, best on another volume. They are read when the book is opened.
    pub anchors: Vec<PathBuf>,
    /// How many records share a checkpoint at most.
    pub checkpoint_records: u64,
    /// How long a record waits for a checkpoint, and a buffered one for the disk.
    pub checkpoint_after: Duration,
    /// The clock by which records are dated.
    pub clock: fn() -> Timestamp,
    /// How long one key signs.
    pub epoch: Duration,
    /// The time between checkpoints of an idle book.
    pub heartbeat: Duration,
    /// The bytes that are set aside for a full disk, but never more than a quarter of it; 0 for none.
    pub reserve_bytes: u64,
    /// How long segments are kept.
    pub retention: Duration,
    /// How long a segment may grow.
    pub segment_age: Duration,
    /// The size at which a segment ends, in bytes.
    pub segment_bytes: u64,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self {
            anchors: Vec::new(),
            checkpoint_records: limits::LEDGER_CHECKPOINT,
            checkpoint_after: limits::LEDGER_DIRTY,
            clock: Timestamp::now,
            epoch: limits::LEDGER_EPOCH,
            heartbeat: limits::LEDGER_HEARTBEAT,
            reserve_bytes: limits::LEDGER_RESERVE_BYTES,
            retention: limits::LEDGER_RETENTION,
            segment_age: limits::LEDGER_SEGMENT_AGE,
            segment_bytes: limits::LEDGER_SEGMENT_BYTES,
        }
    }
}
