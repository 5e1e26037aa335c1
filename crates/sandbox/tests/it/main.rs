//! The sandbox, run for real. As root the whole set runs a second time as an ordinary user.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in a test, a failure stops it")]

mod actions;
mod ahead;
mod backends;
mod docker;
mod escape;
mod lifetime;
mod local_model;
mod network;
mod ordinary_user;
mod pitfalls;
mod resources;
mod room;
mod stop;
mod terminal;
mod view;
mod weak;
mod workspace;
