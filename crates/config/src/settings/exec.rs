//! The tool that runs commands: where they run, which may, and when the owner is asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SenderEntry;

/// The tool that runs commands.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ExecConfig {
    /// The tool `apply_patch`.
    pub apply_patch: ApplyPatchConfig,
    /// How long the owner has to answer before a command that waits for a yes is refused, in seconds, 1 to 120. Two
    /// minutes, as upstream.
    #[schemars(range(min = 1, max = 120))]
    pub approval_sec: u32,
    /// When the owner is asked: by default for what the review of commands does not find harmless.
    pub ask: ExecAsk,
    /// After how long a command that still runs goes on in the background while the turn goes on, in milliseconds, 10 to
    /// 120 000, when the model does not say. Ten seconds, as upstream.
    #[schemars(range(min = 10, max = 120_000))]
    pub background_ms: u32,
    /// How long a command of the background can be asked for after its end, in milliseconds, a minute to three hours. Half
    /// an hour, as upstream.
    #[schemars(range(min = 60_000, max = 10_800_000))]
    pub cleanup_ms: u32,
    /// Where commands of the main session run. In the sandbox: the machine itself is a decision, not an accident.
    pub host: ExecHost,
    /// Which commands may run at all: by default each that the review or the owner lets pass.
    pub security: ExecSecurity,
    /// The longest time a command may take, in seconds, 1 to 86 400. Half an hour, as upstream.
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_sec: u32,
}

impl Default for ExecConfig {
    fn default() -> Self {
        Self {
            apply_patch: ApplyPatchConfig::default(),
            approval_sec: 120,
            ask: ExecAsk::default(),
            background_ms: 10_000,
            cleanup_ms: 1_800_000,
            host: ExecHost::default(),
            security: ExecSecurity::default(),
            timeout_sec: 1800,
        }
    }
}

/// The tool `apply_patch`, which changes several files at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ApplyPatchConfig {
    /// Whether models have it. Off, as upstream: models that were not trained on its form do better with `edit`.
    pub enabled: bool,
}

/// When the owner is asked. From the least to the strictest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecAsk {
    /// Never: what would be asked runs under `full`, and is refused under `allowlist`.
    Off,
    /// For what is not known to be harmless.
    #[default]
    OnMiss,
    /// For every command.
    Always,
}

/// Which commands may run. From the least to the strictest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecSecurity {
    /// Every one that is not refused for what it says.
    #[default]
    Full,
    /// Those whose every program the owner has put on the list; others are a miss.
    Allowlist,
    /// None.
    Deny,
}

/// Where commands of the main session run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecHost {
    /// On the gateway's own machine, outside the sandbox, each after a yes of the owner.
    Gateway,
    /// In the sandbox.
    #[default]
    Sandbox,
}

/// Commands outside the sandbox that the agent asks for one by one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ElevatedConfig {
    /// The senders, by channel, for whom the agent may ask besides the owner: ids of the vendor. Nobody by default.
    pub allow_from: BTreeMap<String, Vec<SenderEntry>>,
    /// Whether the agent may ask at all. Each command needs a yes of the owner all the same.
    pub enabled: bool,
}
