//! The running server: connections, method dispatch, inbound routing.
//!
//! One port speaks HTTP and WebSocket. A request is judged in one order: connection limits, head, open ways,
//! tries of this source, credential, the book, and only then its route or method. What a message becomes is
//! decided below (agent, store); who may do what is decided in `policy`.
#![forbid(unsafe_code)]

mod allowances;
mod announcing;
mod approvals;
mod channels;
mod clients;
mod connection;
mod devices;
mod dispatch;
mod gate;
mod gateway;
mod handshake;
mod heartbeat;
pub mod hooks;
mod http;
mod hub;
mod inbound;
mod methods;
mod nodes;
mod outbox;
mod presence;
mod quarantine;
mod reload;
mod score;
mod senders;
pub mod sending;
mod shared;
mod sign_in;
mod socket;
mod stop;
mod tailnet;

pub use allowances::AllowanceError;
pub use approvals::{ApprovalError, Approvals, Messenger, Notice, Reached, Revision};
pub use channels::{BindingError, ChannelParts, WebhookError};
pub use connection::{Challenged, Connection, Open};
pub use devices::{Decider, DeviceError, Devices, Issued};
pub use gateway::{Gateway, Parts, StartError, StopReason, Stopped, View};
pub use heartbeat::HeartbeatError;
pub use methods::logs::{FILE as LOG_FILE, FOLDER as LOG_FOLDER};
pub use reload::{ConfigFile, ReadAnew};
pub use score::ScoreFact;
pub use senders::{ImportedChannel, SenderError, Senders};
pub use stop::{Ended, ResumeError, StopFact};
pub use tailnet::TailnetError;
