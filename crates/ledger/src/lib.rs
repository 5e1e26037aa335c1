//! The book: what is about to happen and what did, chained.
//!
//! One JSON object a line in `ledger/<first-seq>.mlog`. [`Ledger::enter`](moltbot_policy::Book::enter) returns
//! when its line is on disk; what cannot be recorded is refused. Lines that arrive together share one flush.
//!
//! # The form of a line
//!
//! ```text
//! {"v":1,"seq":7,"ts":"2026-01-31T12:00:00.000000000Z","mono":5000,"boot":"<uuid>","actor":"gateway",
//!  "session":"agent:main:main","action":"command.start","target":"ls","decision":"allowed",
//!  "details":{"sandbox":"embedded"},"prev":"<64 hex>","h":"<64 hex>"}
//! ```
//!
//! without the line breaks: members in this order, no white space, `session` left out where there is none. The
//! last 146 bytes are always `,"prev":"…","h":"…"}`. The **canonical form** of a record is its line with those
//! 146 bytes replaced by `}`; `prev` is the `h` of the line before, across segments, and 64 zeros in the first
//! line of all; and `h` is SHA-256 over the byte 0x00, the canonical form, and the 64 characters of `prev`.
//! So a verifier needs the bytes of the file and no opinion about JSON.
//!
//! Left out so far: signed checkpoints, a second sink, retention. Cutting off the end of the book, or all of
//! it, is therefore not detected.
#![forbid(unsafe_code)]

mod conceal;
mod disk;
mod error;
pub mod export;
mod journal;
mod opening;
pub mod query;
mod record;
mod relayed;
pub mod view;
mod writer;

pub use conceal::Conceal;
pub use error::LedgerError;
pub use relayed::Relayed;
pub use writer::Ledger;
