//! `health` and `status`: answered from a text that is written once and kept for a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moltbot_config::settings::SandboxBackend;
use moltbot_policy::container::Backend;
use moltbot_protocol::event;
use moltbot_protocol::ids::AgentId;
use moltbot_sandbox::{Posture, Unavailable};
use moltbot_store::{SessionFilter, SessionRow};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::outbox::Delivery;
use crate::score::ScoreFact;
use crate::shared::{LOCKED_DOWN, LOCKED_DOWN_CODE, Shared, lock};
use crate::stop::StopFact;

/// How old an answer may be. A client that asks without pause costs one look at the store a second.
const FRESH: Duration = Duration::from_secs(1);
/// Sessions named as recent.
const RECENT: usize = 5;

/// Parameters of `health` and `status`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    /// Asked for by upstream's clients; what is told here was always tried.
    #[serde(default, rename = "probe")]
    _probe: Option<bool>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Health,
    Status,
}

/// Both answers, as values and as texts.
#[derive(Debug)]
pub(crate) struct Answers {
    health: (Value, Arc<str>),
    status: (Value, Arc<str>),
    made: Instant,
    /// When its look began, in the order of all looks.
    number: u64,
}

impl Answers {
    /// The payload of `health`.
    pub(crate) const fn value(&self) -> &Value {
        &self.health.0
    }

    /// The same as text.
    pub(crate) fn text(&self) -> &str {
        &self.health.1
    }

    /// The payload of `status`.
    pub(crate) const fn status(&self) -> &Value {
        &self.status.0
    }
}

/// The answers of the moment.
#[derive(Debug, Default)]
pub(crate) struct Health {
    answers: Mutex<Option<Arc<Answers>>>,
    refreshing: AtomicBool,
    stale: AtomicBool,
    /// Looks so far.
    looks: AtomicU64,
    /// What the sandbox's trial showed; nothing while it runs.
    sandbox: Mutex<Option<Result<Posture, Unavailable>>>,
}

impl Health {
    /// The answer as text, at once. Nothing before the first was made.
    pub(crate) fn text(&self, shared: &Arc<Shared>, kind: Kind) -> Option<Arc<str>> {
        let answers = lock(&self.answers).as_ref().map(Arc::clone)?;
        self.refresh_if_old(shared, &answers);
        Some(Arc::clone(match kind {
            Kind::Health => &answers.health.1,
            Kind::Status => &answers.status.1,
        }))
    }

    /// The answers, made now when there are none.
    pub(crate) async fn current(&self, shared: &Arc<Shared>) -> Arc<Answers> {
        let kept = lock(&self.answers).as_ref().map(Arc::clone);
        match kept {
            Some(answers) => {
                self.refresh_if_old(shared, &answers);
                answers
            }
            None => self.refresh(shared).await,
        }
    }

