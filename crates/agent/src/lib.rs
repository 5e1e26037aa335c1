//! One turn: transcript, model, tools, reply.
//!
//! [`Agent::take_turn`] takes one message to its reply or to the sentence that says why there is none. It
//! holds no door of its own: models are reached through `net`, commands run in `sandbox`, files are opened
//! by `vault`, and each of them takes only what the judge permitted and the book has seen.
#![forbid(unsafe_code)]

mod agent;
mod approvals;
mod control;
mod external;
mod heartbeat;
mod history;
pub mod model;
mod patch;
mod picture;
mod processes;
mod prompt;
mod received;
mod report;
mod status;
mod tools;
mod turn;
mod workspace;

pub use agent::{Agent, AgentDescription, AgentError, Parts, describe};
pub use approvals::{Answer, Approvals};
pub use control::{Control, PassedOver, Steered};
pub use picture::picture_type;
pub use processes::Later;
pub use report::{NotAllowed, Responding, ToolCallReport, TurnEvent, TurnReport};

/// What a turn says that was to summarise a conversation in which nothing was said.
pub const NOTHING_TO_SUMMARISE: &str = turn::NOTHING;
