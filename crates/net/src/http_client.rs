//! The HTTP client behind a door: one per destination, made when it is first needed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::network::Destination;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::authorities::Authorities;
use crate::environment_proxy::EnvironmentProxy;
use crate::error::ResolveError;

/// Makes the client for one destination. Costs milliseconds when `url` is `https`, because it reads this
/// machine's certificates; never call it where others wait.
#[expect(clippy::disallowed_methods, reason = "this is the only HTTP client of the house")]
pub(crate) fn build(
    destination: &Destination,
    url: &Url,
    authorities: &Authorities,
    proxy: Option<&EnvironmentProxy>,
) -> Result<reqwest::Client, reqwest::Error> {
    // Through a proxy the one name that is resolved here is the proxy's own.
    let destination = proxy.map_or(destination, |proxy| proxy.rule.destination());
    let builder = reqwest::Client::builder()
        .user_agent(concat!("moltbot/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .connect_timeout(limits::PROVIDER_CONNECT)
        .pool_idle_timeout(limits::PROVIDER_KEEP)
        .pool_max_idle_per_host(limits::PROVIDER_KEPT)
        .dns_resolver(Arc::new(JudgingResolver { destination: destination.clone() }));
    let builder = match proxy {
        Some(proxy) => builder.proxy(proxy.to_client()?),
        None => builder,
    };
    if url.scheme() == "https" {
        let builder = builder.https_only(true);
        return match authorities {
            Authorities::System => builder.build(),
            Authorities::Only(pem) => {
                builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?).build()
            }
        };
    }
    // A destination in clear never speaks TLS: without certificates there is none to read.
    builder.tls_certs_only([]).build()
}

/// Judges the address in a URL that has one instead of a name: such a host is never resolved.
pub(crate) fn judge_literal(destination: &Destination, url: &Url) -> Result<(), Refusal> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    judge(destination, address)
}

pub(crate) fn judge(destination: &Destination, address: IpAddr) -> Result<(), Refusal> {
    if destination.permits_address(address) {
        return Ok(());
    }
    let message = format!(
        "{} stands for {address}, which may not be reached under that name; if it is your own server, set its base URL in the config",
        destination.host()
    );
    Err(Refusal::new("egress_refused", message))
}

/// Resolves the destination's name and refuses it when any of its addresses is out of reach: a name that
/// stands for a public and a private address is an attack, not a choice.
struct JudgingResolver {
    destination: Destination,
}

impl Resolve for JudgingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let destination = self.destination.clone();
        Box::pin(async move {
            let addresses = resolve(&destination, name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

pub(crate) async fn resolve(destination: &Destination, host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    // With the root's dot a resolver may answer otherwise: the name that was judged is looked up.
    let host = host.trim_end_matches('.');
    let lookup = tokio::net::lookup_host((host, destination.port())).await;
    let lookup = lookup.map_err(|source| ResolveError::Lookup { host: host.into(), source })?;
    let addresses: Vec<SocketAddr> = lookup.collect();
    for address in &addresses {
        judge(destination, address.ip())?;
    }
    Ok(addresses)
}
