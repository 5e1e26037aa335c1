//! The book: what is about to happen and what did, chained and signed.
//!
//! One JSON object a line in `ledger/<first number>.mlog`. [`Ledger::enter`](moltbot_policy::Book::enter) returns
//! when its line is on disk; what cannot be recorded is refused. Lines that arrive together share one flush. The form
//! of the files is in `docs/reference/ledger.md`, from which another program can verify them; here [`verify`] does.
//!
//! Left out: sending heads and records to other machines, which the gateway does; the form in which they leave is
//! [`export`]'s.
#![forbid(unsafe_code)]

mod alarm;
pub mod anchor;
mod conceal;
mod disk;
mod error;
pub mod export;
mod follow;
mod head;
mod journal;
mod keys;
mod ledger;
mod note;
mod opening;
mod options;
mod own;
mod pruning;
pub mod query;
mod record;
mod relayed;
mod segments;
mod space;
mod statements;
mod tree;
mod verify;
pub mod view;
mod writer;

pub use alarm::alarm;
pub use conceal::Conceal;
pub use error::LedgerError;
pub use head::{Head, NotAHead};
pub use ledger::{FOLDER as LEDGER_FOLDER, Ledger, hash_of, reseal};
pub use note::{NotAKey, PublicKey};
pub use options::LedgerOptions;
pub use own::Tampering;
pub use relayed::Relayed;
pub use verify::{Outcome, Problem, VerifyOptions, VerifyReport, verify};
