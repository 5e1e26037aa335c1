//! The hooks of a config, ready to be answered: keys, mappings, and who may choose what.
//!
//! What cannot be answered safely stops the start: a weak or shared key, two mappings for one call, an agent that does not
//! exist.

use std::sync::Arc;

use moltbot_channels::hooks::{AGENT, MappingError, Mappings, WAKE};
use moltbot_config::Config;
use moltbot_config::limits;
use moltbot_config::settings::{HookAction, HookSignature, HooksConfig, SignatureKind, WakeMode};
use moltbot_policy::cause::Cause;
use moltbot_policy::hook::{self, HookToken, SignatureKey, WeakHookKey};
use moltbot_protocol::ids::{AgentId, HookName, RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Semaphore;

/// The first names of the gateway's own paths, of this generation and others.
pub(crate) const OWN_PATHS: [&str; 6] = ["api", "canvas", "healthz", "tools", "v1", "ws"];

/// Why hooks cannot be answered.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum HooksError {
    /// An agent that does not exist.
    #[error("{place} names the agent {agent}, which does not exist; add it to agents.list, or name another")]
    Agent { place: String, agent: AgentId },
    /// A hook that would wait for a look that never comes.
    #[error(
        "hooks.mappings[{hook}].wakeMode is \"next-heartbeat\", and the agent {agent} never looks by itself; give it a heartbeat whose `every` is not 0m, or remove wakeMode"
    )]
    Heartbeat { hook: HookName, agent: AgentId },
    /// A key.
    #[error(transparent)]
    Key(#[from] WeakHookKey),
    /// A mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A path that is another way in.
    #[error("hooks.path {path:?} is a path of the gateway's own; choose another, such as \"/hooks\"")]
    Path { path: String },
    /// A setting of signatures that its kind does not have.
    #[error("hooks.mappings[{hook}].signature.{setting} is for the kind \"generic\" alone; remove it")]
    Signature { hook: HookName, setting: &'static str },
}

/// Hooks that are answered.
pub(crate) struct Hooks {
    /// The path below which they are.
    base: String,
    pub(crate) config: HooksConfig,
    pub(crate) token: HookToken,
    pub(crate) mappings: Mappings,
    keys: Vec<(HookName, SignatureKey)>,
    /// Calls that are answered at the same time.
    pub(crate) places: Arc<Semaphore>,
    /// Calls whose body is read before it is known who calls.
    pub(crate) unverified: Semaphore,
}

impl Hooks {
    /// The hooks of a config; nothing when they are off.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, HooksError> {
        let hooks = &config.hooks;
        if !hooks.enabled {
            return Ok(None);
        }
        if hooks.path.split('/').nth(1).is_none_or(|first| OWN_PATHS.contains(&first)) {
            return Err(HooksError::Path { path: hooks.path.clone() });
        }
        let mappings = Mappings::of(hooks, hook::name_of)?;
        require_agents(config, &mappings)?;
        require_looks(config, &mappings)?;
        for mapping in &hooks.mappings {
            if let (Some(name), Some(signature)) = (hook::name_of(mapping), &mapping.signature) {
                require_generic(name, signature)?;
            }
        }
        Ok(Some(Self {
            base: hooks.path.clone(),
            config: hooks.clone(),
            token: HookToken::from_config(hooks, &config.gateway.auth)?,
            mappings,
            keys: hook::signature_keys(hooks, &config.gateway.auth)?,
            places: Arc::new(Semaphore::new(limits::HOOKS_IN_FLIGHT)),
            unverified: Semaphore::new(limits::UNVERIFIED_HOOKS),
        }))
    }

    /// What follows the path of all hooks; nothing when the path is another one.
    pub(crate) fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.base)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// How many there are, with those that are always there.
    pub(crate) fn count(&self) -> usize {
        self.mappings.iter().count().saturating_add(2)
    }

    /// The key of the one hook at a path whose calls are signed.
    pub(crate) fn key_at(&self, path: &str) -> Option<(&HookName, &SignatureKey)> {
        let name = self.mappings.at(path).next()?.name();
        self.key_of(name)
    }

    fn key_of(&self, name: &HookName) -> Option<(&HookName, &SignatureKey)> {
        self.keys.iter().find(|(own, _)| own == name).map(|(own, key)| (own, key))
    }
}

/// Demands that the agent looks by itself for which a mapping has something wait.
fn require_looks(config: &Config, mappings: &Mappings) -> Result<(), HooksError> {
    let (heartbeats, default) = (config.agents.heartbeats(), config.agents.default_agent());
    let looks = |agent: &AgentId| {
        heartbeats.iter().any(|beats| beats.agent == *agent && beats.looks && !beats.config.every.0.is_zero())
    };
    for mapping in mappings.iter().filter(|mapping| mapping.wake_mode() == WakeMode::NextHeartbeat) {
        let agent = mapping.agent().unwrap_or(&default).clone();
        if !looks(&agent) {
            return Err(HooksError::Heartbeat { hook: mapping.name().clone(), agent });
        }
    }
    Ok(())
}

