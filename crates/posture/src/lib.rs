//! What is configured and what is true here: the checks of `moltbot doctor`, and the audit of `moltbot security audit`.
//!
//! A check states one fact, judges it, and names the fix. Checks look and never repair; what they need from
//! doors that only the program may open (a sandbox that was tried, a port that was knocked at) is handed in.
#![forbid(unsafe_code)]

pub mod audit;
mod check;
mod engine;
mod files;
mod machine;
pub mod model;
pub mod proof;
mod secrets;
mod settings;
mod swap;
mod vendors;

pub use check::{Check, Level, worst};
pub use engine::engine;
pub use files::{permissions, synced};
pub use machine::{
    PortUse, SandboxTrial, clock, disk_space, port, sandbox, state_folder, state_unusable, stopped,
};
pub use secrets::{
    config_secrets, credential_files, credential_files_unusable, named_secrets, rotation, wrapping,
};
pub use settings::{config, credential, network, shut_off, walls};
pub use swap::{memory_lock, swap};
pub use vendors::{VendorTrial, channel, provider, vendors_unasked};