    /// Something changed: the next answer is made anew.
    pub(crate) fn touch(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    fn refresh_if_old(&self, shared: &Arc<Shared>, answers: &Answers) {
        let old = self.stale.load(Ordering::Relaxed) || answers.made.elapsed() > FRESH;
        if old && !self.refreshing.swap(true, Ordering::Relaxed) {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                shared.health.refresh(&shared).await;
                shared.health.refreshing.store(false, Ordering::Relaxed);
            });
        }
    }

    /// Has every answer from now on say whether everything is stopped, those that are kept among them.
    pub(crate) fn say_stopped(&self, fact: Option<&StopFact>) {
        let mut kept = lock(&self.answers);
        let Some(answers) = kept.as_ref() else { return };
        let with = |(value, _): &(Value, Arc<str>)| {
            let mut value = value.clone();
            if let Some(members) = value.as_object_mut() {
                members.insert("stopped".into(), json!(fact));
            }
            let text = Arc::from(value.to_string());
            (value, text)
        };
        // A look that began before knows less.
        let number = self.looks.fetch_add(1, Ordering::SeqCst);
        let (health, status) = (with(&answers.health), with(&answers.status));
        *kept = Some(Arc::new(Answers { health, status, made: answers.made, number }));
    }

    /// The answers, made now.
    pub(crate) async fn anew(&self, shared: &Arc<Shared>) -> Arc<Answers> {
        self.refresh(shared).await
    }

    async fn refresh(&self, shared: &Arc<Shared>) -> Arc<Answers> {
        self.stale.store(false, Ordering::Relaxed);
        let number = self.looks.fetch_add(1, Ordering::SeqCst);
        let answers = Arc::new(look(shared, self.sandbox(), number).await);
        let mut kept = lock(&self.answers);
        // A look that began earlier and took longer knows less: it must not undo what the sandbox's trial showed.
        if kept.as_ref().is_none_or(|kept| kept.number < number) {
            *kept = Some(Arc::clone(&answers));
        }
        answers
    }

    /// What came of trying the sandbox.
    pub(crate) fn sandbox(&self) -> Value {
        match &*lock(&self.sandbox) {
            None => json!({"state": "probing"}),
            Some(Ok(posture)) => json!({
                "state": "ready",
                "backend": posture.backend,
                "kernel": posture.kernel,
                "landlockAbi": posture.landlock_abi,
                "attemptsSeen": posture.attempts_seen,
                "limiter": posture.limiter,
                "uid": posture.uid,
            }),
            Some(Err(unavailable)) => {
                json!({"state": "unavailable", "reason": unavailable.reason, "fix": unavailable.fix})
            }
        }
    }

    /// Tries the sandbox, and tells everybody what came of it.
    pub(crate) fn probe_sandbox(&self, shared: &Arc<Shared>) {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let posture = shared.sandbox.posture_of(&tried(shared.backend)).await;
            if let Err(unavailable) = &posture {
                tracing::warn!(%unavailable, "commands are refused");
            }
            *lock(&shared.health.sandbox) = Some(posture);
            let answers = shared.health.refresh(&shared).await;
            shared.hub.broadcast(event::HEALTH, answers.value(), Delivery::Must);
        });
    }
}

/// What is tried at start: the backend of all agents. Containers are looked at one by one, as they are needed; besides them
/// the embedded one is tried.
fn tried(backend: SandboxBackend) -> Backend {
    match backend {
        SandboxBackend::Bwrap => Backend::Bwrap,
        SandboxBackend::Docker | SandboxBackend::Embedded => Backend::Embedded,
        SandboxBackend::EmbeddedWeak => Backend::EmbeddedWeak,
    }
}

/// Looks at the parts and writes both answers.
async fn look(shared: &Arc<Shared>, sandbox: Value, number: u64) -> Answers {
    let began = Instant::now();
    let (sessions, store) = match shared.store.sessions(SessionFilter::default()).await {
        Ok(sessions) => (sessions, json!({"ok": true})),
        Err(error) => (Vec::new(), json!({"ok": false, "error": error.to_string()})),
    };
    let health = health(shared, &sessions, store, sandbox.clone(), began);
    let score = last_score(shared).await;
    let status = status(shared, &sessions, sandbox, &score, &queued(shared).await);
    let text = |value: &Value| Arc::from(value.to_string());
    Answers {
        health: (health.clone(), text(&health)),
        status: (status.clone(), text(&status)),
        made: Instant::now(),
        number,
    }
}

fn health(
    shared: &Arc<Shared>,
    sessions: &[SessionRow],
    store: Value,
    sandbox: Value,
    began: Instant,
) -> Value {
    let now = shared.now_ms();
    let ledger = ledger(shared);
    let agents: Vec<Value> = shared
        .agent
        .agents()
        .iter()
        .map(|agent| {
            json!({
                "agentId": agent.id.as_str(),
                "isDefault": agent.default,
                "heartbeat": shared.heartbeats.describe(&agent.id),
                "sessions": told(sessions.iter().filter(|row| row.key.agent() == agent.id), now),
            })
        })
        .collect();
    json!({
        "ok": is_well(&store) && is_well(&ledger),
        "ts": now,
        "durationMs": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "channels": {},
        "channelOrder": [],
        "channelLabels": {},
        "heartbeatSeconds": shared.heartbeats.seconds(),
        "defaultAgentId": shared.default_agent().as_str(),
        "agents": agents,
        "sessions": told(sessions.iter(), now),
        "store": store,
        "ledger": ledger,
        "sandbox": sandbox,
        "stopped": shared.stop.fact(),
        "quarantined": shared.quarantine.list(),
    })
}

fn is_well(part: &Value) -> bool {
    part.get("ok").and_then(Value::as_bool).unwrap_or_default()
}

