//! What the environment has for providers.

use std::collections::BTreeMap;

use moltbot_net::EnvironmentProxy;
use secrecy::SecretString;

use super::slot::BUILT_IN;
use crate::model::provider::Key;

/// What the environment has for providers: keys that are not in the config, from variables or a file of credentials, and the
/// proxy on the way to them. Never written anywhere.
#[derive(Clone, Debug, Default)]
pub struct ProviderKeys {
    keys: BTreeMap<String, Vec<Key>>,
    proxy: Option<EnvironmentProxy>,
}

impl ProviderKeys {
    /// Adds a provider's key, and where it is from, such as `OPENAI_API_KEY`. The first one of a provider is used first.
    pub fn add(&mut self, provider: &str, key: SecretString, source: impl Into<String>) {
        let source = source.into();
        self.keys.entry(provider.to_owned()).or_default().push(Key { secret: key, source });
    }

    /// Has what goes over TLS go through that proxy, but for whom it excepts.
    pub fn go_through(&mut self, proxy: EnvironmentProxy) {
        self.proxy = Some(proxy);
    }

    /// The proxy on the way.
    pub(super) fn proxy(&self) -> Option<&EnvironmentProxy> {
        self.proxy.as_ref()
    }

    /// Where the key is from that decides which model answers when the config names none.
    pub fn deciding(&self) -> Option<&str> {
        BUILT_IN.iter().find_map(|it| Some(self.keys.get(it.name)?.first()?.source.as_str()))
    }

    /// What is secret of it, for taking that out of logs and records.
    pub fn values(self) -> impl Iterator<Item = SecretString> {
        let password = self.proxy.as_ref().and_then(EnvironmentProxy::secret).cloned();
        self.keys.into_values().flatten().map(|key| key.secret).chain(password)
    }

    pub(super) fn of(&self, provider: &str) -> Vec<Key> {
        let known = self.keys.get(provider).map(Vec::as_slice).unwrap_or_default();
        let told =
            |key: &Key| Key { secret: key.secret.clone(), source: format!("the key from {}", key.source) };
        known.iter().map(told).collect()
    }
}
