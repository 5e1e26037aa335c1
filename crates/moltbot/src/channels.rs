//! The chat channels of a config, each with the door that it needs.

use std::path::Path;
use std::sync::Arc;

use moltbot_channels::driver::SharedDriver;
use moltbot_channels::irc::{Irc, IrcSettings, Sasl};
use moltbot_config::limits;
use moltbot_config::settings::{ChannelsConfig, IrcConfig, SaslConfig, SaslMechanism};
use moltbot_gateway::ChannelParts;
use moltbot_net::{Authorities, ClientIdentity, SharedBook, StreamClient};
use moltbot_policy::network::{Destination, Purpose};
use moltbot_policy::senders::SenderRules;
use moltbot_protocol::sender::is_name;
use secrecy::zeroize::Zeroizing;

use crate::bots::{self, BotTokens};
use crate::exit::Exit;
use crate::home::chain;

/// The drivers of the channels that are served, and who may speak to them.
pub(crate) fn of(
    config: &ChannelsConfig,
    bots: &BotTokens,
    book: &SharedBook,
) -> anyhow::Result<Vec<ChannelParts>> {
    let mut channels = bots::parts(config, bots, book)?;
    for (account, irc) in config.irc.iter().flat_map(IrcConfig::networks) {
        if !is_name(&account) {
            return Err(Exit::Config.because(format!(
                "channels.irc.accounts: {account:?} cannot be the name of an account; use a-z, 0-9, '-' and '_'"
            )));
        }
        let driver: SharedDriver = Arc::new(self::irc(&account, &irc, book)?);
        let rules = SenderRules::new(&irc.senders(config.defaults), |entry| driver.sender(entry));
        channels.push(ChannelParts { driver, rules });
    }
    Ok(channels)
}

fn irc(account: &str, config: &IrcConfig, book: &SharedBook) -> anyhow::Result<Irc> {
    let at = |setting: &str| match account {
        "default" => format!("channels.irc.{setting}"),
        name => format!("channels.irc.accounts.{name}.{setting}"),
    };
    let wrong = |setting: &str, why: String| Exit::Config.because(format!("{} {why}", at(setting)));
    let host = config.host.as_deref();
    let host = host.ok_or_else(|| wrong("host", "is missing; name the server".into()))?;
    let port = config.port.unwrap_or(if config.tls { 6697 } else { 6667 });
    let destination = if config.tls { Destination::tls(host, port) } else { Destination::plain(host, port) };
    let destination =
        destination.map_err(|refusal| wrong("host", format!("cannot be reached: {refusal}")))?;
    let is_here = destination.address().is_some_and(|address| address.is_loopback());
    if config.sasl.is_some() && !config.tls && !is_here {
        return Err(wrong("sasl", format!("would send a password in clear; set {}", at("tls"))));
    }
    let (sasl, own) = match config.sasl.as_ref().map(|sasl| sign_in(sasl, config.tls)).transpose() {
        Ok(None) => (None, None),
        Ok(Some((sasl, own))) => (Some(sasl), own),
        Err(why) => return Err(wrong("sasl", format!("is of no use: {why}"))),
    };
    let settings = IrcSettings {
        channels: joined(config),
        nick: config.nick.clone(),
        password: config.password.clone(),
        realname: config.realname.clone(),
        sasl,
        trusts_masks: config.dangerously_trust_masks,
        username: config.username.as_ref().unwrap_or(&config.nick).clone(),
    };
    let names = settings.channels.iter().map(|name| ("channels", name));
    for (setting, text) in names.chain([("nick", &settings.nick), ("username", &settings.username)]) {
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == ',';
        if text.is_empty() || text.starts_with(':') || text.contains(is_odd) {
            return Err(wrong(setting, format!("has {text:?}, which cannot be a name on IRC")));
        }
    }
    let authorities = authorities(config).map_err(|why| wrong("caFile", format!("is of no use: {why}")))?;
    let client = StreamClient::new(authorities, Purpose::Vendor, destination, Arc::clone(book));
    let client = own.into_iter().fold(client, StreamClient::showing);
    Ok(Irc::new(account, settings, client))
}

/// Who may vouch for the server.
fn authorities(config: &IrcConfig) -> Result<Authorities, String> {
    let Some(path) = config.ca_file.as_deref().map(Path::new) else { return Ok(Authorities::System) };
    let pem = moltbot_vault::read_public(path, limits::AUTHORITIES_BYTES).map_err(|error| chain(&error))?;
    Authorities::only(&pem).map_err(|error| chain(&error))
}

/// The channels to join.
fn joined(config: &IrcConfig) -> Vec<String> {
    let groups = config.groups.keys().filter(|name| *name != "*");
    let mut joined: Vec<String> = config.channels.iter().chain(groups).cloned().collect();
    joined.sort_unstable();
    joined.dedup();
    joined
}

/// How we sign in with services, and the certificate that we show for it; or what is missing.
fn sign_in(config: &SaslConfig, tls: bool) -> Result<(Sasl, Option<ClientIdentity>), String> {
    let SaslConfig { cert_path, key_path, mechanism, password, username } = config;
    if let Some(name) = username.as_ref().filter(|name| name.is_empty() || name.contains('\0')) {
        return Err(format!("{name:?} cannot be an account"));
    }
    match (mechanism, username, password, cert_path, key_path) {
        (SaslMechanism::Plain, Some(name), Some(password), None, None) => {
            Ok((Sasl::Plain(name.clone(), password.clone()), None))
        }
        (SaslMechanism::Plain, ..) => {
            Err("`plain` needs `username` and `password`, and no certificate".into())
        }
        (SaslMechanism::External, _, None, Some(certificate), Some(key)) if tls => {
            let own = certificate_of(certificate, key)?;
            Ok((Sasl::External(username.clone()), Some(own)))
        }
        (SaslMechanism::External, ..) => {
            Err("`external` needs `tls`, `certPath` and `keyPath`, and no password".into())
        }
    }
}

fn certificate_of(certificate: &str, key: &str) -> Result<ClientIdentity, String> {
    let pem = moltbot_vault::read_public(Path::new(certificate), limits::CERTIFICATE_BYTES);
    let pem = pem.map_err(|error| format!("certPath: {}", chain(&error)))?;
    let key = moltbot_vault::OwnerFile::at(key).read(limits::CERTIFICATE_BYTES);
    let key = key.map_err(|error| format!("keyPath: {}", chain(&error)))?;
    let key = Zeroizing::new(key.ok_or("keyPath: there is no such file")?);
    ClientIdentity::from_pem(&pem, &key).map_err(|error| format!("certPath and keyPath: {}", chain(&error)))
}