/// Whether the book is whole, and where it was changed when it is not.
fn ledger(shared: &Shared) -> Value {
    match shared.ledger.lockdown() {
        None => json!({"ok": true}),
        Some(found) => json!({
            "ok": false,
            "code": LOCKED_DOWN_CODE,
            "error": LOCKED_DOWN,
            "file": found.path.file_name().map(|name| name.to_string_lossy()),
            "line": found.line,
            "what": found.what,
        }),
    }
}

fn told<'a>(sessions: impl Iterator<Item = &'a SessionRow> + Clone, now: u64) -> Value {
    let recent: Vec<Value> = sessions
        .clone()
        .take(RECENT)
        .map(|row| {
            let age = now.saturating_sub(row.updated_ms);
            json!({"key": row.key.as_str(), "updatedAt": row.updated_ms, "age": age})
        })
        .collect();
    json!({"path": "state.db", "count": sessions.count(), "recent": recent})
}

/// The last score that was kept.
async fn last_score(shared: &Arc<Shared>) -> Option<ScoreFact> {
    let state = shared.state.clone();
    let read = tokio::task::spawn_blocking(move || ScoreFact::read(&state).pop());
    read.await.unwrap_or_default()
}

fn status(
    shared: &Arc<Shared>,
    sessions: &[SessionRow],
    sandbox: Value,
    score: &Option<ScoreFact>,
    events: &[String],
) -> Value {
    let now = shared.now_ms();
    let agents = shared.agent.agents();
    let by_agent: Vec<Value> = agents
        .iter()
        .map(|agent| {
            let mut told = told(sessions.iter().filter(|row| row.key.agent() == agent.id), now);
            if let Some(members) = told.as_object_mut() {
                members.insert("agentId".into(), json!(agent.id.as_str()));
            }
            told
        })
        .collect();
    let sessions = told(sessions.iter(), now);
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "port": shared.port,
        "uptimeMs": shared.uptime_ms(),
        "connections": shared.hub.len(),
        "runs": shared.inbound.len(),
        "model": shared.agent.models().describe_choice(),
        "config": shared.live.status(),
        "sandbox": sandbox,
        "security": score,
        "stopped": shared.stop.fact(),
        "quarantined": shared.quarantine.list(),
        "ledger": ledger(shared),
        "ledgerFlushes": shared.sign_in.flushes(),
        "storeCommits": shared.store.commits(),
        "heartbeat": heartbeat(shared),
        "channelSummary": [],
        "queuedSystemEvents": events,
        "sessions": {
            "paths": ["state.db"],
            "count": sessions.get("count"),
            "defaults": defaults(shared, &shared.default_agent()),
            "recent": sessions.get("recent"),
            "byAgent": by_agent,
        },
    });
    // Left out where the book stays here.
    if let (Some(members), Some(sending)) = (status.as_object_mut(), shared.sending.status()) {
        members.insert("sending".into(), sending);
    }
    status
}

/// How each agent looks by itself whether there is something to do.
fn heartbeat(shared: &Shared) -> Value {
    let agents = shared.agent.agents().into_iter().map(|agent| {
        let mut told = shared.heartbeats.describe(&agent.id);
        if let Some(members) = told.as_object_mut() {
            members.insert("agentId".into(), json!(agent.id.as_str()));
        }
        told
    });
    json!({"defaultAgentId": shared.default_agent().as_str(), "agents": agents.collect::<Vec<_>>()})
}

/// What waits to be told to the agent.
async fn queued(shared: &Shared) -> Vec<String> {
    match shared.store.events().await {
        Ok(events) => events.into_iter().map(|event| event.text).collect(),
        Err(error) => {
            tracing::warn!(%error, "what the agent is to be told cannot be read");
            Vec::new()
        }
    }
}

/// The model of an agent and how much it reads, as upstream's clients look for them.
pub(crate) fn defaults(shared: &Shared, agent: &AgentId) -> Value {
    match shared.agent.models().chosen(agent) {
        Ok(model) => json!({
            "modelProvider": model.provider(),
            "model": model.id(),
            "contextTokens": model.context_tokens(),
        }),
        Err(_) => json!({"modelProvider": null, "model": null, "contextTokens": null}),
    }
}
