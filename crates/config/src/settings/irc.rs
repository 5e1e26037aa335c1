//! `channels.irc`: which networks are served, and who may speak there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::channels::{ChannelDefaults, DmPolicy, GroupPolicy, GroupSettings, SenderEntry, SenderSettings};
use super::secrets::SecretSetting;

/// The account when the config names none.
const DEFAULT: &str = "default";

/// Internet Relay Chat: one network, or those of `accounts`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct IrcConfig {
    /// Several networks by names of the owner's choice. When there are any, there is no account `default` besides them.
    pub accounts: BTreeMap<String, IrcAccount>,
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
            accounts: BTreeMap::new(),
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
    /// The networks that are served, by the names of our accounts.
    pub fn networks(&self) -> Vec<(String, Self)> {
        if !self.enabled {
            return Vec::new();
        }
        if self.accounts.is_empty() {
            return vec![(DEFAULT.to_owned(), self.clone())];
        }
        let served = self.accounts.iter().filter(|(_, account)| account.enabled != Some(false));
        served.map(|(name, account)| (name.clone(), self.network(account))).collect()
    }

    /// One of several. What names people, a server or a secret is its own: an account of services on one network is
    /// somebody else on another.
    fn network(&self, own: &IrcAccount) -> Self {
        let own = own.clone();
        Self {
            accounts: BTreeMap::new(),
            allow_from: own.allow_from,
            ca_file: own.ca_file.or_else(|| self.ca_file.clone()),
            channels: own.channels,
            dangerously_trust_masks: own.dangerously_trust_masks,
            dm_policy: own.dm_policy.or(self.dm_policy),
            enabled: true,
            group_allow_from: own.group_allow_from,
            group_policy: own.group_policy.or(self.group_policy),
            groups: own.groups,
            host: own.host,
            nick: own.nick.unwrap_or_else(|| self.nick.clone()),
            password: own.password,
            port: own.port,
            realname: own.realname.unwrap_or_else(|| self.realname.clone()),
            sasl: own.sasl,
            tls: own.tls.unwrap_or(true),
            username: own.username.or_else(|| self.username.clone()),
        }
    }

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

/// One network of several. `caFile`, `dmPolicy`, `groupPolicy`, `nick`, `realname` and `username` are as in `channels.irc`
/// when absent; the rest is each network's own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct IrcAccount {
    /// Accounts of services whose direct messages are answered.
    pub allow_from: Vec<SenderEntry>,
    /// The authorities that may vouch for the server.
    pub ca_file: Option<String>,
    /// The channels to join.
    pub channels: Vec<String>,
    /// Whether `nick!user@host` is believed of those without an account of services.
    pub dangerously_trust_masks: bool,
    /// Who may write direct messages.
    pub dm_policy: Option<DmPolicy>,
    /// Whether it is served.
    pub enabled: Option<bool>,
    /// Accounts of services that may speak in the channels of `groups`.
    pub group_allow_from: Vec<SenderEntry>,
    /// Who may speak in channels.
    pub group_policy: Option<GroupPolicy>,
    /// The channels in which something is answered.
    pub groups: BTreeMap<String, GroupSettings>,
    /// The server's name or address.
    #[schemars(extend("x-moltbot-form" = "host"))]
    pub host: Option<String>,
    /// The nick.
    pub nick: Option<String>,
    /// The password of the server.
    #[schemars(with = "Option<SecretSetting>")]
    pub password: Option<SecretString>,
    /// The port; 6697 with TLS and 6667 without.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What WHOIS tells of the assistant.
    pub realname: Option<String>,
    /// The sign-in with the network's services.
    pub sasl: Option<SaslConfig>,
    /// Whether the connection is encrypted; it is.
    pub tls: Option<bool>,
    /// The user name.
    pub username: Option<String>,
}

/// A sign-in with the services of a network. Only over TLS, or on this machine.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SaslConfig {
    /// The absolute path of our certificate (PEM), by whose fingerprint the services know us: for `external`.
    pub cert_path: Option<String>,
    /// The absolute path of the certificate's key (PEM), a file that its owner alone can read.
    pub key_path: Option<String>,
    /// How we prove who we are.
    pub mechanism: SaslMechanism,
    /// The password of the account: for `plain`.
    #[schemars(with = "Option<SecretSetting>")]
    pub password: Option<SecretString>,
    /// The account; with `external` the one that the certificate belongs to, when absent.
    pub username: Option<String>,
}

/// How an account of services is proved to be ours.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SaslMechanism {
    /// By a certificate that is shown when TLS is set up.
    External,
    /// By a password.
    #[default]
    Plain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_its_own_people_and_secrets() {
        let config: IrcConfig = serde_json::from_value(serde_json::json!({
            "host": "one.example", "nick": "molt", "allowFrom": ["ann"], "tls": false, "dangerouslyTrustMasks": true,
            "password": "base", "groupPolicy": "disabled", "groups": {"#home": {}},
            "accounts": {"a": {"host": "two.example"}, "b": {"enabled": false}, "c": {"nick": "other", "allowFrom": ["bob"]}},
        }))
        .unwrap();
        let networks = config.networks();
        let names: Vec<&str> = networks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        let (a, c) = (&networks[0].1, &networks[1].1);
        assert_eq!((a.host.as_deref(), a.nick.as_str(), a.tls), (Some("two.example"), "molt", true));
        assert!(a.allow_from.is_empty() && a.groups.is_empty() && a.password.is_none());
        assert!(!a.dangerously_trust_masks && a.group_policy == Some(GroupPolicy::Disabled));
        assert_eq!((c.host.as_deref(), c.nick.as_str(), c.allow_from.len()), (None, "other", 1));
    }

    #[test]
    fn one_network_is_the_account_default() {
        let config: IrcConfig = serde_json::from_value(serde_json::json!({"host": "one.example"})).unwrap();
        assert_eq!(config.networks()[0].0, "default");
        assert!(IrcConfig { enabled: false, ..config }.networks().is_empty());
    }
}
