//! `bindings`: which agent answers what arrives on which channel.

use moltbot_protocol::ids::AgentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SenderEntry;

/// One rule. The most precise rule that fits wins: a peer before a guild, a team, an account, and all accounts of a channel; of
/// rules that are as precise, the first. What no rule fits goes to the default agent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Binding {
    /// The agent that answers.
    #[schemars(with = "String", extend("x-moltbot-form" = "agent-id"))]
    pub agent_id: AgentId,
    /// What it answers. All that is named here has to fit.
    #[serde(rename = "match")]
    pub matches: BindingMatch,
}

/// What a binding is for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BindingMatch {
    /// The account on the channel: `default` when absent, `*` for all of them; as upstream.
    #[serde(default)]
    pub account_id: Option<String>,
    /// The channel.
    pub channel: String,
    /// The guild. No channel that is served has guilds, so that what names one fits nothing yet.
    #[serde(default)]
    pub guild_id: Option<String>,
    /// The person or the group.
    #[serde(default)]
    pub peer: Option<BindingPeer>,
    /// The team. No channel that is served has teams.
    #[serde(default)]
    pub team_id: Option<String>,
}

impl BindingMatch {
    /// The account that stands for all of a channel.
    pub const ALL_ACCOUNTS: &str = "*";

    /// The account: a name, or [`Self::ALL_ACCOUNTS`].
    pub fn account(&self) -> &str {
        self.account_id.as_deref().map_or("default", str::trim)
    }
}

/// A person or a group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BindingPeer {
    /// Who it is for `dm`, as the channel's lists write it; for others the group, which for a topic ends in `:topic:` and its
    /// number.
    pub id: SenderEntry,
    /// Which of them.
    pub kind: PeerKind,
}

/// What a peer is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerKind {
    /// A group, by the word of channels that have rooms.
    Channel,
    /// A person, in direct messages.
    Dm,
    /// A group.
    Group,
}
