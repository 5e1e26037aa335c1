//! Has the gateway announced on the local network, when the config wants that and somebody there can reach it.

use moltbot_config::settings::{Config, MdnsMode};
use moltbot_net::{Announcer, Fingerprint, SharedBook};
use moltbot_policy::network::{Audience, BindPermit};

use crate::gateway::StartError;

/// Whom to tell.
///
/// # Errors
/// When the config wants somebody told whom the gateway would not be safe for.
pub(crate) fn audience(config: &Config, bind: &BindPermit) -> Result<Option<Audience>, StartError> {
    let audience = Audience::of(&config.discovery, bind).map_err(StartError::Refused)?;
    if audience.is_none() && config.discovery.mdns.mode == MdnsMode::Minimal {
        tracing::info!("discovery.mdns: nobody is told of a gateway that no local network (IPv4) reaches");
    }
    Ok(audience)
}

/// Tells them, from now on.
///
/// # Errors
/// When that cannot be recorded, or a network has no such group.
pub(crate) async fn begin(
    audience: Option<Audience>,
    port: u16,
    fingerprint: Option<&Fingerprint>,
    book: &SharedBook,
) -> Result<Option<Announcer>, StartError> {
    let (Some(audience), Some(fingerprint)) = (audience, fingerprint) else { return Ok(None) };
    Ok(Some(Announcer::begin(audience.permit(port, fingerprint.bytes()), book).await?))
}
