//! Chat channels, whatever their vendors: each driver is run, what it hands in is judged and kept, and what is to be sent
//! is handed to it in order.
//!
//! A driver that fails is run again after a while. All of them stop when the gateway does, within a second.

pub(crate) mod approving;
mod backoff;
mod bindings;
mod buttons;
mod commands;
mod files;
mod intake;
mod people;
mod refusals;
mod route;
mod sending;
mod state;
mod webhooks;

use std::sync::Arc;

use moltbot_channels::driver::{Broken, NotPosted, Place, SharedDriver};
use moltbot_config::settings::DmScope;
use moltbot_config::{Config, limits};
use moltbot_policy::chat::OwnIdentities;
use moltbot_policy::senders::{Admission, SenderRules, owner};
use moltbot_protocol::ids::AgentId;
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::sender::{Origin, SenderId};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::hooks::Hooks;
use crate::shared::Shared;
use backoff::Backoff;
pub use bindings::BindingError;
pub(crate) use bindings::Bindings;
pub(crate) use files::keep_pictures;
use people::IdentityLinks;
use refusals::Refusals;
use state::State;
pub(crate) use webhooks::Inlet;
pub use webhooks::WebhookError;

/// A driver, and who may speak to it.
pub struct ChannelParts {
    /// The driver.
    pub driver: SharedDriver,
    /// The rules.
    pub rules: SenderRules,
}

/// One account of a channel.
pub(crate) struct Served {
    driver: SharedDriver,
    rules: SenderRules,
    /// Where its vendor posts what arrives, when it does.
    pub(crate) inlet: Option<Inlet>,
    state: State,
    /// Commands that were done, when they come twice.
    done: commands::Done,
    /// Something may be there to be sent.
    wake: Notify,
}

impl Served {
    fn place(&self) -> &Place {
        self.driver.place()
    }
}

