//! The heartbeat: an agent looks by itself whether there is something to do, and says nothing when there is not.
//!
//! A look is a turn of the agent's main conversation that nobody asked for. What it is told besides is on disk before whoever said
//! it is answered, and goes with the end of the look that was told it. A person who writes meanwhile does not wait for it.

mod hearers;
mod telling;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use moltbot_agent::TurnReport;
use moltbot_config::Config;
use moltbot_config::settings::{AgentHeartbeat, HeartbeatConfig};
use moltbot_policy::heartbeat::{Occasion, Skip, judge};
use moltbot_protocol::event;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::sender::Origin;
use moltbot_store::TurnState;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::inbound::freshness::SILENT;
use crate::inbound::{self, End, Hearing, Received};
use crate::outbox::Delivery;
use crate::shared::{Shared, lock};
pub use hearers::HeartbeatError;
pub(crate) use hearers::{find_hearers, require_recipients};
pub(crate) use telling::{Telling, has_room, keep};

/// How soon it is tried again where the conversation was at work.
const AGAIN: Duration = Duration::from_secs(5);
/// How long nothing is due where it never looks by itself.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Characters of what was said that clients are told.
const PREVIEW: usize = 200;

/// What is known of looks.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    beats: Vec<Beats>,
    is_off: AtomicBool,
    /// What became of the last one, of whichever agent.
    last: Mutex<Option<Value>>,
}

/// What is known of one agent's looks.
#[derive(Debug)]
struct Beats {
    of: AgentHeartbeat,
    /// Whether it is the agent that messages go to which name none.
    is_default: bool,
    /// Where the hours of its config count.
    zone: TimeZone,
    last: Mutex<Option<Value>>,
    asked: Notify,
}

impl Heartbeats {
    /// Those of a config. An agent without a zone has its hours in UTC.
    pub(crate) fn new(config: &Config, zones: &[(AgentId, TimeZone)]) -> Self {
        let default = config.agents.default_agent();
        let beats = config.agents.heartbeats().into_iter().map(|of| {
            let zone = zones.iter().find(|(agent, _)| *agent == of.agent);
            let zone = zone.map_or(TimeZone::UTC, |(_, zone)| zone.clone());
            let is_default = of.agent == default;
            Beats { of, is_default, zone, last: Mutex::default(), asked: Notify::new() }
        });
        Self { beats: beats.collect(), is_off: AtomicBool::new(false), last: Mutex::default() }
    }

    fn of(&self, agent: &AgentId) -> Option<&Beats> {
        self.beats.iter().find(|beats| beats.of.agent == *agent)
    }

    /// Whether agents look by themselves, until the gateway stops.
    pub(crate) fn set(&self, is_on: bool) {
        self.is_off.store(!is_on, Ordering::Release);
    }

    /// Has an agent look now.
    pub(crate) fn ask(&self, agent: &AgentId) {
        if let Some(beats) = self.of(agent) {
            beats.asked.notify_one();
        }
    }

    /// What became of the last time, and with it of each agent's; nothing when there was none since the start.
    pub(crate) fn last(&self) -> Value {
        let Some(mut last) = lock(&self.last).clone() else { return Value::Null };
        let of_each = self.beats.iter().filter_map(|beats| lock(&beats.last).clone());
        if let Some(members) = last.as_object_mut() {
            members.insert("agents".into(), of_each.collect());
        }
        last
    }

    /// Whether an agent looks by itself now.
    pub(crate) fn looks(&self, agent: &AgentId) -> bool {
        self.of(agent).is_some_and(|beats| self.is_on(beats))
    }

    fn is_on(&self, beats: &Beats) -> bool {
        beats.of.looks && !beats.of.config.every.0.is_zero() && !self.is_off.load(Ordering::Acquire)
    }

    /// The agents that look by themselves now.
    pub(crate) fn looking(&self) -> Vec<&str> {
        let looking = self.beats.iter().filter(|beats| self.is_on(beats));
        looking.map(|beats| beats.of.agent.as_str()).collect()
    }

    /// Seconds between two looks of the default agent; zero where it never looks by itself.
    pub(crate) fn seconds(&self) -> u64 {
        let default = self.beats.iter().find(|beats| beats.is_default && self.is_on(beats));
        default.map_or(0, |beats| beats.of.config.every.0.as_secs())
    }

    /// How an agent looks, for clients.
    pub(crate) fn describe(&self, agent: &AgentId) -> Value {
        let Some(beats) = self.of(agent).filter(|beats| beats.of.looks) else {
            return json!({"enabled": false});
        };
        let HeartbeatConfig { ack_max_chars, every, model, prompt, target, .. } = &beats.of.config;
        let mut told = json!({
            "enabled": self.is_on(beats),
            "every": every.to_string(),
            "everyMs": u64::try_from(every.0.as_millis()).unwrap_or(u64::MAX),
            "prompt": prompt,
            "target": target.name(),
            "ackMaxChars": ack_max_chars,
        });
        if let (Some(members), Some(model)) = (told.as_object_mut(), model) {
            members.insert("model".into(), json!(model));
        }
        told
    }
}

impl Beats {
    fn minute(&self, now_ms: u64) -> u16 {
        local(now_ms, &self.zone).map_or(0, |time| {
            let time = time.time();
            let minute = i32::from(time.hour()).saturating_mul(60).saturating_add(i32::from(time.minute()));
            u16::try_from(minute).unwrap_or(0)
        })
    }

