//! Every setting, its default and its reason: text in, [`Config`] out.
//!
//! This crate reads no file and no environment: the program hands both in. A text that is not a valid
//! config yields every error at once and never a default config in its place.
#![forbid(unsafe_code)]

pub mod limits;
pub mod settings;

mod diff;
mod edit;
mod initial;
mod judge;
mod load;
mod path;
mod reader;
mod redact;
mod report;
mod schema;
mod secrets;
mod shape;
mod substitution;
mod tree;
mod unsupported;
mod values;

pub use diff::diff;
pub use edit::{EditError, get, set, unset};
pub use initial::initial;
pub use load::{Loaded, Surroundings, Unsupported, load};
pub use path::InvalidPath;
pub use redact::redact;
pub use report::{ConfigError, ConfigErrorKind, ConfigErrors};
pub use schema::schema;
pub use secrets::{
    ApiKey, Asked, Keeper, NoKeys, PlainSecret, SEALED_PREFIX, Sealed, SecretEntry, SecretRef, SecretState,
    SignIns, reseal_all, seal_all, secret_at, secrets, set_secret, sign_ins, unseal_all,
};
pub use settings::Config;
