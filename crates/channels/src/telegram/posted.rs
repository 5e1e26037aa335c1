//! Updates that Telegram posts to us, by a webhook: set when the account begins, looked after, and taken back at the end.
//!
//! Telegram posts one update at a time, in order, and again until it is answered yes; the gateway answers when it is on
//! disk. Who posts is judged before any of it is read here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use moltbot_config::limits;
use moltbot_net::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use serde_json::value::RawValue;

use super::api::CallError;
use super::update::{UpdateId, WebhookInfo};
use super::{Connected, Telegram, UPDATES, Way};
use crate::driver::{Broken, Link, NotPosted, Webhook};

/// The header with the secret.
const HEADER: &str = "x-telegram-bot-api-secret-token";

/// Where Telegram reaches this gateway.
#[derive(Debug)]
pub struct PublicAddress {
    /// The whole address, as Telegram is told.
    pub url: Url,
    /// The path on this gateway.
    pub path: String,
    /// What Telegram shows with each post.
    pub secret: SecretString,
}

/// That updates of an account are posted.
#[derive(Debug)]
pub(super) struct Posted {
    url: Url,
    webhook: Webhook,
}

impl Posted {
    pub(super) fn new(address: PublicAddress) -> Self {
        let PublicAddress { url, path, secret } = address;
        let host = url.host_str().unwrap_or_default().to_owned();
        Self { webhook: Webhook { header: HEADER, host, path, secret }, url }
    }

    pub(super) const fn webhook(&self) -> &Webhook {
        &self.webhook
    }
}

/// The numbers of updates that were taken last. What is older is known by its message's id.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<VecDeque<i64>>);

impl Seen {
    fn has(&self, update: i64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&update)
    }

    fn add(&self, update: i64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= limits::TELEGRAM_SEEN {
            seen.pop_front();
        }
        seen.push_back(update);
    }
}

impl Telegram {
    /// Has updates posted, until somebody else has them.
    pub(super) async fn be_posted(
        &self,
        link: &dyn Link,
        posted: &Posted,
        way: &Arc<Way>,
    ) -> Result<Infallible, Broken> {
        let account = &self.place.account;
        let broken = |error: CallError| error.broken(account);
        // Before it is set: Telegram posts what waits at once.
        let _connected = Connected::new(self, way);
        let webhook = json!({
            "url": posted.url.as_str(), "secret_token": posted.webhook.secret.expose_secret(),
            "allowed_updates": UPDATES, "drop_pending_updates": false, "max_connections": 1,
        });
        way.api.call::<bool>("setWebhook", &webhook, limits::TELEGRAM_IDLE).await.map_err(broken)?;
        link.connected();
        tracing::info!(place = %self.place, bot = way.me.id, host = posted.webhook.host, "Telegram posts updates");
        let mut failed = None;
        loop {
            tokio::time::sleep(limits::TELEGRAM_WEBHOOK_LOOK).await;
            let info: WebhookInfo =
                way.api.call("getWebhookInfo", &json!({}), limits::TELEGRAM_IDLE).await.map_err(broken)?;
            if info.url != posted.url.as_str() {
                let what = "another program took the updates of this bot; stop it, or get a new token from @BotFather";
                return Err(Broken::passing(what));
            }
            if info.last_error_date > failed {
                failed = info.last_error_date;
                let why: String =
                    info.last_error_message.chars().filter(|c| !c.is_control()).take(200).collect();
                tracing::warn!(place = %self.place, why, waiting = info.pending_update_count, "Telegram could not post an update");
            }
        }
    }

    /// Takes an update that was posted.
    pub(super) async fn take_post(&self, link: &dyn Link, body: &[u8]) -> Result<(), NotPosted> {
        let way = self.way().ok_or_else(|| NotPosted::Later("Telegram is not connected".into()))?;
        let update: &RawValue = serde_json::from_slice(body).map_err(|_| NotPosted::Unreadable)?;
        let UpdateId { update_id } = serde_json::from_str(update.get()).map_err(|_| NotPosted::Unreadable)?;
        if self.seen.has(update_id) {
            return Ok(());
        }
        let taken = self.hand_in(link, update_id, update, &way.me).await;
        taken.map_err(|error| NotPosted::Later(error.to_string()))?;
        self.seen.add(update_id);
        Ok(())
    }

    /// Takes our own webhook back: what Telegram has is kept there until the next start.
    pub(super) async fn end_own_webhook(&self) {
        let (Some(_), Some(way)) = (&self.posted, self.way()) else { return };
        let keep = json!({"drop_pending_updates": false});
        if let Err(error) = way.api.call::<bool>("deleteWebhook", &keep, limits::TELEGRAM_IDLE).await {
            tracing::warn!(place = %self.place, %error, "the webhook is still set");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_updates_are_known_and_no_more_than_fit() {
        let seen = Seen::default();
        let last = i64::try_from(limits::TELEGRAM_SEEN).unwrap() + 1;
        (1..=last).for_each(|update| seen.add(update));
        assert!(!seen.has(1) && seen.has(2) && seen.has(last));
    }
}
