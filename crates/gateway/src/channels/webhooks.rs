//! The paths at which vendors post what arrives, each with the key that it needs and the limits that it has.

use std::sync::Arc;

use http::HeaderName;
use moltbot_channels::driver::{Place, Webhook};
use moltbot_config::{Config, limits};
use moltbot_policy::webhook::{VendorKey, WeakVendorKey, require_different};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::ChannelParts;
use crate::hooks::{Hooks, OWN_PATHS};

/// Why posts of vendors cannot be answered.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum WebhookError {
    /// A secret.
    #[error(transparent)]
    Key(#[from] WeakVendorKey),
    /// A path that is another way in, or none.
    #[error(
        "the webhook of {place} cannot be at {path:?}: {why}; choose a path of its own, such as \"/telegram-webhook\""
    )]
    Path { place: String, path: String, why: &'static str },
}

/// Where a vendor posts what arrives at one account.
pub(crate) struct Inlet {
    path: String,
    /// The host that the vendor names.
    pub(super) host: String,
    /// The header with the secret.
    pub(crate) header: HeaderName,
    /// What the vendor shows.
    pub(crate) key: VendorKey,
    /// The largest body, in bytes.
    pub(crate) body: usize,
    /// Posts that are read at the same time.
    pub(crate) places: Arc<Semaphore>,
}

impl Inlet {
    fn of(webhook: &Webhook, place: &Place, config: &Config) -> Result<Self, WebhookError> {
        let place = place.to_string();
        let Webhook { header, host, path, secret } = webhook;
        let odd = |why| WebhookError::Path { place: place.clone(), path: path.clone(), why };
        let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
        if first.is_empty() || !path.bytes().all(is_name) {
            return Err(odd("it must have letters, digits, '-' and '_' between '/'"));
        }
        if OWN_PATHS.contains(&first) {
            return Err(odd("it is a path of the gateway's own"));
        }
        Ok(Self {
            path: path.clone(),
            host: host.clone(),
            header: HeaderName::from_static(header),
            key: VendorKey::new(&place, secret, config)?,
            body: limits::WEBHOOK_BYTES,
            places: Arc::new(Semaphore::new(limits::WEBHOOKS_IN_FLIGHT)),
        })
    }

    pub(super) fn is_at(&self, path: &str) -> bool {
        self.path == path
    }
}

/// The inlets of all accounts, in their order. Two at one path, or one where hooks are, would be answered by the wrong one.
pub(super) fn inlets(
    parts: &[ChannelParts],
    hooks: Option<&Hooks>,
    config: &Config,
) -> Result<Vec<Option<Inlet>>, WebhookError> {
    let mut all: Vec<Option<Inlet>> = Vec::with_capacity(parts.len());
    for ChannelParts { driver, .. } in parts {
        let Some(webhook) = driver.webhook() else {
            all.push(None);
            continue;
        };
        let inlet = Inlet::of(webhook, driver.place(), config)?;
        let odd = |why| {
            let (place, path) = (driver.place().to_string(), inlet.path.clone());
            Err(WebhookError::Path { place, path, why })
        };
        if all.iter().flatten().any(|other| other.is_at(&inlet.path)) {
            return odd("another account has it");
        }
        if hooks.is_some_and(|hooks| hooks.below(&inlet.path).is_some()) {
            return odd("hooks are there");
        }
        all.push(Some(inlet));
    }
    require_different(all.iter().flatten().map(|inlet| &inlet.key))?;
    Ok(all)
}
