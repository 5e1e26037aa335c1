//! The heartbeat: the agent looks by itself whether there is something to do, and says nothing when there is not.
//!
//! A look is a turn of the main conversation that nobody asked for. What it is told besides is on disk before whoever said it is
//! answered, and stays there until a look that was told it has ended well. A person who writes meanwhile does not wait for it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use moltbot_agent::TurnReport;
use moltbot_config::limits;
use moltbot_config::settings::{HeartbeatConfig, HeartbeatTarget};
use moltbot_policy::heartbeat::{Occasion, Skip, judge};
use moltbot_protocol::event;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::Origin;
use moltbot_store::{StoreError, SystemEvent, TurnState};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::inbound::freshness::SILENT;
use crate::inbound::{self, End, Hearing, Received, Run};
use crate::outbox::Delivery;
use crate::shared::{Shared, lock};

/// How soon it is tried again where the conversation was at work.
const AGAIN: Duration = Duration::from_secs(5);
/// How long nothing is due where it never looks by itself.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Turns that are looked through for where the owner wrote last.
const LOOKED_AT: u32 = 1000;
/// Characters of what was said that clients are told.
const PREVIEW: usize = 200;

/// What is known of looks.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    config: HeartbeatConfig,
    /// Where the hours of the config count.
    zone: TimeZone,
    is_off: AtomicBool,
    last: Mutex<Option<Value>>,
    asked: Notify,
}

impl Heartbeats {
    pub(crate) fn new(config: &HeartbeatConfig, zone: TimeZone) -> Self {
        let (config, is_off) = (config.clone(), AtomicBool::new(false));
        Self { config, zone, is_off, last: Mutex::default(), asked: Notify::new() }
    }

    /// Whether it looks by itself, until the gateway stops.
    pub(crate) fn set(&self, is_on: bool) {
        self.is_off.store(!is_on, Ordering::Release);
    }

    /// Has it look now.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// What became of the last time; nothing when there was none since the start.
    pub(crate) fn last(&self) -> Value {
        lock(&self.last).clone().unwrap_or_default()
    }

    fn is_on(&self) -> bool {
        !self.config.every.0.is_zero() && !self.is_off.load(Ordering::Acquire)
    }

    /// Seconds between two looks; zero where it never looks by itself.
    pub(crate) fn seconds(&self) -> u64 {
        if self.is_on() { self.config.every.0.as_secs() } else { 0 }
    }

    /// How an agent looks, for clients. Only the default one does.
    pub(crate) fn describe(&self, is_default: bool) -> Value {
        if !is_default {
            return json!({"enabled": false});
        }
        let HeartbeatConfig { ack_max_chars, every, prompt, target, .. } = &self.config;
        json!({
            "enabled": self.is_on(),
            "every": every.to_string(),
            "everyMs": u64::try_from(every.0.as_millis()).unwrap_or(u64::MAX),
            "prompt": prompt,
            "target": target.name(),
            "ackMaxChars": ack_max_chars,
        })
    }

    fn minute(&self, now_ms: u64) -> u16 {
        local(now_ms, &self.zone).map_or(0, |time| {
            let time = time.time();
            let minute = i32::from(time.hour()).saturating_mul(60).saturating_add(i32::from(time.minute()));
            u16::try_from(minute).unwrap_or(0)
        })
    }
}

fn local(ms: u64, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?.to_zoned(zone.clone()))
}

