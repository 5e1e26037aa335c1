//! Asks tailscaled who somebody on the tailnet is, what this machine is called there, and what it passes on; and has it pass
//! requests on to the gateway ([`setup`]).

mod serving;
mod setup;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use http::HeaderValue;
use moltbot_config::limits;
use moltbot_config::settings::{GatewayConfig, TailscaleMode};
use moltbot_net::{LocalSocket, LocalSocketError, SharedBook};
use moltbot_policy::authentication::{Credential, Tailnet, TailnetRules};
use moltbot_policy::network::{Purpose, RequestHead, local_socket};
use moltbot_policy::{Refusal, Unrecorded};
use moltbot_vault::{FileError, StateDir};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::Semaphore;

use setup::Setup;

/// Where tailscaled listens on Linux.
const SOCKET: &str = "/var/run/tailscale/tailscaled.sock";
/// The name that its interface answers to.
const HOST: &str = "local-tailscaled.sock";
/// What it passes on.
const SERVE_CONFIG: &str = "/localapi/v0/serve-config";

/// Why what Tailscale passes on cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TailnetError {
    /// It does not answer.
    #[error(
        "gateway.tailscale.mode is set, and Tailscale does not answer; start it, or set gateway.tailscale.mode to \"off\""
    )]
    Ask(#[from] LocalSocketError),
    /// Its answer makes no sense, or it is not signed in.
    #[error(
        "gateway.tailscale.mode is set, and Tailscale {0}; run `tailscale up`, or set gateway.tailscale.mode to \"off\""
    )]
    Answer(&'static str),
    /// It takes no changes from this user.
    #[error(
        "gateway.tailscale.mode is set, and Tailscale takes no changes from this user; run `sudo tailscale set \
         --operator=$USER`, or have it pass requests on by yourself as docs/reference/network.md says"
    )]
    Denied,
    /// What it passes on, or would have to, is not what the config asks for.
    #[error("{0}")]
    Forwards(Refusal),
    /// What the gateway set up cannot be kept.
    #[error("what Tailscale was set up to pass on cannot be kept")]
    Keep(#[from] FileError),
    /// The config names no place for it.
    #[error("gateway.tailscale.socketPath: {0}")]
    Refused(Refusal),
    /// The book does not take that it is changed.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// What this machine is on the tailnet, and the way to ask about others.
pub(crate) struct Tailscale {
    rules: TailnetRules,
    socket: LocalSocket,
    setup: Setup,
    /// The machine's own name, such as `desk.tail0123.ts.net`.
    pub(crate) name: String,
    /// Questions at once: who floods us is not passed on to tailscaled.
    places: Semaphore,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    backend_state: String,
    /// The names that certificates are given for.
    cert_domains: Option<Vec<String>>,
    #[serde(rename = "Self")]
    own: Option<Own>,
}

#[derive(Deserialize)]
struct Own {
    #[serde(rename = "DNSName")]
    dns_name: String,
    #[serde(rename = "TailscaleIPs", default)]
    addresses: Vec<IpAddr>,
    #[serde(rename = "CapMap", default)]
    capabilities: BTreeMap<String, IgnoredAny>,
}

impl Own {
    /// Whether the tailnet gives this machine that right.
    fn may(&self, capability: &str) -> bool {
        self.capabilities.contains_key(capability)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Whois {
    user_profile: Profile,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Profile {
    login_name: String,
}

impl Tailscale {
    /// Asks tailscaled what this machine is, when the config wants requests from it.
    ///
    /// # Errors
    /// When it does not answer or is not signed in: the gateway must then not start, because nothing would be as asked.
    pub(crate) async fn open(
        gateway: &GatewayConfig,
        credential: &Credential,
        state: &StateDir,
        book: &SharedBook,
    ) -> Result<Option<Self>, TailnetError> {
        if gateway.tailscale.mode == TailscaleMode::Off {
            return Ok(None);
        }
        let path = gateway.tailscale.socket_path.as_deref().unwrap_or(SOCKET);
        let permit = local_socket(Purpose::Tailscale, Path::new(path), "gateway");
        let socket = LocalSocket::open(permit.map_err(TailnetError::Refused)?, book).await?;
        let body = socket.get(HOST, "/localapi/v0/status?peers=false").await?.body;
        let unclear = |_| TailnetError::Answer("gives no status that can be read");
        let status: Status = serde_json::from_slice(&body).map_err(unclear)?;
        let own = status.own.as_ref();
        let own = own.filter(|own| status.backend_state == "Running" && own.dns_name.contains('.'));
        let own = own.ok_or(TailnetError::Answer("is not signed in here"))?;
        let name = own.dns_name.trim_end_matches('.').to_owned();
        let setup = Setup::plan(gateway, &status, &name, &told(&socket).await?.0, state)?;
        let owner = match own.addresses.first() {
            Some(address) => whois(&socket, *address).await?,
            None => None,
        };
        let rules = TailnetRules::of(gateway, credential, owner.as_deref());
        let places = Semaphore::new(limits::TAILSCALE_QUESTIONS);
        Ok(Some(Self { rules, socket, setup, name, places }))
    }

    /// Who the sender of a request is, as far as a claim of it holds.
    pub(crate) async fn ask(&self, peer: IpAddr, head: &RequestHead<'_>) -> Tailnet {
        let claim = match self.rules.claim(peer, head) {
            Ok(claim) => claim,
            Err(known) => return known,
        };
        let Ok(_place) = self.places.try_acquire() else { return self.rules.judge(&claim, None) };
        let said = whois(&self.socket, claim.address()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "Tailscale does not say who somebody is");
            None
        });
        self.rules.judge(&claim, said.as_deref())
    }
}

/// What Tailscale passes on, and the version of that.
async fn told(socket: &LocalSocket) -> Result<(Value, HeaderValue), TailnetError> {
    let answer = socket.get(HOST, SERVE_CONFIG).await?;
    // `null` when nothing was ever set up.
    let told = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200);
    told.zip(answer.version).ok_or(TailnetError::Answer("does not tell what it passes on"))
}

/// The login of whoever has that address on the tailnet.
async fn whois(socket: &LocalSocket, address: IpAddr) -> Result<Option<String>, LocalSocketError> {
    let address = SocketAddr::new(address, 0);
    // An address has no character that a query would read otherwise, but for the brackets of IPv6.
    let address = address.to_string().replace('[', "%5B").replace(']', "%5D");
    let answer = socket.get(HOST, &format!("/localapi/v0/whois?addr={address}")).await?;
    let said: Option<Whois> = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200);
    Ok(said.map(|whois| whois.user_profile.login_name))
}
