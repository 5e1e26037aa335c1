//! Which agent answers whom: the config's bindings, with the people that they name read as their channels read them.

use std::sync::Arc;

use moltbot_channels::driver::SharedDriver;
use moltbot_config::Config;
use moltbot_config::settings::{Binding, BindingMatch, BindingPeer, PeerKind};
use moltbot_policy::routing::{Arrived, Peer, Rule, agent_for};
use moltbot_protocol::ids::AgentId;
use moltbot_protocol::sender::{Conversation, SenderId};
use thiserror::Error;

use super::ChannelParts;

/// Why bindings cannot be used: what one means would go to another agent.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum BindingError {
    /// An account that there is not.
    #[error(
        "bindings[{index}].match.accountId means the account {account:?}, which channels.{channel} does not have; name one of {known}, or \"*\" for all of them"
    )]
    Account { index: usize, channel: String, account: String, known: String },
    /// An agent that there is not.
    #[error(
        "bindings[{index}].agentId is {agent}, which does not exist; add it to agents.list, or name another"
    )]
    Agent { index: usize, agent: AgentId },
    /// A person by a name that may be somebody else's tomorrow.
    #[error(
        "bindings[{index}].match.peer.id is {id:?}, which is no immutable id on {channel}; write the number or the id in full, such as {channel}:{account}:user:123456789"
    )]
    Peer { index: usize, channel: String, account: String, id: String },
}

/// The rules of a gateway.
#[derive(Debug)]
pub(crate) struct Bindings {
    rules: Vec<Rule>,
    /// The agent that answers where no rule fits.
    default: AgentId,
}

impl Bindings {
    /// Those of a config.
    pub(crate) fn new(config: &Config, parts: &[ChannelParts]) -> Result<Self, BindingError> {
        let drivers: Vec<SharedDriver> = parts.iter().map(|part| Arc::clone(&part.driver)).collect();
        let default = config.agents.default_agent();
        let mut rules = Vec::with_capacity(config.bindings.len());
        for (index, binding) in config.bindings.iter().enumerate() {
            let Binding { agent_id: agent, .. } = binding;
            if *agent != default && !config.agents.list.iter().any(|entry| entry.id == *agent) {
                return Err(BindingError::Agent { index, agent: agent.clone() });
            }
            rules.extend(rule(index, binding, &drivers)?);
        }
        Ok(Self { rules, default })
    }

    /// The agent that answers a sender in a conversation.
    pub(super) fn agent(&self, sender: &SenderId, conversation: &Conversation) -> &AgentId {
        // No channel that is served has guilds or teams.
        let arrived = Arrived { sender, conversation, guild: None, team: None };
        agent_for(&self.rules, &arrived).unwrap_or(&self.default)
    }
}

/// The rule of a binding; nothing when its channel is not served at all, which is told in the log.
fn rule(index: usize, binding: &Binding, drivers: &[SharedDriver]) -> Result<Option<Rule>, BindingError> {
    let matches = &binding.matches;
    let channel = matches.channel.trim().to_ascii_lowercase();
    let of_channel = || drivers.iter().filter(|driver| driver.place().channel == channel);
    if of_channel().next().is_none() {
        tracing::warn!(
            index,
            channel,
            "a binding is for a channel that is not served; nothing arrives that it could fit"
        );
        return Ok(None);
    }
    let wanted = matches.account();
    let account = (wanted != BindingMatch::ALL_ACCOUNTS).then(|| wanted.to_owned());
    let meant =
        || of_channel().filter(|driver| account.as_ref().is_none_or(|it| driver.place().account == *it));
    if meant().next().is_none() {
        let known = of_channel().map(|driver| driver.place().account.clone()).collect::<Vec<_>>().join(", ");
        return Err(BindingError::Account { index, channel, account: wanted.to_owned(), known });
    }
    let peer = match &matches.peer {
        None => None,
        Some(BindingPeer { id, kind: PeerKind::Channel | PeerKind::Group }) => Some(Peer::Group(id.text())),
        Some(BindingPeer { id, kind: PeerKind::Dm }) => {
            let ids: Vec<SenderId> = meant().filter_map(|driver| person(&id.text(), driver)).collect();
            if ids.is_empty() {
                let (id, account) = (id.text(), account.unwrap_or_else(|| "default".to_owned()));
                return Err(BindingError::Peer { index, channel, account, id });
            }
            Some(Peer::Person(ids))
        }
    };
    let (guild, team) = (matches.guild_id.clone(), matches.team_id.clone());
    Ok(Some(Rule { agent: binding.agent_id.clone(), channel, account, peer, guild, team }))
}

/// Whom an id means at an account: in full, or as the channel's own lists have it.
fn person(id: &str, driver: &SharedDriver) -> Option<SenderId> {
    let place = driver.place();
    let is_there = |sender: &SenderId| sender.channel() == place.channel && sender.account() == place.account;
    SenderId::parse(id).ok().or_else(|| driver.sender(id)).filter(is_there)
}