fn require_agents(config: &Config, mappings: &Mappings) -> Result<(), HooksError> {
    let list = &config.agents.list;
    let exists = |id: &AgentId| {
        list.iter().any(|agent| agent.id == *id) || (list.is_empty() && *id == AgentId::main())
    };
    let listed =
        config.hooks.allowed_agent_ids.iter().map(|agent| ("hooks.allowedAgentIds".to_owned(), &agent.0));
    let mapped = mappings.iter().filter_map(|mapping| {
        Some((format!("hooks.mappings[{}].agentId", mapping.name()), mapping.agent()?))
    });
    match listed.chain(mapped).find(|(_, agent)| !exists(agent)) {
        None => Ok(()),
        Some((place, agent)) => Err(HooksError::Agent { place, agent: agent.clone() }),
    }
}

fn require_generic(hook: HookName, signature: &HookSignature) -> Result<(), HooksError> {
    let own = [
        ("header", &signature.header),
        ("idHeader", &signature.id_header),
        ("prefix", &signature.prefix),
        ("timestampHeader", &signature.timestamp_header),
    ];
    let set = own.into_iter().find(|(_, value)| value.is_some());
    match (signature.kind, set) {
        (SignatureKind::Generic, _) | (_, None) => Ok(()),
        (_, Some((setting, _))) => Err(HooksError::Signature { hook, setting }),
    }
}

/// What there is to know of one hook. No secret is in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookFacts {
    /// Its name.
    pub name: String,
    /// Its whole path.
    pub path: String,
    /// What `source` in a body must be.
    pub source: Option<String>,
    /// What it causes: `agent` or `wake`.
    pub action: &'static str,
    /// How its caller is known: `token`, or whose form of signature.
    pub key: &'static str,
    /// The agents that may answer.
    pub agents: Vec<String>,
    /// The session: `main`, `own` for one of its own each time, or what its name begins with.
    pub session: String,
    /// The tools that its turns have.
    pub tools: Vec<&'static str>,
}

/// The hooks of a config, whose answers a gateway with it gives; none when they are off.
///
/// # Errors
/// When a gateway would not start with them.
pub fn list(config: &Config) -> Result<Vec<HookFacts>, HooksError> {
    let Some(hooks) = Hooks::of(config)? else { return Ok(Vec::new()) };
    let default = config.agents.default_agent();
    let allowed = &config.hooks.allowed_agent_ids;
    let agents =
        if allowed.is_empty() { vec![default.to_string()] } else { names(allowed.iter().map(|one| &one.0)) };
    let session = config.hooks.default_session_key.clone().unwrap_or_else(|| "own".into());
    let session = if config.hooks.allow_request_session_key { "hook:".into() } else { session };
    let facts = |name: &str, path: &str, action, agents, session: String| HookFacts {
        name: name.to_owned(),
        path: format!("{}/{path}", hooks.base),
        source: None,
        action,
        key: "token",
        agents,
        session,
        tools: tools_of(config, name),
    };
    let mut list = vec![
        facts(AGENT, AGENT, "agent", agents, session),
        facts(WAKE, WAKE, "wake", vec![default.to_string()], "main".into()),
    ];
    for mapping in hooks.mappings.iter() {
        let (action, session) = match (mapping.action(), mapping.session_head()) {
            (HookAction::Wake, _) => ("wake", "main".to_owned()),
            (HookAction::Agent, None) => ("agent", "own".to_owned()),
            (HookAction::Agent, Some(head)) => ("agent", head.to_owned()),
        };
        let agents = vec![mapping.agent().unwrap_or(&default).to_string()];
        let named = facts(mapping.name().as_str(), mapping.path(), action, agents, session);
        let key = hooks.key_of(mapping.name()).map_or("token", |(_, key)| key.kind());
        list.push(HookFacts { source: mapping.source().map(str::to_owned), key, ..named });
    }
    Ok(list)
}

fn names<'a>(agents: impl Iterator<Item = &'a AgentId>) -> Vec<String> {
    agents.map(ToString::to_string).collect()
}

/// The tools of a turn of this hook, by the judge that decides when it runs.
fn tools_of(config: &Config, name: &str) -> Vec<&'static str> {
    let (Ok(hook), Ok(run)) = (HookName::parse(name), RunId::parse("facts")) else { return Vec::new() };
    let session = SessionKey::main_of(&config.agents.default_agent());
    let cause = Cause::of(config, session, run, Principal::Hook(hook));
    cause.tools().iter().map(|tool| tool.name()).collect()
}
