//! The process of the local model, run for real: small models that say what a test wants, and one real one where it is there.
#![forbid(unsafe_code)]

#[cfg(test)]
mod chat;
#[cfg(test)]
mod files;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod order;
#[cfg(test)]
mod process;
#[cfg(test)]
mod real;
#[cfg(test)]
mod walls;
