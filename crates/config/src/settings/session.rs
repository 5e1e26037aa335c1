//! Conversations: which messages share one, and when one is begun anew.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SenderEntry;

/// Sessions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SessionConfig {
    /// Which direct messages of channels share a conversation.
    pub dm_scope: DmScope,
    /// Senders that are one person, by a name of the owner's choice: where each has a conversation, they have one together.
    /// Ids in full (`telegram:default:user:123`) or `telegram:123`. Without effect on groups and `dmScope: "main"`.
    pub identity_links: BTreeMap<String, Vec<SenderEntry>>,
    /// The older name of `reset.idleMinutes`; alone, it means `reset.mode: "idle"`.
    #[schemars(range(min = 1, max = 5_256_000))]
    pub idle_minutes: Option<u32>,
    /// The main session's name. Only `main` is served.
    #[schemars(extend("enum" = ["main"]))]
    pub main_key: Option<String>,
    /// When a conversation is begun anew by itself: each day at four, as upstream, when nothing is said. What was said stays
    /// in the state db.
    pub reset: Option<ResetConfig>,
    /// The same of the conversations of one channel, in place of everything else.
    pub reset_by_channel: BTreeMap<String, ResetConfig>,
    /// The same of one kind of conversations; what it does not say is as `reset` says.
    pub reset_by_type: ResetByType,
    /// What a person says to begin a conversation anew, alone or before what he says in the new one, besides `/new` and
    /// `/reset`, which always do.
    pub reset_triggers: Vec<String>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            dm_scope: DmScope::default(),
            identity_links: BTreeMap::new(),
            idle_minutes: None,
            main_key: None,
            reset: None,
            reset_by_channel: BTreeMap::new(),
            reset_by_type: ResetByType::default(),
            reset_triggers: vec!["/new".into(), "/reset".into()],
        }
    }
}

/// When a conversation is begun anew by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ResetConfig {
    /// The hour of the day, local time, 0 to 23. Four, as upstream: nobody talks then.
    #[schemars(range(min = 0, max = 23))]
    pub at_hour: Option<u8>,
    /// Minutes in which nothing was said. With `daily`, whichever comes first; 60 with `idle` when absent.
    #[schemars(range(min = 1, max = 5_256_000))]
    pub idle_minutes: Option<u32>,
    /// Each day, or after a time of silence.
    pub mode: Option<ResetMode>,
}

/// When conversations of one kind are begun anew.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ResetByType {
    /// With one person, the main one too.
    pub dm: Option<ResetConfig>,
    /// With a group.
    pub group: Option<ResetConfig>,
    /// In a thread or topic.
    pub thread: Option<ResetConfig>,
}

/// Each day, or after a time of silence.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetMode {
    /// At an hour of each day.
    #[default]
    Daily,
    /// When nothing was said for a time.
    Idle,
}

/// Which direct messages of channels share a conversation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DmScope {
    /// All of them are the owner's main conversation: one person, on whatever channel. Whoever else was let in reads along.
    #[default]
    Main,
    /// Each sender has one for each channel and account of ours.
    PerAccountChannelPeer,
    /// Each sender has one for each channel.
    PerChannelPeer,
    /// Each sender id has one.
    PerPeer,
}
