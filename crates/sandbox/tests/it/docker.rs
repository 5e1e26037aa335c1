//! The Docker backend, with a real engine.

mod actions;
mod berth;
mod lifetime;
mod made;
mod walls;
