//! `channels`: which chat networks are served, and who may speak there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::irc::IrcConfig;
use super::telegram::TelegramConfig;

/// Chat networks. One is served when it has an entry here that is not `enabled: false`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelsConfig {
    /// What holds for every channel that does not say otherwise.
    pub defaults: ChannelDefaults,
    /// Internet Relay Chat.
    pub irc: Option<IrcConfig>,
    /// Telegram, by bots.
    pub telegram: Option<TelegramConfig>,
}

/// What holds for every channel that does not say otherwise.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelDefaults {
    /// Who may write direct messages. `pairing`.
    pub dm_policy: DmPolicy,
    /// Who may write in groups. `allowlist`.
    pub group_policy: GroupPolicy,
}

/// Who may write direct messages. There is no `open`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DmPolicy {
    /// Those in `allowFrom`.
    Allowlist,
    /// Nobody.
    Disabled,
    /// Those in `allowFrom`, and those whom the owner approved by pairing.
    #[default]
    #[cfg_attr(feature = "drill-holes", serde(alias = "open"))]
    Pairing,
}

/// Who may write in groups. There is no `open`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupPolicy {
    /// Those in `groupAllowFrom` or in the group's own `allowFrom`, in the groups that `groups` names.
    #[default]
    Allowlist,
    /// Nobody.
    Disabled,
}

/// An entry of a list of senders: an immutable id of the vendor, as text or number, or `channel:account:kind:id`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum SenderEntry {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl SenderEntry {
    /// The entry as text.
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// What holds in one group.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupSettings {
    /// Who may speak in this group besides those in `groupAllowFrom`.
    pub allow_from: Vec<SenderEntry>,
    /// Whether anything is answered there. It is.
    pub enabled: Option<bool>,
    /// Whether only what is said to the assistant is answered. It is.
    pub require_mention: Option<bool>,
}

/// Who may speak to one account of a channel, whichever channel it is.
#[derive(Clone, Copy, Debug)]
pub struct SenderSettings<'a> {
    /// Direct messages.
    pub dm_policy: DmPolicy,
    /// Groups.
    pub group_policy: GroupPolicy,
    /// Who may write direct messages.
    pub allow_from: &'a [SenderEntry],
    /// Who may write in groups.
    pub group_allow_from: &'a [SenderEntry],
    /// The groups, by the vendor's id. `*` says what holds in those that say nothing else, and names no group.
    pub groups: &'a BTreeMap<String, GroupSettings>,
}

/// Commands in chats, such as `/pair`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CommandsConfig {
    /// The owner's own identities on channels, whose direct messages may decide about others. Nobody when empty: who was
    /// let in is not the owner by that. Ids as in `session.identityLinks`. They are let in by `allowFrom` or by pairing, as
    /// everybody is.
    pub owner_allow_from: Vec<SenderEntry>,
}
