//! Telegram, by its Bot API: asks for updates by long polling, one poller for each account, and sends answers.
//!
//! Telegram keeps updates until a later `offset` confirms them, so nothing is kept here: the offset moves on after the
//! gateway has taken an update, and what is told twice after a crash is known by its id. The token is in the path of every
//! request; no error, log or record has it in it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use moltbot_config::limits;
use moltbot_net::{Client, Url};
use moltbot_protocol::sender::{Conversation, SenderId};
use serde_json::json;
use serde_json::value::RawValue;

use crate::driver::{
    Attached, Broken, Doing, Driver, Link, NotFetched, NotPosted, NotSent, NotTaken, Piece, Place, Question,
    Webhook,
};

mod album;
mod api;
mod arrival;
mod buttons;
mod files;
mod html;
mod markdown;
mod media;
mod posted;
mod sending;
mod table;
mod token;
mod update;

use api::{Api, CallError};
pub use arrival::CHANNEL;
use arrival::Reading;
pub use posted::PublicAddress;
use posted::{Posted, Seen};
use sending::{Format, add, message, send, target};
pub use token::{BotToken, NoBotToken};
use update::{Me, Update, UpdateId, WebhookInfo};

/// Where the Bot API is.
pub const API_ROOT: &str = "https://api.telegram.org";
/// The kinds of updates that are asked for.
const UPDATES: [&str; 3] = ["message", "edited_message", "callback_query"];

/// One bot.
pub struct Telegram {
    place: Place,
    root: Url,
    /// Its token, or why there is none and what to do, for the owner.
    token: Result<BotToken, String>,
    client: Client,
    /// The largest file that is taken, in bytes.
    media_max: u64,
    /// Where updates are posted; nothing when they are asked for.
    posted: Option<Posted>,
    /// The updates that were taken last.
    seen: Seen,
    /// The way there, while updates come.
    way: Mutex<Option<Arc<Way>>>,
}

/// A way to the Bot API, and who we are there.
struct Way {
    api: Api,
    me: Me,
}

impl Telegram {
    /// The bot with that token, as our `account`. `client` is bound to the API at `root`. A bot without a token says why
    /// when it is run, and asks nobody anything.
    pub fn new(account: &str, token: Result<BotToken, String>, root: Url, client: Client) -> Self {
        let place = Place { channel: CHANNEL, account: account.to_owned() };
        let (posted, seen, way) = (None, Seen::default(), Mutex::default());
        Self { place, root, token, client, media_max: 0, posted, seen, way }
    }

    /// The same, which takes files of that many bytes at most.
    pub fn taking_files(self, media_max: u64) -> Self {
        Self { media_max, ..self }
    }

    /// The same, with updates that Telegram posts to `address` instead of being asked for them.
    pub fn posted_to(self, address: PublicAddress) -> Self {
        Self { posted: Some(Posted::new(address)), ..self }
    }

    /// Opens the door, and asks whose token it is.
    async fn sign_in(&self) -> Result<Way, Broken> {
        let account = &self.place.account;
        let token = self.token.clone().map_err(Broken::lasting)?;
        let door = self.client.open(&self.root, &format!("channel:{}", self.place)).await;
        let door = door.map_err(|error| CallError::from(error).broken(account))?;
        let api = Api { door, root: self.root.clone(), token };
        let me: Me = api
            .call("getMe", &json!({}), limits::TELEGRAM_IDLE)
            .await
            .map_err(|error| error.broken(account))?;
        Ok(Way { api, me })
    }

    /// Connects and takes updates until something fails.
    async fn serve(&self, link: &dyn Link) -> Result<Infallible, Broken> {
        let way = Arc::new(self.sign_in().await?);
        match &self.posted {
            None => self.poll(link, &way).await,
            Some(posted) => self.be_posted(link, posted, &way).await,
        }
    }

