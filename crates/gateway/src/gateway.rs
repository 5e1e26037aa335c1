//! A gateway from its start to its end: bind, resume, accept, drain.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use moltbot_agent::Agent;
use moltbot_config::{Config, limits};
use moltbot_ledger::Ledger;
use moltbot_ledger::export::Origin;
use moltbot_net::{
    Accepted, AnnounceError, Announcer, Fingerprint, HandedSockets, ListenError, Listener, ServerIdentity,
    SharedBook,
};
use moltbot_policy::admission::Crowded;
use moltbot_policy::authentication::{Credential, WeakCredential};
use moltbot_policy::network::{self, Front};
use moltbot_policy::strictness::Strictness;
use moltbot_policy::{Book as _, Refusal, Unrecorded, clients, record_soon};
use moltbot_protocol::event;
use moltbot_protocol::ids::AgentId;
use moltbot_sandbox::Sandbox;
use moltbot_store::{Store, StoreError};
use moltbot_vault::StateDir;
use serde_json::json;
use thiserror::Error;
use tokio::task::{JoinHandle, JoinSet};

use crate::allowances::{AllowanceError, Allowances};
use crate::approvals::Approvals;
use crate::channels::approving::ToOwnersChats;
use crate::channels::{BindingError, Bindings, ChannelParts, Channels, WebhookError};
use crate::devices::{DeviceError, Devices};
use crate::gate::Seat;
use crate::heartbeat::{self, HeartbeatError};
use crate::hooks::{Hooks, HooksError};
use crate::methods::approvals::ToClients;
use crate::outbox::Closing;
use crate::quarantine::{self, Quarantines};
use crate::reload::{self, ConfigFile};
use crate::senders::{ImportedChannel, SenderError, Senders};
use crate::sending::Server;
use crate::shared::{Entrances, Shared};
use crate::tailnet::{TailnetError, Tailscale};
use crate::{announcing, http, inbound, stop};

/// How long to wait before accepting again when the operating system has no more to give, such as file
/// descriptors: other connections end meanwhile.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// What a gateway is made of.
pub struct Parts {
    /// The accounts of chat channels.
    pub channels: Vec<ChannelParts>,
    /// The settings.
    pub config: Arc<Config>,
    /// The config file as it is written, with references in place of what they stand for, for `config.get`.
    pub config_json: serde_json::Value,
    /// Where the config file is, for telling the owner.
    pub config_path: PathBuf,
    /// The state folder, for telling the owner.
    pub state: StateDir,
    /// The book.
    pub ledger: Ledger,
    /// Where messages, turns and sessions are kept.
    pub store: Store,
    /// Who answers.
    pub agent: Agent,
    /// Who asks the owner about commands: the same that the agent has.
    pub approvals: Approvals,
    /// Where commands run; probed once the gateway answers.
    pub sandbox: Sandbox,
    /// The config's file, which may be changed while the gateway runs.
    pub config_file: Arc<dyn ConfigFile>,
    /// Where the book is sent.
    pub servers: Vec<Server>,
    /// Whose book it is.
    pub origin: Origin,
    /// Who it is over TLS, when that is spoken.
    pub identity: Option<ServerIdentity>,
    /// Sockets that a service manager has opened for it.
    pub handed: HandedSockets,
    /// The addresses that this machine has.
    pub own_addresses: Vec<IpAddr>,
    /// The user that the gateway runs as: its owner.
    pub owner: u32,
    /// The time, in milliseconds since the epoch.
    pub clock: fn() -> u64,
    /// What time it is where the owner lives.
    pub zone: TimeZone,
    /// What time it is where the hours of each agent's heartbeats count.
    pub heartbeat_zones: Vec<(AgentId, TimeZone)>,
}

