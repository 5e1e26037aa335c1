//! The sandbox, run for real. As root the whole set runs a second time as an ordinary user.
#![forbid(unsafe_code)]

mod escape;
mod lifetime;
mod ordinary_user;
mod resources;
mod room;
mod view;
mod workspace;