    /// Asks for updates.
    async fn poll(&self, link: &dyn Link, way: &Arc<Way>) -> Result<Infallible, Broken> {
        let account = &self.place.account;
        let Way { api, me } = way.as_ref();
        self.end_webhook(api).await.map_err(|error| error.broken(account))?;
        let _connected = Connected::new(self, way);
        link.connected();
        tracing::info!(place = %self.place, bot = me.id, "Telegram is connected");
        let mut offset = 0;
        loop {
            let mut updates = next_updates(api, offset).await.map_err(|error| error.broken(account))?;
            if updates.last().is_some_and(|last| album::of(last).is_some()) {
                // The rest of it may be on its way; what was told is told again.
                tokio::time::sleep(limits::TELEGRAM_ALBUM).await;
                updates = next_updates(api, offset).await.map_err(|error| error.broken(account))?;
            }
            let mut rest = updates.as_slice();
            while let Some(last) = rest.get(album::length(rest).saturating_sub(1)) {
                let Ok(UpdateId { update_id }) = serde_json::from_str(last.get()) else {
                    return Err(Broken::passing("Telegram told an update without a number; try again later"));
                };
                let (together, later) = rest.split_at(album::length(rest));
                self.hand_in(link, update_id, together, me)
                    .await
                    .map_err(|error| Broken::passing(error.to_string()))?;
                offset = update_id.saturating_add(1);
                rest = later;
            }
        }
    }

    /// Sees to it that nothing is in the way of asking for updates.
    async fn end_webhook(&self, api: &Api) -> Result<(), CallError> {
        let hook: WebhookInfo = api.call("getWebhookInfo", &json!({}), limits::TELEGRAM_IDLE).await?;
        if !hook.url.is_empty() {
            let host = Url::parse(&hook.url).ok().and_then(|url| url.host_str().map(str::to_owned));
            tracing::warn!(
                place = %self.place, host,
                "updates of this bot were posted elsewhere, which ends now; if that was not you, get a new token"
            );
            let keep = json!({"drop_pending_updates": false});
            api.call::<bool>("deleteWebhook", &keep, limits::TELEGRAM_IDLE).await?;
        }
        Ok(())
    }

    /// Hands in updates that are one message. What cannot be read or is nothing to us is left out, so that what is behind it
    /// comes.
    async fn hand_in(
        &self,
        link: &dyn Link,
        number: i64,
        updates: &[Box<RawValue>],
        me: &Me,
    ) -> Result<(), NotTaken> {
        let mut said = Vec::new();
        for update in updates {
            let update: Update = match serde_json::from_str(update.get()) {
                Ok(update) => update,
                Err(error) => {
                    // What serde says may repeat what a person wrote.
                    let kind = error.classify();
                    tracing::warn!(place = %self.place, number, ?kind, "an update cannot be read and is left out");
                    continue;
                }
            };
            match arrival::read(update, &self.place.account, me) {
                Reading::Said(arrival) => said.push(*arrival),
                Reading::Pressed(pressed) => self.press(link, *pressed).await?,
                Reading::Moved(from, to) => {
                    tracing::warn!(
                        place = %self.place, from, to,
                        "a group has another id now; if it is in `groups` of the config, change it there"
                    );
                }
                Reading::Nothing(why) => {
                    tracing::debug!(place = %self.place, number, why, "an update is left out");
                }
            }
        }
        match album::join(said) {
            None => Ok(()),
            Some(arrival) => link.take(arrival).await,
        }
    }

    /// The way there, while there is one.
    fn way(&self) -> Option<Arc<Way>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn post(&self, piece: &Piece) -> Result<(), NotSent> {
        let way = self.way().ok_or_else(|| NotSent::Unreachable("Telegram is not connected".into()))?;
        let target = target(&piece.conversation)
            .ok_or_else(|| NotSent::Never("the conversation has no id of Telegram's".into()))?;
        match send(&way.api, &message(&target, piece, Format::Html)).await {
            Err(error) if error.is_about_tags() => {
                tracing::warn!(place = %self.place, %error, "an answer is sent without its formatting");
                send(&way.api, &message(&target, piece, Format::Plain)).await.map_err(CallError::not_sent)
            }
            sent => sent.map_err(CallError::not_sent),
        }
    }
}

/// Makes the way there known while it lives.
struct Connected<'a>(&'a Telegram);

