//! `{ source: "env" | "file" | "store" | "exec", … }` where a secret is expected: it is elsewhere.

use std::fmt;

use serde::Deserialize;

use crate::tree::{Kind, Node};

/// Where a secret is, when it is not in the config.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(tag = "source", rename_all = "lowercase", deny_unknown_fields)]
pub enum SecretRef {
    /// In a variable of the environment.
    Env {
        /// Its name.
        id: String,
        /// The provider of the original's form; only `default` is one here.
        #[serde(default)]
        provider: Option<String>,
    },
    /// In what a program prints.
    Exec {
        /// The name that the program is asked for.
        id: String,
        /// The program's entry.
        #[serde(default)]
        provider: Option<String>,
    },
    /// In a file that its owner alone may read.
    File {
        /// Its absolute path. Its text is the secret, without a last line feed.
        id: String,
        /// The provider of the original's form; only `default` is one here.
        #[serde(default)]
        provider: Option<String>,
    },
    /// Among the named secrets of this installation.
    Store {
        /// Its name.
        id: String,
        /// The provider of the original's form; only `default` is one here.
        #[serde(default)]
        provider: Option<String>,
    },
}

impl SecretRef {
    /// What stands at `node`; nothing when it is no object with a `source`.
    pub(super) fn at(node: &Node) -> Option<Result<Self, String>> {
        let Kind::Object { members, .. } = &node.kind else { return None };
        members.iter().find(|member| member.key == "source")?;
        let wrong = "a reference is { source: \"env\", \"file\" or \"store\", id: \"…\" }";
        let read =
            serde_json::from_value::<Self>(node.to_json()).map_err(|error| format!("{error}; {wrong}"));
        Some(read.and_then(|reference| match reference.provider() {
            None | Some("default") => Ok(reference),
            Some(other) => Err(format!("the provider {other:?} is not supported yet; leave it out")),
        }))
    }

    fn provider(&self) -> Option<&str> {
        match self {
            Self::Env { provider, .. }
            | Self::Exec { provider, .. }
            | Self::File { provider, .. }
            | Self::Store { provider, .. } => provider.as_deref(),
        }
    }
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
