//! The judge: decides who may bind, sign in, call and run, and issues permits.
//!
//! Pure: no I/O, no clock (time is an argument), no randomness. A permit has private fields, is made only
//! here, is not `Clone`, and opens a door only after [`record`] has seen it into the book.
#![forbid(unsafe_code)]

pub mod admission;
pub mod allowance;
pub mod approval;
pub mod authentication;
pub mod authorization;
pub mod cause;
pub mod chat;
pub mod clients;
pub mod command;
pub mod container;
pub mod drill;
pub mod file;
pub mod heartbeat;
pub mod hook;
pub mod incident;
pub mod local_model;
pub mod network;
pub mod nodes;
pub mod pairing;
pub mod penalty;
pub mod process;
pub mod profile;
mod record;
pub mod redact;
mod refusal;
pub mod routing;
pub mod score;
pub mod secret;
pub mod senders;
pub mod service;
pub mod session;
pub mod shown;
pub mod strictness;
pub mod surroundings;
pub mod throttle;
mod tools;
pub mod webhook;

pub use record::{
    Book, Class, Decision, Entering, Entry, Permit, Recorded, Unrecorded, record, record_all,
    record_all_soon, record_soon, with_causes,
};
pub use refusal::Refusal;