impl<'a> Connected<'a> {
    fn new(telegram: &'a Telegram, way: &Arc<Way>) -> Self {
        *telegram.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(way));
        Self(telegram)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        *self.0.way.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Driver for Telegram {
    fn place(&self) -> &Place {
        &self.place
    }

    fn sender(&self, entry: &str) -> Option<SenderId> {
        sender(&self.place.account, entry)
    }

    fn pieces(&self, text: &str) -> Vec<String> {
        html::pieces(text)
    }

    fn ask<'a>(&'a self, question: &'a Question) -> Doing<'a, Result<String, NotSent>> {
        Box::pin(self.put(question))
    }

    fn settle<'a>(&'a self, at: &'a Conversation, message: &'a str, text: &'a str) -> Doing<'a, ()> {
        Box::pin(self.replace(at, message, text))
    }

    fn fetch<'a>(&'a self, file: &'a Attached) -> Doing<'a, Result<Vec<u8>, NotFetched>> {
        Box::pin(self.download(file, self.media_max))
    }

    fn look(&self) -> Doing<'_, Result<Option<String>, Broken>> {
        Box::pin(async {
            self.sign_in().await.map(|Way { me, .. }| Some(format!("@{} ({})", me.username, me.id)))
        })
    }

    fn webhook(&self) -> Option<&Webhook> {
        self.posted.as_ref().map(Posted::webhook)
    }

    fn post<'a>(&'a self, link: &'a dyn Link, body: &'a [u8]) -> Doing<'a, Result<(), NotPosted>> {
        Box::pin(self.take_post(link, body))
    }

    fn leave(&self) -> Doing<'_, ()> {
        Box::pin(self.end_own_webhook())
    }

    fn run<'a>(&'a self, link: &'a dyn Link) -> Doing<'a, Broken> {
        Box::pin(async move {
            match self.serve(link).await {
                Err(broken) => broken,
                Ok(never) => match never {},
            }
        })
    }

    fn send<'a>(&'a self, piece: &'a Piece) -> Doing<'a, Result<(), NotSent>> {
        Box::pin(self.post(piece))
    }

    fn show_working<'a>(&'a self, conversation: &'a Conversation) -> Doing<'a, ()> {
        Box::pin(async move {
            let (Some(way), Some(mut parameters)) = (self.way(), target(conversation)) else { return };
            add(&mut parameters, "action", json!("typing"));
            if let Err(error) =
                way.api.call::<bool>("sendChatAction", &parameters, limits::TELEGRAM_IDLE).await
            {
                tracing::debug!(place = %self.place, %error, "that an answer is being written is not shown");
            }
        })
    }
}

/// Reads an entry of an allow-list: a user's number, with `tg:` or `telegram:` before it or not. A name of a user is none: it
/// may belong to somebody else tomorrow.
fn sender(account: &str, entry: &str) -> Option<SenderId> {
    let entry = entry.trim();
    let number = match entry.split_once(':') {
        Some((prefix, number))
            if ["tg", "telegram"].iter().any(|known| prefix.eq_ignore_ascii_case(known)) =>
        {
            number
        }
        Some(_) => return None,
        None => entry,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let id = number.parse::<i64>().ok().filter(|id| is_number && *id > 0)?;
    SenderId::new(CHANNEL, account, "user", &id.to_string()).ok()
}

async fn next_updates(api: &Api, offset: i64) -> Result<Vec<Box<RawValue>>, CallError> {
    let parameters = json!({
        "offset": offset,
        "limit": limits::TELEGRAM_UPDATES,
        "timeout": limits::TELEGRAM_POLL.as_secs(),
        "allowed_updates": UPDATES,
    });
    let idle = limits::TELEGRAM_POLL.saturating_add(limits::TELEGRAM_IDLE);
    api.call("getUpdates", &parameters, idle).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_senders_and_names_do_not() {
        let expected = SenderId::parse("telegram:home:user:123456789").ok();
        for entry in ["123456789", "tg:123456789", "TELEGRAM:123456789", " 123456789 "] {
            assert_eq!(sender("home", entry), expected, "{entry}");
        }
        for entry in ["@ann", "ann", "tg:@ann", "-100123", "0", "", "12 3", "user:123456789", "1e5", "+5"] {
            assert_eq!(sender("home", entry), None, "{entry}");
        }
    }
}
