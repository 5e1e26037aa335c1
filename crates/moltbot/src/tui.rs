//! The full-screen client of the gateway: what `moltbot tui` shows and does.
//!
//! A pure state machine ([`App`]: what happened in, what is to be done out), a renderer ([`draw`]) and the line to the
//! gateway ([`Line`]), which is all that waits. Whatever others wrote goes through [`text`] before it comes near a
//! terminal. Nothing is run on this machine: a line that begins with `!` is a message like any other.

mod acts;
mod answers;
mod app;
mod commands;
mod conversation;
mod events;
mod input;
mod keys;
mod line;
mod picker;
mod questions;
mod screen;
mod text;
mod view;

pub(crate) use app::{App, Effect, Event, Options};
pub(crate) use line::{Line, Order};
pub(crate) use screen::Screen;
pub(crate) use view::Palette;

#[cfg(test)]
mod tests;
