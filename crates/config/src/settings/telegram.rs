//! `channels.telegram`: which bots are served, and who may speak to them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::channels::{ChannelDefaults, DmPolicy, GroupPolicy, GroupSettings, SenderEntry, SenderSettings};
use super::secrets::SecretSetting;

/// The account when the config names none.
const DEFAULT: &str = "default";

/// Telegram. What stands here holds for the account `default`, and for those of `accounts` that do not say otherwise; a
/// token is each account's own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TelegramConfig {
    /// Bots by names of the owner's choice. When there are any, there is no account `default` besides them.
    pub accounts: BTreeMap<String, TelegramAccount>,
    /// Users whose direct messages are answered: their numbers. A `@name` may be somebody else's tomorrow and lets nobody in.
    pub allow_from: Vec<SenderEntry>,
    /// Where the Bot API is, when not at Telegram: a server of the owner's. The exact host and port are then allowed, and no
    /// others.
    #[schemars(extend("x-moltbot-form" = "http-address"))]
    pub api_root: Option<String>,
    /// The bot's token, from @BotFather.
    #[schemars(with = "Option<SecretSetting>")]
    pub bot_token: Option<SecretString>,
    /// `dmPolicy` as some older configs write it.
    pub dm: Option<TelegramDirect>,
    /// Who may write direct messages; as `channels.defaults` when absent.
    pub dm_policy: Option<DmPolicy>,
    /// Whether it is served.
    pub enabled: bool,
    /// Users that may speak in the groups of `groups`.
    pub group_allow_from: Vec<SenderEntry>,
    /// Who may speak in groups; as `channels.defaults` when absent.
    pub group_policy: Option<GroupPolicy>,
    /// The groups in which something is answered, by the number of the chat, such as `-1001234567890`.
    pub groups: BTreeMap<String, GroupSettings>,
    /// The absolute path of a file with the bot's token, which only its owner can read. It comes before `botToken`.
    pub token_file: Option<String>,
    /// The path on this gateway where updates are posted, when a proxy in front of it changes that of `webhookUrl`.
    #[schemars(extend("x-moltbot-form" = "hooks-path"))]
    pub webhook_path: Option<String>,
    /// What Telegram must show with each update that it posts: 32 to 256 letters, digits, `-` and `_`. Required with
    /// `webhookUrl`: anybody can post to an address.
    #[schemars(with = "Option<SecretSetting>")]
    pub webhook_secret: Option<SecretString>,
    /// The public address, `https`, at which Telegram reaches this gateway to post updates. Absent, they are asked for.
    pub webhook_url: Option<String>,
}

impl Default for TelegramConfig {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            allow_from: Vec::new(),
            api_root: None,
            bot_token: None,
            dm: None,
            dm_policy: None,
            enabled: true,
            group_allow_from: Vec::new(),
            group_policy: None,
            groups: BTreeMap::new(),
            token_file: None,
            webhook_path: None,
            webhook_secret: None,
            webhook_url: None,
        }
    }
}

/// One bot of several. What is absent is as in `channels.telegram`, but for the token.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TelegramAccount {
    /// Users whose direct messages are answered.
    pub allow_from: Option<Vec<SenderEntry>>,
    /// The bot's token.
    #[schemars(with = "Option<SecretSetting>")]
    pub bot_token: Option<SecretString>,
    /// `dmPolicy` as some older configs write it.
    pub dm: Option<TelegramDirect>,
    /// Who may write direct messages.
    pub dm_policy: Option<DmPolicy>,
    /// Whether it is served.
    pub enabled: Option<bool>,
    /// Users that may speak in the groups of `groups`.
    pub group_allow_from: Option<Vec<SenderEntry>>,
    /// Who may speak in groups.
    pub group_policy: Option<GroupPolicy>,
    /// The groups in which something is answered.
    pub groups: Option<BTreeMap<String, GroupSettings>>,
    /// The name that people see.
    pub name: Option<String>,
    /// The absolute path of a file with the bot's token.
    pub token_file: Option<String>,
    /// The path on this gateway where updates are posted.
    #[schemars(extend("x-moltbot-form" = "hooks-path"))]
    pub webhook_path: Option<String>,
    /// What Telegram must show with each update that it posts.
    #[schemars(with = "Option<SecretSetting>")]
    pub webhook_secret: Option<SecretString>,
    /// The public address at which Telegram posts updates.
    pub webhook_url: Option<String>,
}

/// Direct messages, as some older configs write about them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TelegramDirect {
    /// Who may write direct messages. When `dmPolicy` says otherwise, the stricter of the two holds.
    pub policy: Option<DmPolicy>,
}

/// One bot that is served.
#[derive(Clone, Copy, Debug)]
pub struct TelegramBot<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The token in the config.
    pub bot_token: Option<&'a SecretString>,
    /// The file with the token.
    pub token_file: Option<&'a str>,
    /// Whether the environment's token is this bot's, when the config has none.
    pub is_default: bool,
    /// Who may speak to it.
    pub senders: SenderSettings<'a>,
    /// Where its updates are posted; nothing when they are asked for.
    pub webhook: Option<TelegramWebhook<'a>>,
}

