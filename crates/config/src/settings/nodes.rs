//! Devices that offer commands to the gateway.

use schemars::JsonSchema;
use serde::Deserialize;

/// What nodes are asked for, besides what was approved for each. A command of no list is asked of none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct NodesConfig {
    /// Commands that are asked of nodes besides those that are usual on their platform: exactly these.
    pub allow_commands: Vec<NodeCommand>,
    /// Commands that are asked of no node. This goes before everything that allows them.
    pub deny_commands: Vec<NodeCommand>,
}

/// The name of a command, such as `camera.snap`. Nothing stands for several.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(transparent)]
#[schemars(transparent, extend("x-moltbot-form" = "node-command"))]
pub struct NodeCommand(pub String);

impl NodeCommand {
    /// Whether a text can be the name of a command.
    pub fn is_one(text: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        (1..=crate::limits::NODE_COMMAND_CHARS).contains(&text.len()) && text.chars().all(is_part)
    }
}
