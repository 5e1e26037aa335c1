//! What every connection of one gateway shares.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::tz::TimeZone;
use moltbot_agent::Agent;
use moltbot_config::Config;
use moltbot_config::settings::SandboxBackend;
use moltbot_ledger::Ledger;
use moltbot_policy::authentication::Credential;
use moltbot_policy::network::Front;
use moltbot_policy::nodes::NodeRules;
use moltbot_policy::strictness::Strictness;
use moltbot_protocol::error::WireError;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_sandbox::Sandbox;
use moltbot_store::Store;
use moltbot_vault::StateDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::allowances::Allowances;
use crate::approvals::Approvals;
use crate::channels::Channels;
use crate::clients::Clients;
use crate::devices::Devices;
use crate::gate::Gate;
use crate::gateway::Parts;
use crate::heartbeat::Heartbeats;
use crate::hooks::Hooks;
use crate::http::route::Routes;
use crate::hub::Hub;
use crate::inbound::Inbound;
use crate::methods::health::Health;
use crate::nodes::Nodes;
use crate::quarantine::Quarantines;
use crate::reload::Live;
use crate::senders::Senders;
use crate::sending::{self, Sending};
use crate::sign_in::SignIn;
use crate::stop::Stop;
use crate::tailnet::Tailscale;

/// What is told while the book has a change that the owner has not looked at, and its stable code.
pub(crate) const LOCKED_DOWN: &str = "the ledger was tampered with, so nothing is done; the owner runs `moltbot ledger verify`, stops the gateway, then runs `moltbot ledger accept`";
pub(crate) const LOCKED_DOWN_CODE: &str = "ledger_tampered";
/// What is told in a chat of a command that the book or the state db does not take.
pub(crate) const NOT_NOW: &str = "This is not possible now: it cannot be recorded or kept.";
/// The stable code of an act that is refused because it cannot be recorded.
pub(crate) const UNRECORDED_CODE: &str = "not_recorded";

pub(crate) struct Shared {
    pub(crate) config_path: PathBuf,
    pub(crate) state: StateDir,
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    pub(crate) agent: Agent,
    pub(crate) allowances: Allowances,
    pub(crate) approvals: Approvals,
    pub(crate) sandbox: Sandbox,
    /// What builds the walls of agents that do not say it themselves.
    pub(crate) backend: SandboxBackend,
    pub(crate) clock: fn() -> u64,
    /// How the agent looks by itself whether there is something to do.
    pub(crate) heartbeats: Heartbeats,
    /// What time it is where the owner lives.
    pub(crate) zone: TimeZone,
    /// The name of this machine, for whoever may read.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) front: Front,
    /// Who is asked about people of the tailnet, when it may let them in.
    pub(crate) tailscale: Option<Tailscale>,
    pub(crate) began: Instant,
    /// The user that the gateway runs as: its owner.
    pub(crate) owner: u32,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sign_in: SignIn,
    /// The config's file.
    pub(crate) live: Live,
    /// The addresses that this machine has.
    pub(crate) own_addresses: Vec<IpAddr>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) channels: Channels,
    pub(crate) devices: Devices,
    pub(crate) senders: Senders,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) routes: Routes,
    /// Whether `/readyz` answers.
    pub(crate) readyz: bool,
    /// Nothing when they are off.
    hooks: Mutex<Option<Arc<Hooks>>>,
    pub(crate) hub: Hub,
    pub(crate) inbound: Inbound,
    pub(crate) quarantine: Quarantines,
    pub(crate) health: Health,
    pub(crate) sending: Sending,
    /// Whether the owner has stopped everything.
    pub(crate) stop: Stop,
    /// Cancelled when running turns have had their time.
    pub(crate) stopping: CancellationToken,
    /// The tasks of connections.
    pub(crate) connections: TaskTracker,
}

/// By which ways somebody comes in, and who is known there.
pub(crate) struct Entrances {
    pub(crate) allowances: Allowances,
    pub(crate) front: Front,
    pub(crate) tailscale: Option<Tailscale>,
    pub(crate) channels: Channels,
    pub(crate) devices: Devices,
    pub(crate) hooks: Option<Hooks>,
    pub(crate) quarantine: Quarantines,
    pub(crate) senders: Senders,
    pub(crate) port: u16,
}