/// Where updates of one bot are posted. Each account has its own: two bots at one path could not be told apart.
#[derive(Clone, Copy, Debug)]
pub struct TelegramWebhook<'a> {
    /// The path here, when it is not that of the URL.
    pub path: Option<&'a str>,
    /// What Telegram must show.
    pub secret: Option<&'a SecretString>,
    /// The public address.
    pub url: &'a str,
}

impl<'a> TelegramWebhook<'a> {
    fn of(
        url: Option<&'a String>,
        secret: Option<&'a SecretString>,
        path: Option<&'a String>,
    ) -> Option<Self> {
        url.map(|url| Self { path: path.map(String::as_str), secret, url })
    }
}

impl TelegramConfig {
    /// The bots that are served.
    pub fn bots(&self, defaults: ChannelDefaults) -> Vec<TelegramBot<'_>> {
        if !self.enabled {
            return Vec::new();
        }
        if self.accounts.is_empty() {
            let bot = TelegramBot {
                account: DEFAULT,
                bot_token: self.bot_token.as_ref(),
                token_file: self.token_file.as_deref(),
                is_default: true,
                senders: self.senders(defaults, None),
                webhook: TelegramWebhook::of(
                    self.webhook_url.as_ref(),
                    self.webhook_secret.as_ref(),
                    self.webhook_path.as_ref(),
                ),
            };
            return vec![bot];
        }
        let served = self.accounts.iter().filter(|(_, account)| account.enabled != Some(false));
        let bots = served.map(|(name, account)| TelegramBot {
            account: name,
            bot_token: account.bot_token.as_ref(),
            token_file: account.token_file.as_deref(),
            is_default: name == DEFAULT,
            senders: self.senders(defaults, Some(account)),
            webhook: TelegramWebhook::of(
                account.webhook_url.as_ref(),
                account.webhook_secret.as_ref(),
                account.webhook_path.as_ref(),
            ),
        });
        bots.collect()
    }

    fn senders<'a>(
        &'a self,
        defaults: ChannelDefaults,
        own: Option<&'a TelegramAccount>,
    ) -> SenderSettings<'a> {
        let direct =
            own.and_then(|own| stricter(own.dm_policy, own.dm)).or(stricter(self.dm_policy, self.dm));
        let group = own.and_then(|own| own.group_policy).or(self.group_policy);
        SenderSettings {
            dm_policy: direct.unwrap_or(defaults.dm_policy),
            group_policy: group.unwrap_or(defaults.group_policy),
            allow_from: own.and_then(|own| own.allow_from.as_ref()).unwrap_or(&self.allow_from),
            group_allow_from: own
                .and_then(|own| own.group_allow_from.as_ref())
                .unwrap_or(&self.group_allow_from),
            groups: own.and_then(|own| own.groups.as_ref()).unwrap_or(&self.groups),
        }
    }
}

/// The stricter of what two settings say.
fn stricter(policy: Option<DmPolicy>, older: Option<TelegramDirect>) -> Option<DmPolicy> {
    let strictness = |policy: &DmPolicy| match policy {
        DmPolicy::Pairing => 0,
        DmPolicy::Allowlist => 1,
        DmPolicy::Disabled => 2,
    };
    [policy, older.and_then(|older| older.policy)].into_iter().flatten().max_by_key(strictness)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> TelegramConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn one_bot_is_the_default_and_several_have_their_own_names() {
        let one = read(serde_json::json!({"allowFrom": [1], "dmPolicy": "allowlist"}));
        let bots = one.bots(ChannelDefaults::default());
        assert_eq!((bots.len(), bots[0].account, bots[0].is_default), (1, "default", true));
        assert_eq!(bots[0].senders.dm_policy, DmPolicy::Allowlist);
        let off = read(serde_json::json!({"enabled": false, "accounts": {"a": {}}}));
        assert!(off.bots(ChannelDefaults::default()).is_empty());
    }

    #[test]
    fn of_two_policies_the_stricter_holds() {
        for (direct, older, expected) in [
            ("pairing", "disabled", DmPolicy::Disabled),
            ("disabled", "pairing", DmPolicy::Disabled),
            ("allowlist", "pairing", DmPolicy::Allowlist),
        ] {
            let config = read(serde_json::json!({"dmPolicy": direct, "dm": {"policy": older}}));
            assert_eq!(
                config.bots(ChannelDefaults::default())[0].senders.dm_policy,
                expected,
                "{direct} {older}"
            );
        }
    }

    #[test]
    fn an_account_takes_what_it_does_not_say_from_the_channel_but_for_the_token() {
        let config = read(serde_json::json!({
            "botToken": "base", "allowFrom": [1], "groupPolicy": "disabled",
            "accounts": {"a": {"allowFrom": []}, "b": {"botToken": "own", "dmPolicy": "disabled"}, "c": {"enabled": false}},
        }));
        let bots = config.bots(ChannelDefaults::default());
        let names: Vec<&str> = bots.iter().map(|bot| bot.account).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(bots[0].bot_token.is_none() && bots[1].bot_token.is_some());
        assert_eq!((bots[0].senders.allow_from.len(), bots[1].senders.allow_from.len()), (0, 1));
        assert_eq!(
            (bots[0].senders.dm_policy, bots[1].senders.dm_policy),
            (DmPolicy::Pairing, DmPolicy::Disabled)
        );
        assert!(bots.iter().all(|bot| bot.senders.group_policy == GroupPolicy::Disabled));
    }
}
