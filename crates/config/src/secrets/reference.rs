//! `{ source: "env" | "exec" | "file" | "store", provider: "…", id: "…" }` where a secret is expected: it is elsewhere.
//!
//! The form is upstream's; `store` is its own. No message repeats a value: it may be a secret in the wrong place.

use std::fmt;

use crate::judge::short;
use crate::path::{Path, quote};
use crate::redact::{is_map_of_secrets, is_secret_path};
use crate::tree::{Kind, Member, Node};

/// The longest name of a variable, in bytes: upstream's limit.
const VARIABLE: usize = 128;
/// The longest name of a provider, in bytes: upstream's limit.
const PROVIDER: usize = 64;
/// The longest name that a program or the store is asked for, in bytes: upstream's limit.
const NAME: usize = 256;

/// Where a secret is, when it is not in the config.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretRef {
    /// In a variable of the environment.
    Env {
        /// Its name.
        id: String,
        /// Its entry in `secrets.providers`.
        provider: Option<String>,
    },
    /// In what a program prints.
    Exec {
        /// The name that the program is asked for.
        id: String,
        /// Its entry in `secrets.providers`.
        provider: Option<String>,
    },
    /// In a file that its owner alone may read. A [`Keeper`](crate::Keeper) is given its absolute path as the id,
    /// whatever the config says, and gives its whole text without a last line feed.
    File {
        /// In the config: where in the provider's file it is, or without a provider the file's absolute path.
        id: String,
        /// Its entry in `secrets.providers`.
        provider: Option<String>,
    },
    /// Among the named secrets of this installation.
    Store {
        /// Its name.
        id: String,
        /// Only `default` is one.
        provider: Option<String>,
    },
}

impl SecretRef {
    /// The reference at `path`; nothing when no secret belongs there, or `node` is another object. An object is taken
    /// for a reference when its `source` is one, or when it has no members but those of a reference.
    pub(super) fn at(node: &Node, path: &Path) -> Option<Result<Self, String>> {
        let Kind::Object { members, .. } = &node.kind else { return None };
        if !is_secret_path(path) || is_map_of_secrets(path) {
            return None;
        }
        let named = |name: &str| members.iter().rev().find(|member| member.key == name);
        let source = text_of(named("source")?);
        let alien = members.iter().find(|member| !matches!(&*member.key, "id" | "provider" | "source"));
        let is_source = matches!(source, Some("env" | "exec" | "file" | "store"));
        if let Some(member) = alien.filter(|_| is_source) {
            let name = quote(&short(&member.key));
            return Some(Err(format!("a reference has `source`, `provider` and `id`, and no {name}")));
        }
        (is_source || alien.is_none()).then(|| Self::read(source, named("provider"), named("id")))
    }

    fn read(source: Option<&str>, provider: Option<&Member>, id: Option<&Member>) -> Result<Self, String> {
        let id = id.and_then(text_of).ok_or("a reference has an `id`, which is a text")?.to_owned();
        let provider = provider.map(|member| text_of(member).filter(|name| is_provider(name)));
        if provider == Some(None) {
            return Err("a `provider` is 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter".into());
        }
        let provider = provider.flatten().map(str::to_owned);
        let reference = match source {
            Some("env") => Self::Env { id, provider },
            Some("exec") => Self::Exec { id, provider },
            Some("file") => Self::File { id, provider },
            Some("store") => Self::Store { id, provider },
            _ => {
                let sources = "\"env\", \"exec\", \"file\" or \"store\"";
                return Err(format!("the `source` of a reference is {sources}"));
            }
        };
        reference.require_form().map(|()| reference)
    }

    fn require_form(&self) -> Result<(), String> {
        let (fits, form) = match self {
            Self::Env { id, .. } => {
                (is_variable(id), "of `env` is the name of a variable, such as OPENAI_API_KEY")
            }
            Self::Exec { id, .. } => (is_asked(id), "of `exec` is a name, such as \"vault/openai/key\""),
            Self::File { id, .. } => (is_in_file(id), "of `file` begins with '/', or is \"value\""),
            Self::Store { id, .. } => (is_kept(id), "of `store` is a name, such as \"house/key\""),
        };
        if fits { Ok(()) } else { Err(format!("the `id` {form}")) }
    }

    /// The entry of `secrets.providers` that it names.
    pub(super) fn provider(&self) -> Option<&str> {
        match self {
            Self::Env { provider, .. }
            | Self::Exec { provider, .. }
            | Self::File { provider, .. }
            | Self::Store { provider, .. } => provider.as_deref(),
        }
    }
}

fn text_of(member: &Member) -> Option<&str> {
    match &member.value.kind {
        Kind::Text(text) => Some(text),
        _ => None,
    }
}

fn is_provider(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let ordinary = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    begins && name.len() <= PROVIDER && name.bytes().all(ordinary)
}

fn is_variable(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_uppercase() || b == b'_');
    let ordinary = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    begins && name.len() <= VARIABLE && name.bytes().all(ordinary)
}

fn is_in_file(id: &str) -> bool {
    id == "value" || id.starts_with('/')
}

fn is_asked(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let ordinary = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'#' | b'-');
    let climbs = name.split('/').any(|part| matches!(part, "." | ".."));
    begins && name.len() <= NAME && name.bytes().all(ordinary) && !climbs
}

fn is_kept(name: &str) -> bool {
    let ordinary = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-');
    !name.is_empty() && name.len() <= NAME && name.bytes().all(ordinary)
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { id, .. } => write!(f, "env:{id}"),
            Self::Exec { id, .. } => write!(f, "exec:{id}"),
            Self::File { id, .. } => write!(f, "file:{id}"),
            Self::Store { id, .. } => write!(f, "store:{id}"),
        }
    }
}
