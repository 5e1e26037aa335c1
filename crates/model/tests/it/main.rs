//! The process of the local model, run for real: small models that say what a test wants, and one real one where it is there.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in a test, a failure stops it")]

mod chat;
mod files;
mod loading;
mod order;
mod process;
mod real;
mod walls;
