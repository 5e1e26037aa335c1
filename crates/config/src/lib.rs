//! Every setting, its default and its reason: text in, [`Config`] out.
//!
//! This crate reads no file and no environment: the program hands both in. A text that is not a valid
//! config yields every error at once and never a default config in its place.
#![forbid(unsafe_code)]

pub mod hole;
pub mod limits;
pub mod settings;

mod diff;
mod edit;
mod effect;
mod include;
mod initial;
mod judge;
mod load;
mod migrate;
mod path;
mod reader;
mod redact;
mod report;
mod rewrite;
mod schema;
mod secrets;
mod shape;
mod substitution;
mod tree;
mod unsupported;
mod values;
mod variables;

pub use diff::diff;
pub use edit::{EditError, get, set, unset, value};
pub use effect::{Effect, changed, effect_of};
pub use include::{IncludedFiles, NoFiles};
pub use initial::initial;
pub use load::{Loaded, Surroundings, Unsupported, load};
pub use migrate::{Migrated, migrate};
pub use path::InvalidPath;
pub use redact::redact;
pub use report::{ConfigError, ConfigErrorKind, ConfigErrors};
pub use rewrite::{merge_patch, rewrite, shown};
pub use schema::schema;
pub use secrets::{
    ApiKey, Asked, Keeper, NoKeys, PlainSecret, SEALED_PREFIX, Sealed, SecretEntry, SecretRef, SecretState,
    SignIns, reseal_all, seal_all, secret_at, secrets, set_secret, sign_ins, unseal_all,
};
pub use settings::Config;
pub use variables::{read_variables, refused_variable};
