//! `secrets`, and the form of a setting that is one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::limits;

/// Where secrets are that are not in the config. A secret such as `apiKey` may be a reference to one:
/// `{ source: "file", provider: "house", id: "/openai/key" }`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretsConfig {
    /// The providers of references that name none.
    pub defaults: SecretDefaults,
    /// What references are looked up in, by name. `env`, and `file` with the path of a file as its id, need none.
    pub providers: BTreeMap<String, SecretProvider>,
}

/// The providers of references that name none, by their sources. `default` when absent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretDefaults {
    /// The provider of `env`.
    pub env: Option<String>,
    /// The provider of `exec`.
    pub exec: Option<String>,
    /// The provider of `file`.
    pub file: Option<String>,
}

/// What references are looked up in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretProvider {
    /// Where it looks.
    pub source: SecretSource,
    /// Whether the program of `exec` may be named by a symbolic link, such as one of a package manager. Every folder on
    /// the way is looked at all the same.
    #[serde(default)]
    pub allow_symlink_command: bool,
    /// The variables that `env` may give. Every one when absent.
    #[serde(default)]
    pub allowlist: Option<Vec<String>>,
    /// The arguments of the program of `exec`. Every process of this machine can read them: no secret belongs there.
    #[serde(default)]
    pub args: Vec<String>,
    /// The absolute path of the program of `exec`, which nobody but its owner or root may change.
    #[serde(default)]
    pub command: Option<String>,
    /// Whether the program of `exec` answers in JSON alone. Otherwise, asked for one secret, what it prints may be that
    /// secret.
    #[serde(default = "yes")]
    pub json_only: bool,
    /// Bytes that the program of `exec` may print, 1 to 1 048 576. 1 MiB, as upstream.
    #[serde(default = "program_bytes")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max_output_bytes: usize,
    /// What the file of `file` is. JSON, as upstream.
    #[serde(default)]
    pub mode: SecretFileMode,
    /// The variables of the environment that the program of `exec` gets. It has `HOME` and a `PATH` of the system's
    /// folders anyway, and nothing else.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// The absolute path of the file of `file`, which its owner alone may read.
    #[serde(default)]
    pub path: Option<String>,
    /// Milliseconds that the program of `exec` may take, 1 to 120 000. 5 s, as upstream.
    #[serde(default = "program_ms")]
    #[schemars(range(min = 1, max = 120_000))]
    pub timeout_ms: u64,
    /// Folders in one of which the program of `exec` must be, links followed. Any folder when empty.
    #[serde(default)]
    pub trusted_dirs: Vec<String>,
}

const fn yes() -> bool {
    true
}

const fn program_bytes() -> usize {
    limits::SECRET_PROGRAM_BYTES
}

const fn program_ms() -> u64 {
    5000
}

/// Where a secret is. `store`, the named secrets of this installation, needs no provider.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// In a variable of the environment.
    Env,
    /// In what a program prints.
    Exec,
    /// In a file.
    File,
}

/// What a file with secrets is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum SecretFileMode {
    /// JSON, in which an id is the pointer (RFC 6901) to a text.
    #[default]
    Json,
    /// One secret, whose id is `value`.
    SingleValue,
}

/// How a secret stands in the file, for the schema: a text, or a reference. When settings are made of it, it is a text.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum SecretSetting {
    /// The secret, sealed or not, or a reference such as `${NAME}`.
    Text(String),
    /// Where it is.
    Elsewhere(Elsewhere),
}

/// Where a secret is that is not in the config.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Elsewhere {
    /// `env`, `exec`, `file` or `store`.
    #[schemars(extend("enum" = ["env", "exec", "file", "store"]))]
    source: String,
    /// An entry of `secrets.providers`.
    provider: Option<String>,
    /// What it is called there.
    id: String,
}