    /// How long between two looks that nobody asks for.
    fn every(&self) -> Duration {
        let every = self.of.config.every.0;
        if !self.of.looks || every.is_zero() { NEVER } else { every }
    }
}

fn local(ms: u64, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?.to_zoned(zone.clone()))
}

/// Has each agent look whenever it is due, or asked for, until the gateway stops.
pub(crate) async fn keep_looking(shared: Arc<Shared>) {
    let looking = shared.heartbeats.beats.iter().map(|beats| keep_one_looking(&shared, beats));
    futures_util::future::join_all(looking).await;
}

async fn keep_one_looking(shared: &Arc<Shared>, beats: &Beats) {
    let every = beats.every();
    let mut due = Instant::now() + every;
    let mut is_asked = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = beats.asked.notified() => is_asked = true,
        }
        match look(shared, beats, is_asked).await {
            Looked::Again => due = Instant::now() + AGAIN.min(every),
            Looked::Done => {
                is_asked = false;
                due = Instant::now() + every;
            }
        }
    }
}

/// Whether it is to look soon again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Looked {
    Again,
    Done,
}

async fn look(shared: &Arc<Shared>, beats: &Beats, is_asked: bool) -> Looked {
    let began = Instant::now();
    let (mut told, looked) = match try_look(shared, beats, is_asked).await {
        Ok(Beat::Skipped(Skip::Busy)) => {
            (json!({"status": "skipped", "reason": Skip::Busy.name()}), Looked::Again)
        }
        Ok(Beat::Skipped(skip)) => (json!({"status": "skipped", "reason": skip.name()}), Looked::Done),
        // Somebody wrote meanwhile, or the owner stopped it.
        Ok(Beat::Interrupted) => (json!({"status": "skipped", "reason": "interrupted"}), Looked::Again),
        Ok(Beat::Ended(report, hears)) => (told_of(&report, &hears), Looked::Done),
        Err(why) => {
            tracing::warn!(agent = %beats.of.agent, why, "the agent could not look whether there is something to do");
            (json!({"status": "failed", "reason": why}), Looked::Done)
        }
    };
    if let Some(members) = told.as_object_mut() {
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        members.insert("agentId".into(), json!(beats.of.agent.as_str()));
        members.insert("ts".into(), json!(shared.now_ms()));
        members.insert("durationMs".into(), json!(took));
    }
    let before = lock(&beats.last).replace(told.clone());
    lock(&shared.heartbeats.last).replace(told.clone());
    // While it waits for its conversation it is told once, not at each try.
    if looked == Looked::Done || before.is_none_or(|before| before.get("reason") != told.get("reason")) {
        shared.hub.broadcast(event::HEARTBEAT, &told, Delivery::MayDrop);
    }
    looked
}

/// How a look came out, as clients are told.
fn told_of(report: &TurnReport, hears: &[Origin]) -> Value {
    match report.state {
        TurnState::Done if report.text.is_empty() => json!({"status": "ok-token", "silent": true}),
        TurnState::Done => {
            let preview: String = report.text.chars().take(PREVIEW).collect();
            let channel = hears.first().map_or("webchat", |origin| origin.sender.channel());
            json!({"status": "sent", "preview": preview, "channel": channel})
        }
        TurnState::Aborted | TurnState::Error | TurnState::Received => {
            json!({"status": "failed", "reason": report.error.as_deref().unwrap_or("it was stopped")})
        }
    }
}

/// What became of a look.
enum Beat {
    Ended(Arc<TurnReport>, Vec<Origin>),
    Interrupted,
    Skipped(Skip),
}

async fn try_look(shared: &Arc<Shared>, beats: &Beats, is_asked: bool) -> Result<Beat, String> {
    let agent = &beats.of.agent;
    let session = SessionKey::main_of(agent);
    let telling = Telling::of(shared, agent).await?;
    let file = heartbeat_file(shared, agent.clone()).await?;
    let occasion = Occasion {
        is_asked,
        is_off: !beats.of.looks || shared.heartbeats.is_off.load(Ordering::Acquire),
        file: file.as_deref(),
        events: telling.len(),
        is_busy: shared.inbound.is_at_work(&session) || shared.stop.is_stopped(),
        minute: beats.minute(shared.now_ms()),
    };
    if let Err(skip) = judge(&beats.of.config, &occasion) {
        return Ok(Beat::Skipped(skip));
    }
    let message = telling.message(session, &beats.of.config.prompt, &beats.zone, shared.now_ms())?;
    let received = inbound::receive(shared, message, SILENT, Hearing::End).await;
    let Received::Fresh(run) = received.map_err(|error| error.to_string())? else {
        return Err("its run is there already".into());
    };
    let End::Report(report) = run.ended().await else { return Ok(Beat::Interrupted) };
    match report.state {
        TurnState::Aborted => Ok(Beat::Interrupted),
        TurnState::Done => Ok(Beat::Ended(report, run.hearers().to_vec())),
        TurnState::Error | TurnState::Received => Ok(Beat::Ended(report, Vec::new())),
    }
}

async fn heartbeat_file(shared: &Arc<Shared>, agent: AgentId) -> Result<Option<String>, String> {
    let gateway = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || gateway.agent.heartbeat_file(&agent));
    read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