/// Why a gateway does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// What is kept of allowances cannot be read.
    #[error(transparent)]
    Allowances(#[from] AllowanceError),
    /// Nobody can be told of it on the local network.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// What arrives would go to another agent than the config means.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The shared credential is missing or weak.
    #[error(transparent)]
    Credential(#[from] WeakCredential),
    /// What is kept of devices cannot be read, or an older file of them cannot be imported.
    #[error(transparent)]
    Devices(#[from] DeviceError),
    /// What an agent says by itself would be heard by somebody else than its owner, or by nobody.
    #[error(transparent)]
    Heartbeat(#[from] HeartbeatError),
    /// Hooks are on and cannot be answered safely.
    #[error(transparent)]
    Hooks(#[from] HooksError),
    /// The socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The config asks for an address that is not offered.
    #[error("{0}")]
    Refused(Refusal),
    /// The unfinished turns of the last run, or which sessions are in quarantine, cannot be read.
    #[error(
        "cannot read the unfinished turns of the last run and the sessions in quarantine; run `moltbot doctor`"
    )]
    Resume(#[source] StoreError),
    /// What is kept of senders cannot be read, or an older file of them cannot be imported.
    #[error(transparent)]
    Senders(#[from] SenderError),
    /// Nothing would hear the owner's stop.
    #[error("nothing would hear the owner's stop")]
    Stop(#[source] std::io::Error),
    /// What Tailscale passes on cannot be served.
    #[error(transparent)]
    Tailnet(#[from] TailnetError),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    /// A vendor would post to a path that cannot be answered safely.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

/// Why a gateway is asked to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopReason {
    /// To start again: clients are told to come back.
    Restart,
    /// To be gone.
    Stop,
}

/// How a gateway stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
    /// Turns that did not end in time or had not begun. They are resumed at the next start.
    pub unfinished: usize,
}

/// A gateway that listens.
pub struct Gateway {
    shared: Arc<Shared>,
    listener: Listener,
    announced: Option<Announcer>,
    ticking: [JoinHandle<()>; 4],
    addresses: Vec<IpAddr>,
    fingerprint: Option<Fingerprint>,
}

/// What a gateway that serves knows of itself, for the audit of its start.
#[derive(Clone)]
pub struct View(Arc<Shared>);

impl View {
    /// Devices that wait and devices that are known, as `device.pair.list` has them.
    pub fn devices(&self) -> serde_json::Value {
        self.0.devices.list()
    }

    /// What came of trying the sandbox, as `status` has it.
    pub fn sandbox(&self) -> serde_json::Value {
        self.0.health.sandbox()
    }

    /// That something `status` says has changed.
    pub fn touch(&self) {
        self.0.health.touch();
    }
}

impl Gateway {
    /// Binds the port and takes up the unfinished turns of the last run, in their order and before any new
    /// message. The sandbox is probed beside, so that clients need not wait for it. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// When the credential is missing or weak, the address is refused or taken, the book cannot be written,
    /// or the unfinished turns cannot be read. Nothing listens then.
    pub async fn start(mut parts: Parts) -> Result<Self, StartError> {
        let credential = Credential::from_config(&parts.config.gateway.auth)?;
        let hooks = Hooks::of(&parts.config)?;
        let (settings, own) = (&parts.config.gateway, &parts.own_addresses);
        let permit = network::bind(settings, &credential, own, parts.state.path());
        let permit = permit.map_err(StartError::Refused)?;
        let (addresses, plaintext) = (permit.beyond_loopback(), permit.plaintext());
        let audience = announcing::audience(&parts.config, &permit)?;
        let front = Front::of(&parts.config.gateway, &addresses).map_err(StartError::Refused)?;
        let book: SharedBook = Arc::new(parts.ledger.clone());
        let mut tailscale = Tailscale::open(settings, &credential, &parts.state, &book).await?;
        let front = tailscale.iter().fold(front, |front, tailscale| front.named(&tailscale.name));
        let senders = open_senders(&parts).await?;
        let (served, config) = (std::mem::take(&mut parts.channels), &parts.config);
        let bindings = Bindings::new(config, &served)?;
        let channels = Channels::new(served, bindings, hooks.as_ref(), config)?;
        heartbeat::require_recipients(&channels, config)?;
        let front = channels.hosts().fold(front, Front::named);
        let recorded = record_soon(permit, &parts.ledger).await?;
        let pending = parts.store.pending().await.map_err(StartError::Resume)?;
        let (store, ledger) = (parts.store.clone(), parts.ledger.clone());
        let devices = Devices::open(store, ledger, &parts.state, parts.clock).await?;
        let (store, ledger) = (parts.store.clone(), parts.ledger.clone());
        let config = parts.config.allowances.clone();
        let allowances = Allowances::open(store, ledger, parts.clock, config).await?;
        let quarantine = Quarantines::open(&parts.store).await.map_err(StartError::Resume)?;
        let handed = std::mem::take(&mut parts.handed);
        let listener = moltbot_net::listen(recorded, parts.identity.as_ref(), handed)?;
        for address in plaintext {
            tracing::warn!(%address, "gateway.dangerouslyAllowPlaintextBind: the credential and every message can be read on that network");
        }
        let fingerprint = parts.identity.as_ref().map(|identity| *identity.fingerprint());
        let port = listener.port();
        let announced = announcing::begin(audience, port, fingerprint.as_ref(), &book).await?;
        if let Some(tailscale) = &mut tailscale {
            tailscale.set_up(&parts.ledger, &parts.state).await?;
        }
        let front = front.on_port(port);
        let entrances =
            Entrances { allowances, front, tailscale, channels, devices, hooks, quarantine, senders, port };
        let shared = Shared::new(parts, credential, entrances);
        ToClients::begin(&shared);
        ToOwnersChats::begin(&shared);
        stop::begin(&shared);
        stop::listen(&shared).map_err(StartError::Stop)?;
        quarantine::begin(&shared, &pending).await;
        inbound::resume(&shared, pending);
        Channels::start(&shared);
        shared.health.probe_sandbox(&shared);
        let ticking = [
            tokio::spawn(tick(Arc::clone(&shared))),
            tokio::spawn(look(Arc::clone(&shared))),
            tokio::spawn(reload::watch(Arc::clone(&shared))),
            tokio::spawn(heartbeat::keep_looking(Arc::clone(&shared))),
        ];
        Ok(Self { shared, listener, announced, ticking, addresses, fingerprint })
    }

    /// The addresses beyond loopback that it listens on.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// The fingerprint of its certificate, when it speaks TLS.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// What it can be asked while it serves.
    pub fn view(&self) -> View {
        View(Arc::clone(&self.shared))
    }

    /// Serves until `stop` says why not to, then drains: no new connections and messages, a `shutdown` event
    /// to everybody, up to [`limits::DRAIN`] for running turns, and close code 1012.
    pub async fn run_until(self, stop: impl Future<Output = StopReason>) -> Stopped {
        let Self { shared, listener, announced, ticking, .. } = self;
        // A task of its own: where this future runs another thread may have to be woken for each connection.
        let mut accepting = JoinSet::new();
        let accepts = Arc::clone(&shared);
        accepting.spawn(async move { accept(&accepts, &listener).await });
        let reason = tokio::select! {
            reason = stop => reason,
            ended = accepting.join_next() => {
                tracing::error!(?ended, "no connection is accepted any more");
                StopReason::Stop
            }
        };
        accepting.shutdown().await;
        if let Some(announced) = announced {
            announced.end().await;
        }
        ticking.iter().for_each(JoinHandle::abort);
        let (unfinished, ()) = tokio::join!(drain(&shared, reason), end_forwarding(&shared));
        Stopped { reason, unfinished }
    }
}

/// The senders that are known, and those that another gateway program knew.
async fn open_senders(parts: &Parts) -> Result<Senders, SenderError> {
    let (store, ledger) = (parts.store.clone(), parts.ledger.clone());
    let good_for = Strictness::of_config(&parts.config).pairing;
    let code_ms = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
    let senders = Senders::open(store, ledger, parts.clock, code_ms).await?;
    for ChannelParts { driver, .. } in &parts.channels {
        let (name, read) = (driver.place().channel, |entry: &str| driver.sender(entry));
        senders.import(&parts.state, &ImportedChannel { name, read: &read }).await?;
    }
    Ok(senders)
}

/// Accepts connections as long as it is polled.
async fn accept(shared: &Arc<Shared>, listener: &Listener) -> std::convert::Infallible {
    loop {
        match listener.accept().await {
            // Only root gets there besides, and has the other entrances like everybody else.
            Ok((accepted, peer))
                if accepted.is_through_socket() && accepted.user(peer) != Some(shared.owner) =>
            {
                http::refuse_other(shared, accepted, peer);
            }
            Ok((accepted, peer)) => match seat_for(shared, &accepted, peer) {
                Ok(seat) => drop(tokio::spawn(http::serve(Arc::clone(shared), accepted, peer, seat))),
                Err(Crowded) => http::turn_away(shared, accepted, peer),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The owner's own programs have places that nobody else can take.
fn seat_for(shared: &Shared, accepted: &Accepted, peer: SocketAddr) -> Result<Seat, Crowded> {
    if accepted.is_through_socket() {
        return shared.gate.admit_owner();
    }
    shared.gate.admit(shared.front.source_of(peer.ip()))
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(limits::TICK / 2);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval.tick().await; // the first is at once
    loop {
        interval.tick().await;
        shared.hub.look_for_life();
        interval.tick().await;
        shared.hub.look_for_life();
        shared.hub.tick((shared.clock)());
        shared.sign_in.tell_limited().await;
        shared.gate.prune();
        shared.allowances.prune().await;
        moltbot_sandbox::give_free_memory_back();
    }
}

/// Ends sessions that are over by their limits.
async fn look(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(shared.clients.look());
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for over in shared.clients.end_expired() {
            // Buffered: it permits nothing, and does not wait for the disk.
            if let Err(error) = shared.ledger.enter(clients::over(&over.id, &over.whose, over.why)) {
                tracing::error!(%error, "the end of a session could not be recorded");
            }
        }
    }
}

/// Has Tailscale pass nothing on any more, when the config wants that.
async fn end_forwarding(shared: &Shared) {
    if let Some(tailscale) = &shared.tailscale {
        tailscale.end(&shared.ledger, &shared.state).await;
    }
}

/// Ends what runs. Turns that do not end in time are dropped where they are: their journal is on disk, and
/// the next start resumes them, as it would after a crash.
async fn drain(shared: &Arc<Shared>, reason: StopReason) -> usize {
    let payload = match reason {
        StopReason::Restart => json!({"reason": "gateway restarting", "restartExpectedMs": 1500}),
        StopReason::Stop => json!({"reason": "gateway stopping"}),
    };
    shared.hub.broadcast_to_all(event::SHUTDOWN, &payload);
    let unfinished = shared.inbound.drain(limits::DRAIN).await;
    shared.agent.close().await;
    shared.channels.stop(shared).await;
    shared.hub.close_all(Closing::Restart);
    shared.stopping.cancel();
    shared.connections.close();
    let sent = shared.sending.finish();
    if tokio::time::timeout(limits::LINGER, shared.connections.wait()).await.is_err() {
        tracing::warn!("some clients did not close in time and were dropped");
    }
    shared.sign_in.tell_rest().await;
    sent.await;
    unfinished
}
