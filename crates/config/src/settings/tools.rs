//! Which tools agents have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ElevatedConfig, ExecConfig};

/// Tools. Each of these policies only takes tools away from what the others leave.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ToolsConfig {
    /// The only tools that any agent gets, by name, as `group:NAME`, or with `*` for any letters; all when empty.
    pub allow: Vec<String>,
    /// Tools besides those of `profile`. Not beside `allow`.
    pub also_allow: Vec<String>,
    /// What holds besides where a model of this provider, or this model (`provider/model`), is asked.
    pub by_provider: BTreeMap<String, ToolPolicy>,
    /// Tools that no agent gets, named as in `allow`.
    pub deny: Vec<String>,
    /// Commands outside the sandbox that the agent asks for one by one.
    pub elevated: ElevatedConfig,
    /// The tool that runs commands.
    pub exec: ExecConfig,
    /// A list of tools by its name.
    pub profile: Option<ToolProfile>,
    /// What holds besides in sessions that are shut off from the agent's workspace.
    pub sandbox: SandboxToolsConfig,
}

/// What holds in sessions that are shut off.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SandboxToolsConfig {
    /// Which tools they have.
    pub tools: ToolPolicy,
}

/// Which tools one agent has of those that all may have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentToolsConfig {
    /// The only tools that it gets, named as in `tools.allow`; all when empty.
    pub allow: Vec<String>,
    /// Tools besides those of `profile`. Not beside `allow`.
    pub also_allow: Vec<String>,
    /// What holds besides where a model of this provider, or this model, is asked.
    pub by_provider: BTreeMap<String, ToolPolicy>,
    /// Tools that it does not get.
    pub deny: Vec<String>,
    /// A list of tools by its name. It takes away from what `tools.profile` leaves, and adds nothing to it.
    pub profile: Option<ToolProfile>,
}

/// Which tools there are somewhere.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ToolPolicy {
    /// The only tools, named as in `tools.allow`; all when empty.
    pub allow: Vec<String>,
    /// Tools besides those of `profile`. Not beside `allow`.
    pub also_allow: Vec<String>,
    /// Tools that there are not.
    pub deny: Vec<String>,
    /// A list of tools by its name.
    pub profile: Option<ToolProfile>,
}

/// A list of tools by its name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolProfile {
    /// Files, commands, conversations, memory, pictures.
    Coding,
    /// All.
    Full,
    /// Messages, and conversations without beginning any.
    Messaging,
    /// What tells of the conversation itself.
    Minimal,
}

impl ToolsConfig {
    /// What holds wherever an agent has tools.
    pub fn policy(&self) -> ToolPolicy {
        ToolPolicy {
            allow: self.allow.clone(),
            also_allow: self.also_allow.clone(),
            deny: self.deny.clone(),
            profile: self.profile,
        }
    }
}

impl AgentToolsConfig {
    /// What holds wherever this agent has tools.
    pub fn policy(&self) -> ToolPolicy {
        ToolPolicy {
            allow: self.allow.clone(),
            also_allow: self.also_allow.clone(),
            deny: self.deny.clone(),
            profile: self.profile,
        }
    }
}