/// The channels of a gateway.
pub(crate) struct Channels {
    served: Vec<Arc<Served>>,
    scope: DmScope,
    bindings: Bindings,
    owner: OwnIdentities,
    links: IdentityLinks,
    questions: approving::Questions,
    pub(crate) refusals: Refusals,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Channels {
    /// The channels of a config. Fails when a vendor would post to a path without a key, or to one that is another's.
    pub(crate) fn new(
        parts: Vec<ChannelParts>,
        bindings: Bindings,
        hooks: Option<&Hooks>,
        config: &Config,
    ) -> Result<Self, WebhookError> {
        let inlets = webhooks::inlets(&parts, hooks, config)?;
        let drivers: Vec<SharedDriver> = parts.iter().map(|part| Arc::clone(&part.driver)).collect();
        let owner = people::owner(&config.commands, &drivers);
        let links = IdentityLinks::new(&config.session.identity_links, &drivers);
        let served = parts.into_iter().zip(inlets).map(|(ChannelParts { driver, rules }, inlet)| {
            for entry in rules.ignored() {
                let (place, entry) = (driver.place().to_string(), entry.escape_debug());
                tracing::warn!(place, %entry, "an entry of an allow-list is no immutable id; it lets nobody in");
            }
            let (state, done, wake) = (State::default(), commands::Done::default(), Notify::new());
            Arc::new(Served { driver, rules, inlet, state, done, wake })
        });
        Ok(Self {
            served: served.collect(),
            scope: config.session.dm_scope,
            bindings,
            owner,
            links,
            questions: approving::Questions::default(),
            refusals: Refusals::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// The names under which vendors reach this gateway.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.served.iter().filter_map(|served| served.inlet.as_ref()).map(|inlet| inlet.host.as_str())
    }

    /// The account whose vendor posts to that path.
    pub(crate) fn posted_at(&self, path: &str) -> Option<&Arc<Served>> {
        self.served.iter().find(|served| served.inlet.as_ref().is_some_and(|inlet| inlet.is_at(path)))
    }

    /// Runs every driver. Nothing runs while the book has a change that the owner has not looked at.
    pub(crate) fn start(shared: &Arc<Shared>) {
        let channels = &shared.channels;
        for served in &channels.served {
            channels.tasks.spawn(keep_running(Arc::clone(shared), Arc::clone(served)));
            channels.tasks.spawn(sending::keep_sending(Arc::clone(shared), Arc::clone(served)));
        }
    }

    /// Whether an account of that name is served on a channel, or on any.
    pub(crate) fn serves(&self, channel: Option<&str>, account: &str) -> bool {
        let mut places = self.served.iter().map(|served| served.place());
        places.any(|place| place.account == account && channel.is_none_or(|channel| place.channel == channel))
    }

    /// Whom a text means, as an account of a channel reads it in its own lists.
    pub(crate) fn reads(&self, channel: &str, account: &str, text: &str) -> Option<SenderId> {
        self.of(channel, account)?.driver.sender(text)
    }

    fn of(&self, channel: &str, account: &str) -> Option<&Arc<Served>> {
        let is_it = |served: &&Arc<Served>| {
            let place = served.place();
            place.channel == channel && place.account == account
        };
        self.served.iter().find(is_it)
    }

    /// A webhook of a vendor that hooks below that path would answer in its place.
    pub(crate) fn covered_by(&self, hooks: &Hooks) -> Option<String> {
        let is_covered = |served: &&Arc<Served>| {
            served.inlet.as_ref().is_some_and(|inlet| hooks.below(inlet.path()).is_some())
        };
        self.served.iter().find(is_covered).map(|served| served.place().to_string())
    }

    /// Whether what came from there would still be answered: looked at again before each use.
    pub(crate) fn still_admits(&self, shared: &Shared, origin: &Origin) -> bool {
        let Origin { sender, conversation, .. } = origin;
        let Some(served) = self.of(sender.channel(), sender.account()) else { return false };
        let standing = shared.senders.standing(sender);
        // That it was said to us was looked at when it came.
        matches!(served.rules.admit(sender, conversation, true, standing), Admission::Admit(_))
    }

    /// Whether that agent is still the one that answers there: it may have been bound to another while a message waited.
    pub(crate) fn is_answered_by(&self, agent: &AgentId, origin: &Origin) -> bool {
        self.bindings.agent(&origin.sender, &origin.conversation) == agent
    }

    /// The owner's own chats, by each of his identities at each account.
    pub(crate) fn owner_chats(&self) -> impl Iterator<Item = Origin> {
        self.served.iter().flat_map(|served| {
            let place = served.place();
            self.owner.at(place.channel, &place.account).map(|own| Origin {
                sender: own.clone(),
                conversation: served.state.chat_of(own),
                message: None,
            })
        })
    }

    /// Those of them that something can be sent to now.
    fn reachable_owner_chats(&self, shared: &Shared) -> Vec<Origin> {
        let is_reachable = |origin: &Origin| {
            let served = self.of(origin.sender.channel(), origin.sender.account());
            served.is_some_and(|served| served.state.is_connected()) && self.is_owners(shared, origin)
        };
        self.owner_chats().filter(is_reachable).collect()
    }

    fn port(&self, shared: &Arc<Shared>, sender: &SenderId) -> Option<intake::Port> {
        let served = self.of(sender.channel(), sender.account())?;
        Some(intake::Port::new(Arc::clone(shared), Arc::clone(served)))
    }

    /// Whether the owner may still be told something there.
    fn is_owners(&self, shared: &Shared, origin: &Origin) -> bool {
        let standing = shared.senders.standing(&origin.sender);
        owner::judge(&self.owner, &origin.sender, &origin.conversation, standing).is_ok()
    }

    /// What a turn says that ended with its conversation in quarantine is what whoever writes there is told.
    pub(crate) fn is_told(&self, origin: &Origin, since_ms: u64) {
        if let Some(served) = self.of(origin.sender.channel(), origin.sender.account()) {
            served.state.tells_quarantine(&origin.conversation, since_ms);
        }
    }

    /// Something waits to be sent where a message came from.
    pub(crate) fn wake(&self, channel: &str, account: &str) {
        if let Some(served) = self.of(channel, account) {
            served.wake.notify_one();
        }
    }

    /// Shows that a message is being answered, until the answer to this is dropped.
    pub(crate) fn show_working(&self, message: &InboundMessage) -> Option<AbortOnDropHandle<()>> {
        let conversation = message.origin.as_ref()?.conversation.clone();
        let served = Arc::clone(self.of(&message.channel, &message.account)?);
        let showing = self.tasks.spawn(async move {
            loop {
                served.driver.show_working(&conversation).await;
                tokio::time::sleep(limits::CHANNEL_WORKING).await;
            }
        });
        Some(AbortOnDropHandle::new(showing))
    }

    /// How each account of a channel is.
    pub(crate) fn status(&self) -> Vec<Value> {
        self.served.iter().map(|served| served.state.status(served.place())).collect()
    }

    /// Sends what is ready, for a second at most, and ends every driver.
    pub(crate) async fn stop(&self, shared: &Shared) {
        let flush = self.served.iter().map(|served| sending::send_ready(shared, served));
        let flushed = futures_util::future::join_all(flush);
        if tokio::time::timeout(limits::LINGER, flushed).await.is_err() {
            tracing::info!("some answers are sent after the next start");
        }
        let leaving = futures_util::future::join_all(self.served.iter().map(|served| served.driver.leave()));
        if tokio::time::timeout(limits::LINGER, leaving).await.is_err() {
            tracing::warn!("a vendor was not told in time that nobody listens any more");
        }
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(limits::LINGER, self.tasks.wait()).await.is_err() {
            tracing::warn!("a channel did not stop in time and was dropped");
        }
    }
}

/// Takes what a vendor posted for an account.
pub(crate) async fn take_post(
    shared: &Arc<Shared>,
    served: &Arc<Served>,
    body: &[u8],
) -> Result<(), NotPosted> {
    let link = intake::Port::new(Arc::clone(shared), Arc::clone(served));
    served.driver.post(&link, body).await
}

/// Runs a driver until the gateway stops, and again whenever it fails.
async fn keep_running(shared: Arc<Shared>, served: Arc<Served>) {
    let stopping = shared.channels.stopping.clone();
    let place = served.place().to_string();
    let mut backoff = Backoff::default();
    loop {
        let broken = tokio::select! {
            () = stopping.cancelled() => return,
            broken = run_once(&shared, &served) => broken,
        };
        let wait = backoff.after(&broken, served.state.broke(&broken, shared.now_ms()), backoff::random());
        tracing::warn!(place, why = %broken, seconds = wait.as_secs_f32(), "a channel broke off; it is tried again");
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Runs a driver to its end. In a task of its own: one that panics ends itself alone.
async fn run_once(shared: &Arc<Shared>, served: &Arc<Served>) -> Broken {
    if shared.ledger.lockdown().is_some() {
        return Broken::lasting(crate::shared::LOCKED_DOWN);
    }
    served.state.starts();
    let link = intake::Port::new(Arc::clone(shared), Arc::clone(served));
    let driver = Arc::clone(&served.driver);
    let running = tokio::spawn(async move { driver.run(&link).await });
    let ended = AbortOnDropHandle::new(running).await;
    ended.unwrap_or_else(|_| {
        Broken::passing("the driver broke; this is a fault in moltbot, and is in its log")
    })
}
