//! The bots of Telegram that the config names: where the token of each is found, and the way to the Bot API.

use std::collections::BTreeMap;
use std::sync::Arc;

use moltbot_channels::telegram::{API_ROOT, BotToken, PublicAddress, Telegram};
use moltbot_config::settings::{ChannelsConfig, EnvConfig, TelegramBot, TelegramConfig, TelegramWebhook};
use moltbot_gateway::ChannelParts;
use moltbot_net::{Authorities, Client, SharedBook, Url};
use moltbot_policy::network::{Destination, Purpose, Reach};
use moltbot_policy::senders::SenderRules;
use moltbot_protocol::sender::is_name;
use secrecy::SecretString;

use crate::exit::Exit;
use crate::{environment, keeper};

/// The variable with the token of the account `default`, as existing installations set it.
const VARIABLE: &str = "TELEGRAM_BOT_TOKEN";

/// The tokens of bots, by their accounts: each, or why there is none and what to do.
#[derive(Default)]
pub(crate) struct BotTokens(BTreeMap<String, Result<SecretString, String>>);

impl BotTokens {
    /// Looks for the token of each bot: in its file, in the config, and in the environment for the account `default`.
    pub(crate) fn find(config: &ChannelsConfig, env: &EnvConfig) -> Self {
        let Some(telegram) = &config.telegram else { return Self::default() };
        let bots = telegram.bots(config.defaults).into_iter();
        Self(bots.map(|bot| (bot.account.to_owned(), token_of(&bot, env))).collect())
    }

    /// All of them, so that no log has one in it.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.0.values().flatten()
    }

    /// The token of an account.
    fn of(&self, account: &str) -> Result<BotToken, String> {
        let found = self.0.get(account).cloned().unwrap_or_else(|| Err(missing(account)));
        BotToken::parse(&found?)
            .map_err(|error| format!("the bot token of account {account} is of no use: {error}"))
    }
}

fn token_of(bot: &TelegramBot<'_>, env: &EnvConfig) -> Result<SecretString, String> {
    if let Some(path) = bot.token_file {
        let failed = |why: String| format!("tokenFile of account {}: {why}", bot.account);
        if !std::path::Path::new(path).is_absolute() {
            return Err(failed(format!("{path:?} is not absolute; give the whole path")));
        }
        return keeper::read_file(path).map_err(failed);
    }
    let variable = || if bot.is_default { environment::secret_or(VARIABLE, env) } else { None };
    bot.bot_token.cloned().or_else(variable).ok_or_else(|| missing(bot.account))
}

fn missing(account: &str) -> String {
    format!("account {account} has no bot token; get one from @BotFather and set botToken")
}

/// The bots that are served, ready to be run.
///
/// # Errors
/// When an account cannot be called so, or the Bot API cannot be where `apiRoot` says.
pub(crate) fn parts(
    config: &ChannelsConfig,
    tokens: &BotTokens,
    book: &SharedBook,
) -> anyhow::Result<Vec<ChannelParts>> {
    let Some(telegram) = &config.telegram else { return Ok(Vec::new()) };
    let (root, destination) = way(telegram)?;
    let bots = telegram.bots(config.defaults).into_iter();
    let ready = bots.map(|bot| {
        let account = bot.account;
        if !is_name(account) {
            return Err(Exit::Config.because(format!(
                "channels.telegram.accounts: {account:?} cannot be the name of an account; use a-z, 0-9, '-' and '_'"
            )));
        }
        let (authorities, book) = (Authorities::System, Arc::clone(book));
        let client = Client::trusting(authorities, Purpose::Vendor, destination.clone(), book);
        let driver = Telegram::new(account, tokens.of(account), root.clone(), client);
        let driver = driver.taking_files(bot.media_max);
        let driver = match &bot.webhook {
            None => driver,
            Some(webhook) => driver.posted_to(address(account, webhook)?),
        };
        let rules = SenderRules::new(&bot.senders, |entry| moltbot_channels::driver::Driver::sender(&driver, entry));
        Ok(ChannelParts { driver: Arc::new(driver), rules })
    });
    ready.collect()
}

/// Where Telegram posts updates of an account. Without a secret, none: anybody can post to an address.
fn address(account: &str, webhook: &TelegramWebhook<'_>) -> anyhow::Result<PublicAddress> {
    let failed = |why: String| Exit::Config.because(format!("channels.telegram, account {account}: {why}"));
    let secret = webhook.secret.cloned().ok_or_else(|| {
        failed("webhookUrl needs webhookSecret, which Telegram shows with each update; make one with `openssl rand -base64 32 | tr '+/' '-_' | tr -d =`".into())
    })?;
    let url = Url::parse(webhook.url).map_err(|error| failed(format!("webhookUrl: {error}")))?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if url.scheme() != "https" || url.host_str().is_none() || !is_bare {
        return Err(failed("webhookUrl must be `https://`, a host and a path, and nothing more".into()));
    }
    let path = webhook.path.unwrap_or_else(|| url.path()).to_owned();
    Ok(PublicAddress { url, path, secret })
}

/// Where the Bot API is, and what may be reached there.
fn way(telegram: &TelegramConfig) -> anyhow::Result<(Url, Destination)> {
    let failed = |why: &str| Exit::Config.because(format!("channels.telegram.apiRoot: {why}"));
    let reach = if telegram.api_root.is_some() { Reach::Configured } else { Reach::Public };
    let text = telegram.api_root.as_deref().unwrap_or(API_ROOT);
    let root = Url::parse(text).map_err(|error| failed(&error.to_string()))?;
    if root.query().is_some() || root.fragment().is_some() {
        return Err(failed("it has more than a path; leave out what follows `?` and `#`"));
    }
    let destination = Destination::parse(&root, reach).map_err(|refusal| failed(&refusal.message))?;
    Ok((root, destination))
}
