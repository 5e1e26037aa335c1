//! `secrets`, and the form of a setting that is one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

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
    /// The variables that `env` may give. Every one when absent.
    #[serde(default)]
    pub allowlist: Option<Vec<String>>,
    /// What the file of `file` is. JSON, as upstream.
    #[serde(default)]
    pub mode: SecretFileMode,
    /// The absolute path of the file of `file`, which its owner alone may read.
    #[serde(default)]
    pub path: Option<String>,
}

/// Where a secret is. `store`, the named secrets of this installation, needs no provider.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// In a variable of the environment.
    Env,
    /// In what a program prints. No program is run for it: its references are refused.
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