impl Shared {
    pub(crate) fn new(parts: Parts, credential: Credential, entrances: Entrances) -> Arc<Self> {
        let Entrances { allowances, front, tailscale, channels, devices, hooks, quarantine, senders, port } =
            entrances;
        let Parts {
            config, config_json, config_path, state, ledger, store, agent, approvals, sandbox, ..
        } = parts;
        let (servers, origin, clock) = (parts.servers, parts.origin, parts.clock);
        let strictness = Strictness::of_config(&config);
        let began = Instant::now();
        let host = origin.host.clone();
        let gate = Gate::new(began);
        let sending = sending::Parts { ledger: ledger.clone(), origin, state: state.clone(), clock };
        Arc::new(Self {
            nodes: Nodes::new(NodeRules::of(&config.gateway.nodes)),
            routes: Routes::of(&config.gateway.http),
            readyz: config.gateway.http.endpoints.readyz.enabled,
            config_path,
            state: state.clone(),
            ledger: ledger.clone(),
            store,
            agent,
            allowances,
            approvals,
            sandbox,
            backend: config.agents.defaults.sandbox.backend,
            clock,
            heartbeats: Heartbeats::new(&config, &parts.heartbeat_zones),
            zone: parts.zone,
            host,
            port,
            front,
            tailscale,
            began,
            owner: parts.owner,
            channels,
            devices,
            hooks: Mutex::new(hooks.map(Arc::new)),
            senders,
            live: Live::new(parts.config_file, config_json),
            own_addresses: parts.own_addresses,
            clients: Arc::new(Clients::new(strictness.sessions, began)),
            sign_in: SignIn::new(credential, ledger, state, Arc::clone(&gate), strictness, clock, began),
            gate,
            hub: Hub::default(),
            inbound: Inbound::new(&config),
            quarantine,
            health: Health::default(),
            sending: Sending::start(servers, &sending),
            stop: Stop::default(),
            stopping: CancellationToken::new(),
            connections: TaskTracker::new(),
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Stops every run of the session, and every command that one left in the background. Names the runs.
    pub(crate) fn abort_session(&self, session: &SessionKey) -> Vec<String> {
        let runs = self.inbound.abort_session(session);
        self.agent.end_commands_of(session);
        runs
    }

    /// The agent that messages without one go to.
    pub(crate) fn default_agent(&self) -> AgentId {
        let agents = self.agent.agents();
        agents.into_iter().find(|agent| agent.default).map_or_else(AgentId::main, |agent| agent.id)
    }

    /// The hooks as they are now; nothing when they are off.
    pub(crate) fn hooks(&self) -> Option<Arc<Hooks>> {
        lock(&self.hooks).clone()
    }

    /// Answers other hooks from now on. A call that is being read is looked at again by [`Self::answers`].
    pub(crate) fn replace_hooks(&self, hooks: Option<Hooks>) {
        *lock(&self.hooks) = hooks.map(Arc::new);
    }

    /// Whether these are the hooks still.
    pub(crate) fn answers(&self, hooks: &Hooks) -> bool {
        lock(&self.hooks).as_deref().is_some_and(|current| std::ptr::eq(current, hooks))
    }

    /// The config as it is now, whatever the gateway was started with.
    pub(crate) async fn config_now(&self) -> Result<Config, WireError> {
        let file = self.live.file();
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        let read = read.map_err(|error| WireError::unavailable(error.to_string()))?;
        read.map(|read| read.config).map_err(|why| not_taken_up(&why))
    }

    /// Milliseconds since the start.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What whoever changed the config is told when it cannot be used; why, is for the log.
pub(crate) fn not_taken_up(why: &str) -> WireError {
    tracing::warn!(why, "a changed config was not taken up; what was before counts");
    WireError::unavailable(
        "the config cannot be used, so the credential of before counts, and the hooks of before; see `moltbot config validate` and `moltbot logs`",
    )
}

/// Locks, also after a panic elsewhere: what these mutexes guard is consistent between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
