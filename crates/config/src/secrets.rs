//! Secrets in the text of a config: where they are, how they are opened, and how they are sealed in place.
//!
//! Pure: the ciphers are the caller's, behind [`Keeper`]. One rule, that of [`redact`](crate::redact()), says what is
//! secret. A sealed text is bound to its place: the path, in which an element of a list is named by its `id`; an
//! element without one is named by 16 random hex digits that its text carries. Where two elements have one id, nothing
//! is sealed or opened: their secrets could stand for each other.

mod list;
mod number;
mod open;
mod place;
mod program;
mod provider;
mod reference;
mod seal;
mod sign_ins;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde::Serialize;

use crate::redact::is_secret_path;
use crate::settings::SecretsConfig;

pub use list::{SecretEntry, SecretState, secrets};
pub(crate) use open::{Opened, Part, open, values};
pub(crate) use place::walk;
pub use reference::SecretRef;
pub use seal::{Sealed, reseal_all, seal_all, secret_at, set_secret, unseal_all};
pub use sign_ins::{ApiKey, SignIns, sign_ins};

/// How a sealed text begins: what it is, its version, its cipher and its key derivation.
pub const SEALED_PREFIX: &str = "sealed:v1:aes-256-gcm:hkdf-sha256:";
/// How every sealed text begins, whatever its version. A secret that somebody writes so by hand does not open, and is
/// never taken for itself.
const CLAIMED: &str = "sealed:";
/// Opens and seals. Implemented by the program, over its vault.
pub trait Keeper {
    /// Seals a secret for a place, as [`SEALED_PREFIX`] and base64url.
    ///
    /// # Errors
    /// Why it could not; without the secret.
    fn seal(&self, place: &str, plain: &SecretString) -> Result<String, String>;

    /// Opens what [`Self::seal`] made for this place.
    ///
    /// # Errors
    /// Why it could not, and what to do.
    fn unseal(&self, place: &str, sealed: &str) -> Result<SecretString, String>;

    /// Opens what the original sealed: JSON with the six members of its envelope.
    ///
    /// # Errors
    /// Why it could not, and what to do.
    fn unseal_original(&self, place: &str, sealed: &str) -> Result<SecretString, String>;

    /// Whether it was sealed with the newest key.
    fn is_current(&self, place: &str, sealed: &str) -> bool;

    /// 16 random hex digits.
    ///
    /// # Errors
    /// When there is no randomness.
    fn draw_id(&self) -> Result<String, String>;

    /// Asks the program of `provider`, an entry of `config.providers`, for all that a config wants of it.
    ///
    /// # Errors
    /// Why there is no answer, and what to do.
    fn ask(&self, config: &SecretsConfig, provider: &str, ids: &BTreeSet<String>) -> Result<Asked, String>;

    /// Looks up what a [`SecretRef`] refers to, but for variables of the environment and what programs are asked for. A file is named by its absolute
    /// path, and its whole text is wanted: what of it is the secret is found out here.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, String>;
}

/// What became of a question to a program.
#[derive(Debug)]
pub enum Asked {
    /// Its answers by id: each a secret, or why there is none.
    Answered(BTreeMap<String, Result<SecretString, String>>),
    /// Nobody was asked: this keeper runs no programs. The config is read with values that nobody knows in their place.
    Withheld,
}

/// A keeper without keys: what is sealed does not open. For those who only look at a config's form.
#[derive(Clone, Copy, Debug)]
pub struct NoKeys;

/// What [`NoKeys`] says.
const NO_KEYS: &str = "the keys of this installation are not open; run `moltbot secrets doctor`";

impl Keeper for NoKeys {
    fn seal(&self, _place: &str, _plain: &SecretString) -> Result<String, String> {
        Err(NO_KEYS.into())
    }

    fn unseal(&self, _place: &str, _sealed: &str) -> Result<SecretString, String> {
        Err(NO_KEYS.into())
    }

    fn unseal_original(&self, _place: &str, _sealed: &str) -> Result<SecretString, String> {
        Err(NO_KEYS.into())
    }

    fn is_current(&self, _place: &str, _sealed: &str) -> bool {
        false
    }

    fn draw_id(&self) -> Result<String, String> {
        Err(NO_KEYS.into())
    }

    fn ask(&self, _: &SecretsConfig, _provider: &str, _ids: &BTreeSet<String>) -> Result<Asked, String> {
        Err(NO_KEYS.into())
    }

    fn resolve(&self, _reference: &SecretRef) -> Result<SecretString, String> {
        Err(NO_KEYS.into())
    }
}

/// A secret that stands in the file as plaintext.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainSecret {
    /// The setting.
    pub path: String,
    /// The line of its value, from 1.
    pub line: usize,
}
