//! One file per vendor: its wire format to and from our messages.
//!
//! A channel knows what its vendor's bytes mean. It does not know who may speak, what an agent is, or where
//! state is kept.
#![forbid(unsafe_code)]

pub mod driver;
pub mod hooks;
pub mod irc;
pub mod telegram;
pub mod text;
pub mod webchat;
