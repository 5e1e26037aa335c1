//! What every connection of one gateway shares.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use moltbot_agent::Agent;
use moltbot_config::Config;
use moltbot_ledger::Ledger;
use moltbot_policy::authentication::Credential;
use moltbot_policy::network::Front;
use moltbot_policy::nodes::NodeRules;
use moltbot_policy::strictness::Strictness;
use moltbot_policy::{Permit, Recorded, Unrecorded, record};
use moltbot_protocol::error::WireError;
use moltbot_protocol::ids::AgentId;
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
use crate::gateway::{Parts, ReadConfig};
use crate::hooks::Hooks;
use crate::http::route::Routes;
use crate::hub::Hub;
use crate::inbound::Inbound;
use crate::methods::health::Health;
use crate::nodes::Nodes;
use crate::senders::Senders;
use crate::sending::{self, Sending};
use crate::sign_in::SignIn;
use crate::stop::Stop;
use crate::tailnet::Tailscale;

/// What is told while the book has a change that the owner has not looked at, and its stable code.
pub(crate) const LOCKED_DOWN: &str = "the ledger was tampered with, so nothing is done; the owner runs `moltbot ledger verify`, stops the gateway, then runs `moltbot ledger accept`";
pub(crate) const LOCKED_DOWN_CODE: &str = "ledger_tampered";
/// The stable code of an act that is refused because it cannot be recorded.
pub(crate) const UNRECORDED_CODE: &str = "not_recorded";

pub(crate) struct Shared {
    pub(crate) config_json: serde_json::Value,
    pub(crate) config_path: PathBuf,
    pub(crate) state: StateDir,
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    pub(crate) agent: Agent,
    pub(crate) allowances: Allowances,
    pub(crate) approvals: Approvals,
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: fn() -> u64,
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
    /// Reads the config anew.
    read_config: ReadConfig,
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
    pub(crate) senders: Senders,
    pub(crate) port: u16,
}

impl Shared {
    pub(crate) fn new(parts: Parts, credential: Credential, entrances: Entrances) -> Arc<Self> {
        let Entrances { allowances, front, tailscale, channels, devices, hooks, senders, port } = entrances;
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
            config_json,
            config_path,
            state: state.clone(),
            ledger: ledger.clone(),
            store,
            agent,
            allowances,
            approvals,
            sandbox,
            clock,
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
            read_config: parts.read_config,
            clients: Arc::new(Clients::new(strictness.sessions, began)),
            sign_in: SignIn::new(credential, ledger, state, Arc::clone(&gate), strictness, clock, began),
            gate,
            hub: Hub::default(),
            inbound: Inbound::default(),
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
        let read = Arc::clone(&self.read_config);
        let config = tokio::task::spawn_blocking(move || read()).await;
        let config = config.map_err(|error| WireError::unavailable(error.to_string()))?;
        config.map_err(|why| not_taken_up(&why))
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

/// Records a permit on a thread that may wait for the disk. `action` names what is not done when that breaks.
///
/// # Errors
/// When it cannot be recorded: then what it permits is not done.
pub(crate) async fn recorded<P: Permit + Send + 'static>(
    ledger: &Ledger,
    permit: P,
    action: &'static str,
) -> Result<Recorded<P>, Unrecorded> {
    let ledger = ledger.clone();
    let recorded = tokio::task::spawn_blocking(move || record(permit, &ledger)).await;
    recorded.map_err(|error| Unrecorded { action, cause: error.to_string() })?
}

/// Locks, also after a panic elsewhere: what these mutexes guard is consistent between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
