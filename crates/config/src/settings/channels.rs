//! `channels`: which chat networks are served, and who may speak there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secrets::SecretSetting;
use super::telegram::TelegramConfig;

/// Chat networks. One is served when it has an entry here that is not `enabled: false`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelsConfig {
    /// What holds for every channel that does not say otherwise.
    pub defaults: ChannelDefaults,
    /// Internet Relay Chat.
    pub irc: Option<IrcConfig>,
    /// The owner's own ids on channels, in full: `telegram:default:user:123456789`. Who asks to be let in is shown to them
    /// with buttons, and they alone may press. Nobody, unless the owner says who he is.
    pub owners: Vec<String>,
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

/// Internet Relay Chat: one network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct IrcConfig {
    /// Accounts of services whose direct messages are answered.
    pub allow_from: Vec<SenderEntry>,
    /// The absolute path of a file with the certificates (PEM) of the authorities that may vouch for the server, and of no
    /// others; those of this machine when absent.
    pub ca_file: Option<String>,
    /// The channels to join, such as `#home`. Those in `groups` are joined as well.
    pub channels: Vec<String>,
    /// Whether a sender without an account of the network's services is known by `nick!user@host`. Whoever can take these
    /// three gives orders in his place: on most networks anybody who waits until he is gone.
    pub dangerously_trust_masks: bool,
    /// Who may write direct messages; as `channels.defaults` when absent.
    pub dm_policy: Option<DmPolicy>,
    /// Whether it is served.
    pub enabled: bool,
    /// Accounts of services that may speak in the channels of `groups`.
    pub group_allow_from: Vec<SenderEntry>,
    /// Who may speak in channels; as `channels.defaults` when absent.
    pub group_policy: Option<GroupPolicy>,
    /// The channels in which something is answered, by name.
    pub groups: BTreeMap<String, GroupSettings>,
    /// The server's name or address.
    #[schemars(extend("x-moltbot-form" = "host"))]
    pub host: Option<String>,
    /// The nick: what the assistant is called and mentioned by.
    pub nick: String,
    /// The password of the server.
    #[schemars(with = "Option<SecretSetting>")]
    pub password: Option<SecretString>,
    /// The port; 6697 with TLS and 6667 without.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What WHOIS tells of the assistant.
    pub realname: String,
    /// The sign-in with the network's services.
    pub sasl: Option<SaslConfig>,
    /// Whether the connection is encrypted. Without, the server must be in the owner's own network.
    pub tls: bool,
    /// The user name; the nick when absent.
    pub username: Option<String>,
}

impl Default for IrcConfig {
    fn default() -> Self {
        Self {
            allow_from: Vec::new(),
            ca_file: None,
            channels: Vec::new(),
            dangerously_trust_masks: false,
            dm_policy: None,
            enabled: true,
            group_allow_from: Vec::new(),
            group_policy: None,
            groups: BTreeMap::new(),
            host: None,
            nick: "moltbot".into(),
            password: None,
            port: None,
            realname: "moltbot".into(),
            sasl: None,
            tls: true,
            username: None,
        }
    }
}

impl IrcConfig {
    /// Who may speak.
    pub fn senders(&self, defaults: ChannelDefaults) -> SenderSettings<'_> {
        SenderSettings {
            dm_policy: self.dm_policy.unwrap_or(defaults.dm_policy),
            group_policy: self.group_policy.unwrap_or(defaults.group_policy),
            allow_from: &self.allow_from,
            group_allow_from: &self.group_allow_from,
            groups: &self.groups,
        }
    }
}

/// A sign-in with the services of a network, by SASL PLAIN. Only over TLS, or on this machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SaslConfig {
    /// The account.
    pub username: String,
    /// Its password.
    #[schemars(with = "SecretSetting")]
    pub password: SecretString,
}
