//! Every setting, its default and its reason: text in, [`Config`] out.
//!
//! This crate reads no file and no environment: the program hands both in. A text that is not a valid
//! config yields every error at once and never a default config in its place.
#![forbid(unsafe_code)]

pub mod limits;
pub mod settings;

pub use settings::Config;
