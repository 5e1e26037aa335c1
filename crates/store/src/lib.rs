//! State that outlives a process: inbox, turns, transcripts, outbox, sessions.
//!
//! One SQLite file, `state.db`, in the state folder. One thread writes, and writes what is waiting in one
//! commit; whoever waits is answered after that commit, so what was answered survives a power cut. Reads
//! have their own connections and never wait for the disk of a write.
//!
//! What people, models and tools said is sealed with the vault's keys before it reaches SQLite, each word for its own
//! row; `column.rs` says which columns that are, and what stays readable.
//!
//! A message is one *turn* from [`Store::accept`] to [`Store::finish`]. What is said in between is kept by
//! [`Store::journal`] before it has an effect, so that [`Store::pending`] can tell after a crash how far a
//! turn came. A plain turn is two commits.
//!
//! The store decides nothing: who may speak and which turn runs next is decided above it.
#![forbid(unsafe_code)]

mod allowance;
mod canary;
mod column;
mod database;
mod delivery;
mod device;
mod error;
mod event;
mod quarantine;
mod readers;
mod reseal;
mod schema;
mod scrub;
mod sealed;
mod sender;
mod session;
mod store;
mod turn;
mod writer;

pub use allowance::{Allowance, AllowanceChange, AllowanceHolder};
pub use delivery::{Delivery, Outbound, WaitingReply};
pub use device::{DeviceChange, DeviceClaims, DeviceRequest, DeviceRole, PairedDevice};
pub use error::StoreError;
pub use event::{EventRoom, EventSource, HookDelivery, KeptEvent, NewEvent, SystemEvent};
pub use quarantine::{Notice, Quarantine};
pub use reseal::Resealed;
pub use sender::{Asked, Decided, KnownSender, SenderChange, SenderFact, SenderRequest, WrongCodes};
pub use session::{
    Context, History, Imported, SessionFilter, SessionOptions, SessionPatch, SessionRow, Summary,
};
pub use store::Store;
pub use turn::{
    Accepted, DayUsage, Ending, PendingTurn, RUNS, RunStatus, RunUsage, Step, TurnEnd, TurnId, TurnState,
    UsageReport,
};
