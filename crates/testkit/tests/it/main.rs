//! The stand-ins stand in: what they say is what a real peer would say.

#[cfg(test)]
mod client;
#[cfg(test)]
mod model;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod telegram;