/// Looks whenever it is due, or asked for, until the gateway stops.
pub(crate) async fn keep_looking(shared: Arc<Shared>) {
    let beats = &shared.heartbeats;
    let every = if beats.config.every.0.is_zero() { NEVER } else { beats.config.every.0 };
    let mut due = Instant::now() + every;
    let mut is_asked = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = beats.asked.notified() => is_asked = true,
        }
        match look(&shared, is_asked).await {
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

async fn look(shared: &Arc<Shared>, is_asked: bool) -> Looked {
    let began = Instant::now();
    let looked = try_look(shared, is_asked).await;
    let (told, looked) = match looked {
        Ok(Beat::Skipped(Skip::Busy)) => {
            (json!({"status": "skipped", "reason": Skip::Busy.name()}), Looked::Again)
        }
        Ok(Beat::Skipped(skip)) => (json!({"status": "skipped", "reason": skip.name()}), Looked::Done),
        // Somebody wrote meanwhile, or the owner stopped it.
        Ok(Beat::Interrupted) => (json!({"status": "skipped", "reason": "interrupted"}), Looked::Again),
        Ok(Beat::Ended(report, hears)) => (told_of(&report, &hears), Looked::Done),
        Err(why) => {
            tracing::warn!(why, "the agent could not look whether there is something to do");
            (json!({"status": "failed", "reason": why}), Looked::Done)
        }
    };
    let mut told = told;
    if let Some(members) = told.as_object_mut() {
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        members.insert("ts".into(), json!(shared.now_ms()));
        members.insert("durationMs".into(), json!(took));
    }
    let before = lock(&shared.heartbeats.last).replace(told.clone());
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

async fn try_look(shared: &Arc<Shared>, is_asked: bool) -> Result<Beat, String> {
    let beats = &shared.heartbeats;
    let agent = shared.default_agent();
    let session = SessionKey::main_of(&agent);
    let events = shared.store.events().await.map_err(|error| error.to_string())?;
    let file = heartbeat_file(shared, agent).await?;
    let occasion = Occasion {
        is_asked,
        is_off: beats.is_off.load(Ordering::Acquire),
        file: file.as_deref(),
        events: events.len(),
        is_busy: shared.inbound.is_at_work(&session) || shared.stop.is_stopped(),
        minute: beats.minute(shared.now_ms()),
    };
    if let Err(skip) = judge(&beats.config, &occasion) {
        return Ok(Beat::Skipped(skip));
    }
    let message = message(shared, session, &events)?;
    let received = inbound::receive(shared, message, SILENT, Hearing::End).await;
    let Received::Fresh(run) = received.map_err(|error| error.to_string())? else {
        return Err("its run is there already".into());
    };
    let End::Report(report) = run.ended().await else { return Ok(Beat::Interrupted) };
    match report.state {
        TurnState::Aborted => Ok(Beat::Interrupted),
        TurnState::Done => {
            if let Some(last) = events.last() {
                shared.store.forget_events(last.id).await.map_err(|error| error.to_string())?;
            }
            Ok(Beat::Ended(report, run.hearers().to_vec()))
        }
        TurnState::Error | TurnState::Received => Ok(Beat::Ended(report, Vec::new())),
    }
}

async fn heartbeat_file(shared: &Arc<Shared>, agent: AgentId) -> Result<Option<String>, String> {
    let gateway = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || gateway.agent.heartbeat_file(&agent));
    read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// What the agent is asked: the config's words, what time it is, and what was said meanwhile.
fn message(shared: &Shared, session: SessionKey, events: &[SystemEvent]) -> Result<InboundMessage, String> {
    let id = moltbot_vault::random_id().map_err(|error| error.to_string())?;
    let run = RunId::parse(&format!("heartbeat-{id}")).map_err(|error| error.to_string())?;
    let time = |ms: u64| {
        let time = local(ms, &shared.heartbeats.zone);
        time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let mut text = format!("{}\nIt is {}.", shared.heartbeats.config.prompt, time(shared.now_ms()));
    if !events.is_empty() {
        text.push_str("\n\nMeanwhile you were told:");
        for SystemEvent { said_ms, text: said, .. } in events {
            text.push_str(&format!("\n- [{}] {said}", time(*said_ms)));
        }
    }
    Ok(InboundMessage {
        channel: Cow::Borrowed(SILENT),
        account: String::new(),
        external_id: id,
        session,
        run,
        principal: Principal::Heartbeat,
        text,
        images: Vec::new(),
        extra_system_prompt: None,
        origin: None,
        timeout_ms: None,
        thinking: None,
    })
}

/// Finds who on channels hears what a run says that nobody asked for.
pub(crate) async fn find_hearers(shared: &Shared, run: &Run) {
    if !run.is_asked_for {
        run.is_heard_by(hearers(shared).await);
    }
}

/// Who on channels hears what a look says: the owner in his own chats, and nobody else.
async fn hearers(shared: &Shared) -> Vec<Origin> {
    let chats = || shared.channels.owner_chats();
    let on = |channel: &str| chats().filter(|chat| chat.sender.channel() == channel).collect();
    match shared.heartbeats.config.target {
        HeartbeatTarget::None => Vec::new(),
        HeartbeatTarget::Irc => on("irc"),
        HeartbeatTarget::Telegram => on("telegram"),
        HeartbeatTarget::Last => match last_chat(shared, chats().collect()).await {
            Ok(chat) => chat.into_iter().collect(),
            Err(error) => {
                tracing::warn!(%error, "where the owner wrote last cannot be read; the web chat alone is told");
                Vec::new()
            }
        },
    }
}

/// That of the owner's chats in which he wrote last.
async fn last_chat(shared: &Shared, mut chats: Vec<Origin>) -> Result<Option<Origin>, StoreError> {
    if chats.is_empty() {
        return Ok(None);
    }
    let origins = shared.store.last_origins(LOOKED_AT).await?;
    let at = origins.iter().find_map(|origin| chats.iter().position(|chat| chat.sender == origin.sender));
    Ok(at.map(|at| chats.swap_remove(at)))
}

/// Keeps something that it is told when it looks next. `false` when too much waits.
///
/// # Errors
/// When it cannot be kept.
pub(crate) async fn keep(shared: &Shared, text: String) -> Result<bool, StoreError> {
    shared.store.keep_event(text, limits::SYSTEM_EVENTS, shared.now_ms()).await
}
