//! The proxy that the environment names, for requests to providers.

use moltbot_policy::Refusal;
use moltbot_policy::network::ProxyRule;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A proxy, with the credentials that it wants. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EnvironmentProxy {
    pub(crate) rule: ProxyRule,
    user: String,
    password: Option<SecretString>,
}

impl EnvironmentProxy {
    /// The proxy at `url`, as `HTTPS_PROXY` has it: `http://user:password@host:port`, the scheme and the credentials left out
    /// where there are none; and whom `NO_PROXY` excepts.
    ///
    /// # Errors
    /// When that is no proxy. The error tells nothing of what is secret in it.
    pub fn parse(url: &SecretString, no_proxy: &str) -> Result<Self, Refusal> {
        let text = url.expose_secret().trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let no_url = || Refusal::new("egress_refused", "the proxy of the environment: it is no URL");
        let url = Url::parse(&whole).map_err(|_| no_url())?;
        let decoded = |text: &str| decode(text).ok_or_else(no_url);
        let password = url.password().map(decoded).transpose()?.map(SecretString::from);
        Ok(Self { rule: ProxyRule::new(&url, no_proxy)?, user: decoded(url.username())?, password })
    }

    /// What must be in no log.
    pub const fn secret(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }

    /// It as the client wants it.
    pub(crate) fn to_client(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let destination = self.rule.destination();
        let scheme = if destination.is_encrypted() { "https" } else { "http" };
        let proxy = reqwest::Proxy::all(format!("{scheme}://{}", destination.target()))?;
        let Some(password) = &self.password else {
            return Ok(if self.user.is_empty() { proxy } else { proxy.basic_auth(&self.user, "") });
        };
        Ok(proxy.basic_auth(&self.user, password.expose_secret()))
    }
}

/// A text of a URL without its `%xx`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after.get(..2)) {
            (b'%', Some(digits)) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                after.get(2..).unwrap_or_default()
            }
            (b'%', None) => return None,
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}
