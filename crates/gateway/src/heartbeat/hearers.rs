//! Who hears what a look says: the owner in his own chats, and nobody else.

use moltbot_config::Config;
use moltbot_config::settings::{
    AgentHeartbeat, AgentHeartbeatConfig, AgentsConfig, HeartbeatConfig, HeartbeatTarget,
};
use moltbot_protocol::ids::AgentId;
use moltbot_protocol::sender::Origin;
use moltbot_store::StoreError;
use thiserror::Error;

use crate::channels::Channels;
use crate::inbound::Run;
use crate::shared::Shared;

/// Turns that are looked through for where the owner wrote last.
const LOOKED_AT: u32 = 1000;

/// Why nobody could hear what an agent says that looks by itself.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum HeartbeatError {
    /// An account that there is not.
    #[error(
        "{path} is {account:?}, and no such account is served on the channel that `target` names; name one that is, or remove it"
    )]
    Account { path: String, account: String },
    /// A recipient without a channel.
    #[error(
        "{path} is {to:?}, and {target} names no channel; set it to the channel that {to:?} is on, or remove `to`"
    )]
    Channelless { path: String, to: String, target: String },
    /// Somebody who is not the owner.
    #[error(
        "{path} is {to:?}, which is none of the owner's own identities on {channel}; what an agent says by itself is for its owner alone: list it in commands.ownerAllowFrom, or remove `to`"
    )]
    Stranger { path: String, to: String, channel: String },
}

/// Demands that who is to hear what agents say by themselves is their owner.
pub(crate) fn require_recipients(channels: &Channels, config: &Config) -> Result<(), HeartbeatError> {
    let mut looking = config.agents.heartbeats().into_iter().filter(|beats| beats.looks);
    looking.try_for_each(|beats| require_recipient(channels, &config.agents, &beats))
}

fn require_recipient(
    channels: &Channels,
    agents: &AgentsConfig,
    beats: &AgentHeartbeat,
) -> Result<(), HeartbeatError> {
    let HeartbeatConfig { account_id, target, to, .. } = &beats.config;
    let path = |setting: &str, is_own: fn(&AgentHeartbeatConfig) -> bool| beats.path(setting, is_own, agents);
    let channel = target.channel();
    if let Some(account) = account_id
        && !channels.serves(channel, account)
    {
        let (path, account) = (path("accountId", |own| own.account_id.is_some()), account.clone());
        return Err(HeartbeatError::Account { path, account });
    }
    let Some(to) = to.clone() else { return Ok(()) };
    let path_of_to = path("to", |own| own.to.is_some());
    match channel {
        None => {
            let target = path("target", |own| own.target.is_some());
            Err(HeartbeatError::Channelless { path: path_of_to, to, target })
        }
        Some(channel) if hearers_on(channels, &beats.config, channel).next().is_none() => {
            Err(HeartbeatError::Stranger { path: path_of_to, to, channel: channel.into() })
        }
        Some(_) => Ok(()),
    }
}

/// The owner's chats on a channel that the config means.
fn hearers_on<'a>(
    channels: &'a Channels,
    config: &'a HeartbeatConfig,
    channel: &'a str,
) -> impl Iterator<Item = Origin> + 'a {
    channels.owner_chats().filter(move |chat| {
        let sender = &chat.sender;
        let is_to =
            |to: &String| channels.reads(sender.channel(), sender.account(), to).as_ref() == Some(sender);
        sender.channel() == channel && is_on(config, chat) && config.to.as_ref().is_none_or(is_to)
    })
}

fn is_on(config: &HeartbeatConfig, chat: &Origin) -> bool {
    config.account_id.as_deref().is_none_or(|account| account == chat.sender.account())
}

/// Finds who on channels hears what a run says that nobody asked for.
pub(crate) async fn find_hearers(shared: &Shared, run: &Run) {
    if !run.is_asked_for {
        run.is_heard_by(hearers(shared, &run.session.agent()).await);
    }
}

async fn hearers(shared: &Shared, agent: &AgentId) -> Vec<Origin> {
    let Some(beats) = shared.heartbeats.of(agent) else { return Vec::new() };
    let config = &beats.of.config;
    match (config.target, config.target.channel()) {
        (HeartbeatTarget::None, _) => Vec::new(),
        (_, Some(channel)) => hearers_on(&shared.channels, config, channel).collect(),
        (_, None) => {
            let chats = shared.channels.owner_chats().filter(|chat| is_on(config, chat));
            last_chat(shared, chats.collect()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "where the owner wrote last cannot be read; the web chat alone is told");
                Vec::new()
            })
        }
    }
}

/// That of the owner's chats in which he wrote last; none when he wrote in none.
async fn last_chat(shared: &Shared, mut chats: Vec<Origin>) -> Result<Vec<Origin>, StoreError> {
    if chats.is_empty() {
        return Ok(chats);
    }
    let origins = shared.store.last_origins(LOOKED_AT).await?;
    let at = origins.iter().find_map(|origin| chats.iter().position(|chat| chat.sender == origin.sender));
    Ok(at.map(|at| chats.swap_remove(at)).into_iter().collect())
}
