//! What an agent is told when it looks: the config's words, what time it is, and what was said meanwhile.
//!
//! What its owner said stands among the config's words. What hooks said is kept apart, each hook's by itself, and its names are the
//! turn's principal: the turn may no more than each of them, and a model reads it as text from outside.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use moltbot_config::limits;
use moltbot_policy::allowance::Demand;
use moltbot_protocol::ids::{AgentId, HookName, RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, Look};
use moltbot_protocol::principal::Principal;
use moltbot_store::{EventRoom, EventSource, KeptEvent, NewEvent, StoreError, SystemEvent};

use super::local;
use crate::inbound::freshness::SILENT;
use crate::shared::Shared;

/// The hook that stands for whoever said something that an older program kept without saying who.
const UNKNOWN: &str = "unknown";
/// How many may wait.
const ROOM: EventRoom = EventRoom { all: limits::SYSTEM_EVENTS, of_hooks: limits::HOOK_EVENTS };

/// What waits to be told to an agent.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    by_owner: Vec<SystemEvent>,
    by_hooks: BTreeMap<HookName, Vec<SystemEvent>>,
}

impl Telling {
    /// What an agent can be told now. What hooks said waits where they have used up what they may today.
    pub(super) async fn of(shared: &Shared, agent: &AgentId) -> Result<Self, String> {
        let events = shared.store.events().await.map_err(|error| error.to_string())?;
        let default = shared.default_agent();
        // What an agent was to be told that is there no more is told to the one that answers in its place.
        let known = |source: &EventSource| shared.heartbeats.of(&source.agent).is_some();
        let is_for_it = |event: &SystemEvent| {
            let source = event.source.as_ref().filter(|source| known(source));
            !event.is_told && source.map_or(&default, |source| &source.agent) == agent
        };
        let mut telling = Self::default();
        for event in events.into_iter().filter(is_for_it) {
            match event.source.as_ref().map(|source| source.by.hooks()) {
                Some([]) => telling.by_owner.push(event),
                Some([hook, ..]) => telling.by_hooks.entry(hook.clone()).or_default().push(event),
                None => {
                    let unknown = HookName::parse(UNKNOWN).map_err(|error| error.to_string())?;
                    telling.by_hooks.entry(unknown).or_default().push(event);
                }
            }
        }
        telling.by_hooks.retain(|hook, _| may_be_told(shared, hook));
        Ok(telling)
    }

    /// How much that is.
    pub(super) fn len(&self) -> usize {
        self.by_hooks.values().map(Vec::len).fold(self.by_owner.len(), usize::saturating_add)
    }

    /// The message of a look.
    pub(super) fn message(
        self,
        session: SessionKey,
        prompt: &str,
        zone: &TimeZone,
        now_ms: u64,
    ) -> Result<InboundMessage, String> {
        let id = moltbot_vault::random_id().map_err(|error| error.to_string())?;
        let run = RunId::parse(&format!("heartbeat-{id}")).map_err(|error| error.to_string())?;
        let mut text = format!("{prompt}\nIt is {}.", time(now_ms, zone));
        if !self.by_owner.is_empty() {
            text.push_str(&format!("\n\nMeanwhile you were told:{}", lines(&self.by_owner, zone)));
        }
        let events = self.by_owner.iter().chain(self.by_hooks.values().flatten());
        let events = events.map(|event| event.id).collect();
        let told = self.by_hooks.values().map(|events| lines(events, zone).trim_start().to_owned()).collect();
        Ok(InboundMessage {
            channel: Cow::Borrowed(SILENT),
            account: String::new(),
            external_id: id,
            session,
            run,
            principal: Principal::Heartbeat(self.by_hooks.into_keys().collect()),
            text,
            images: Vec::new(),
            extra_system_prompt: None,
            origin: None,
            timeout_ms: None,
            thinking: None,
            look: Some(Box::new(Look { told, events })),
            tells: false,
        })
    }
}

/// Whether a look may be one more turn of a hook today.
fn may_be_told(shared: &Shared, hook: &HookName) -> bool {
    let counted = shared.allowances.admit(&Principal::Hook(hook.clone()), Demand::Turn);
    counted.map(|counted| shared.allowances.take_back(&counted)).is_ok()
}

fn time(ms: u64, zone: &TimeZone) -> String {
    local(ms, zone).map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

fn lines(events: &[SystemEvent], zone: &TimeZone) -> String {
    events.iter().map(|event| format!("\n- [{}] {}", time(event.said_ms, zone), event.text)).collect()
}

/// Keeps something that an agent is told when it looks next, as far as there is room.
///
/// # Errors
/// When it cannot be kept.
pub(crate) async fn keep(shared: &Shared, event: NewEvent) -> Result<KeptEvent, StoreError> {
    let kept = shared.store.keep_event(event, ROOM, shared.now_ms()).await?;
    shared.health.touch();
    Ok(kept)
}

/// Whether one more may wait that a hook says.
///
/// # Errors
/// When that cannot be read.
pub(crate) async fn has_room(shared: &Shared, by: &Principal) -> Result<bool, StoreError> {
    shared.store.has_room_for(by.clone(), ROOM).await
}
