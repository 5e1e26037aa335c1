//! The words on the wire: frames, methods, error codes and ids of protocols 3 and 4.
//!
//! Types only: nothing here does I/O, and nothing here decides. Unknown keys are refused in what a
//! client sends; what we send is written with the field names that existing clients read.
#![forbid(unsafe_code)]

pub mod agent;
pub mod chat;
pub mod connect;
pub mod error;
pub mod event;
pub mod frame;
pub mod ids;
pub mod message;
pub mod method;
pub mod openai;
pub mod principal;
pub mod scope;
pub mod sender;
pub mod sessions;

/// The oldest protocol that this gateway speaks.
pub const PROTOCOL_MIN: u32 = 3;
/// The newest protocol that this gateway speaks.
pub const PROTOCOL_MAX: u32 = 4;
