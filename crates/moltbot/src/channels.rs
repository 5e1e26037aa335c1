//! The chat channels of a config, each with the door that it needs.

use std::path::Path;
use std::sync::Arc;

use moltbot_channels::driver::SharedDriver;
use moltbot_channels::irc::{Irc, IrcSettings};
use moltbot_config::limits;
use moltbot_config::settings::{ChannelsConfig, IrcConfig};
use moltbot_gateway::ChannelParts;
use moltbot_net::{Authorities, SharedBook, StreamClient};
use moltbot_policy::network::{Destination, Purpose};
use moltbot_policy::senders::SenderRules;

use crate::bots::{self, BotTokens};
use crate::exit::Exit;

/// The account of a channel that has one.
const ACCOUNT: &str = "default";

/// The drivers of the channels that are served, and who may speak to them.
pub(crate) fn of(
    config: &ChannelsConfig,
    bots: &BotTokens,
    book: &SharedBook,
) -> anyhow::Result<Vec<ChannelParts>> {
    let mut channels = bots::parts(config, bots, book)?;
    if let Some(irc) = config.irc.as_ref().filter(|irc| irc.enabled) {
        let driver: SharedDriver = Arc::new(self::irc(irc, book)?);
        let rules = SenderRules::new(&irc.senders(config.defaults), |entry| driver.sender(entry));
        channels.push(ChannelParts { driver, rules });
    }
    Ok(channels)
}

fn irc(config: &IrcConfig, book: &SharedBook) -> anyhow::Result<Irc> {
    let host = config.host.as_deref();
    let host = host.ok_or_else(|| Exit::Config.because("channels.irc.host is missing; name the server"))?;
    let port = config.port.unwrap_or(if config.tls { 6697 } else { 6667 });
    let destination = if config.tls { Destination::tls(host, port) } else { Destination::plain(host, port) };
    let destination =
        destination.map_err(|refusal| Exit::Config.because(format!("channels.irc.host: {refusal}")))?;
    let is_here = destination.address().is_some_and(|address| address.is_loopback());
    if config.sasl.is_some() && !config.tls && !is_here {
        return Err(
            Exit::Config.because("channels.irc.sasl would send a password in clear; set channels.irc.tls")
        );
    }
    let authorities = match config.ca_file.as_deref().map(Path::new) {
        None => Authorities::System,
        Some(path) => {
            let unusable = |error: &dyn std::error::Error| {
                Exit::Config.because(format!("channels.irc.caFile: {}", crate::home::chain(error)))
            };
            let pem = moltbot_vault::read_public(path, limits::AUTHORITIES_BYTES)
                .map_err(|error| unusable(&error))?;
            Authorities::only(&pem).map_err(|error| unusable(&error))?
        }
    };
    let groups = config.groups.keys().filter(|name| *name != "*");
    let mut joined: Vec<String> = config.channels.iter().chain(groups).cloned().collect();
    joined.sort_unstable();
    joined.dedup();
    let username = config.username.as_ref().unwrap_or(&config.nick);
    for (setting, text) in
        joined.iter().map(|name| ("channels", name)).chain([("nick", &config.nick), ("username", username)])
    {
        if text.is_empty()
            || text.starts_with(':')
            || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
        {
            return Err(
                Exit::Config.because(format!("channels.irc.{setting}: {text:?} cannot be a name on IRC"))
            );
        }
    }
    let settings = IrcSettings {
        channels: joined,
        nick: config.nick.clone(),
        password: config.password.clone(),
        realname: config.realname.clone(),
        sasl: config.sasl.as_ref().map(|sasl| (sasl.username.clone(), sasl.password.clone())),
        trusts_masks: config.dangerously_trust_masks,
        username: username.clone(),
    };
    let client = StreamClient::new(authorities, Purpose::Vendor, destination, Arc::clone(book));
    Ok(Irc::new(ACCOUNT, settings, client))
}
