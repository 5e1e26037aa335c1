//! Layer 3, what a person sets of a conversation: its model, how much is thought, how much is told; and when it is begun anew.
//! Who may.
//!
//! Pure. A setting makes later turns dearer or quieter, so it is the owner's: by a client that administers, or by his command
//! in a conversation with nobody else. What a hook, a group or a person who was let in writes is never one.

use moltbot_config::settings::{ResetByType, ResetConfig, ResetMode, SessionConfig};
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::scope::Scope;

use crate::authorization::Grant;
use crate::chat::{ChatCommand, ChatCommandPermit, Speaker};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What the change of a setting is called in the book.
const SET: &str = "session.set";

/// What it is called in the book that a conversation is begun anew.
const RESET: &str = "session.reset";

/// What it is called in the book that a conversation comes from elsewhere.
const IMPORT: &str = "session.import";

/// Proof that somebody who may sets something of a session. Made only here.
#[derive(Debug)]
#[must_use = "a permit that is dropped sets nothing"]
pub struct SettingsPermit {
    session: SessionKey,
    actor: String,
    changes: Vec<(&'static str, String)>,
}

impl SettingsPermit {
    /// Judges a client. `changes` are the names of what is set, each with what the book is told of its value.
    ///
    /// # Errors
    /// When it is no administrator.
    pub fn by_client(
        grant: &Grant,
        session: SessionKey,
        changes: Vec<(&'static str, String)>,
    ) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        Ok(Self { session, actor: grant.actor().to_owned(), changes })
    }

    /// Judges a command in a chat.
    ///
    /// # Errors
    /// When it is another command, or not the owner's in a conversation with nobody else.
    pub fn by_chat(
        permit: &ChatCommandPermit,
        session: SessionKey,
        changes: Vec<(&'static str, String)>,
    ) -> Result<Self, Refusal> {
        let sets = matches!(permit.command(), ChatCommand::Model | ChatCommand::Think | ChatCommand::Verbose);
        if !sets || permit.speaker() != Speaker::Owner {
            return Err(Refusal::new("not_the_owner", "only the owner sets how a conversation is answered"));
        }
        Ok(Self { session, actor: format!("owner:{}", permit.sender()), changes })
    }

    /// The session.
    pub const fn session(&self) -> &SessionKey {
        &self.session
    }
}

impl Permit for SettingsPermit {
    fn entry(&self) -> Entry {
        let entry = Entry::new(self.actor.clone(), SET, self.session.as_str(), Decision::Allowed)
            .in_session(self.session.as_str());
        self.changes.iter().fold(entry, |entry, (name, value)| entry.with(name, value.clone()))
    }
}

/// When a conversation is begun anew by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Freshness {
    daily_at: Option<u8>,
    idle_ms: Option<u64>,
}

impl Freshness {
    /// What the config says of a session that is spoken in by way of that channel.
    pub fn of(config: &SessionConfig, session: &SessionKey, channel: &str) -> Self {
        let of_channel = config.reset_by_channel.get(channel);
        let of_all = of_channel.or(config.reset.as_ref());
        let of_type = of_type(config, session).filter(|_| of_channel.is_none());
        let older = config.idle_minutes.filter(|_| of_channel.is_none());
        let first =
            |part: fn(&ResetConfig) -> Option<u32>| of_type.and_then(part).or_else(|| of_all.and_then(part));
        let is_said = of_all.is_some() || config.reset_by_type != ResetByType::default();
        let by_default = if older.is_some() && !is_said { ResetMode::Idle } else { ResetMode::Daily };
        let of_type_mode = of_type.and_then(|reset| reset.mode);
        let mode = of_type_mode.or_else(|| of_all.and_then(|reset| reset.mode)).unwrap_or(by_default);
        let hour = first(|reset| reset.at_hour.map(u32::from)).and_then(|hour| u8::try_from(hour).ok());
        let idle = first(|reset| reset.idle_minutes).or(older);
        let idle = if mode == ResetMode::Idle { Some(idle.unwrap_or(IDLE_MINUTES)) } else { idle };
        Self {
            daily_at: (mode == ResetMode::Daily).then(|| hour.unwrap_or(DAILY_AT)),
            idle_ms: idle.map(|minutes| u64::from(minutes).saturating_mul(60_000)),
        }
    }

    /// Why a conversation is over in which something was said last at `last_ms`. `last_at` tells when an hour of the day was
    /// last, in local time.
    fn over(
        &self,
        last_ms: u64,
        now_ms: u64,
        last_at: impl FnOnce(u8) -> Option<u64>,
    ) -> Option<&'static str> {
        let began_ms = self.daily_at.and_then(last_at);
        if began_ms.is_some_and(|began| last_ms < began && began <= now_ms) {
            return Some("a new day");
        }
        let is_idle = self.idle_ms.is_some_and(|idle| last_ms.saturating_add(idle) < now_ms);
        is_idle.then_some("nothing was said for a time")
    }
}

/// What the config says of the kind of conversation that a key is of.
fn of_type<'a>(config: &'a SessionConfig, session: &SessionKey) -> Option<&'a ResetConfig> {
    let has = |name: &str| session.as_str().split(':').any(|part| part == name);
    let types = &config.reset_by_type;
    if has("thread") || has("topic") {
        types.thread.as_ref()
    } else if has("group") || has("channel") {
        types.group.as_ref()
    } else {
        types.dm.as_ref()
    }
}

/// The hour of the daily reset, as upstream.
const DAILY_AT: u8 = 4;
/// Minutes of silence, as upstream.
const IDLE_MINUTES: u32 = 60;

/// Proof that a conversation may be begun anew: somebody who may asked for it, or its time is over. Made only here.
#[derive(Debug)]
#[must_use = "a permit that is dropped begins nothing"]
pub struct ResetPermit {
    session: SessionKey,
    actor: String,
    because: &'static str,
}

impl ResetPermit {
    /// Judges a client.
    ///
    /// # Errors
    /// When it is no administrator.
    pub fn by_client(grant: &Grant, session: SessionKey) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        Ok(Self { session, actor: grant.actor().to_owned(), because: "a client asked for it" })
    }

    /// Judges a command in a chat: who may give it there was judged with it.
    ///
    /// # Errors
    /// When it is another command.
    pub fn by_chat(permit: &ChatCommandPermit, session: SessionKey) -> Result<Self, Refusal> {
        if permit.command() != ChatCommand::Reset {
            return Err(Refusal::new("no_such_command", "this command begins nothing anew"));
        }
        Ok(Self { session, actor: permit.sender().to_string(), because: "its speaker asked for it" })
    }

    /// Judges by the time: nothing when the conversation goes on.
    pub fn by_time(
        freshness: Freshness,
        session: SessionKey,
        (last_ms, now_ms): (u64, u64),
        last_at: impl FnOnce(u8) -> Option<u64>,
    ) -> Option<Self> {
        let because = freshness.over(last_ms, now_ms, last_at)?;
        Some(Self { session, actor: "gateway".into(), because })
    }

    /// The session.
    pub const fn session(&self) -> &SessionKey {
        &self.session
    }
}

impl Permit for ResetPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), RESET, self.session.as_str(), Decision::Allowed)
            .in_session(self.session.as_str())
            .with("reason", self.because)
    }
}

/// Proof that somebody who may adds a conversation that was had elsewhere: its words are read to models as said here. Made only
/// here.
#[derive(Debug)]
#[must_use = "a permit that is dropped adds nothing"]
pub struct ImportPermit {
    session: SessionKey,
    actor: String,
    messages: usize,
}

impl ImportPermit {
    /// Judges a client.
    ///
    /// # Errors
    /// When it is no administrator.
    pub fn by_client(grant: &Grant, session: SessionKey, messages: usize) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        Ok(Self { session, actor: grant.actor().to_owned(), messages })
    }

    /// Judges the owner at the gateway's machine, who may.
    pub fn for_owner(session: SessionKey, messages: usize, actor: impl Into<String>) -> Self {
        Self { session, actor: actor.into(), messages }
    }

    /// The session.
    pub const fn session(&self) -> &SessionKey {
        &self.session
    }
}

impl Permit for ImportPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), IMPORT, self.session.as_str(), Decision::Allowed)
            .in_session(self.session.as_str())
            .with("messages", self.messages.to_string())
    }
}

/// Proof that the owner has the plaintext of a conversation destroyed that was brought over. Made only here.
#[derive(Debug)]
#[must_use = "a permit that is dropped destroys nothing"]
pub struct ShredPermit {
    session: SessionKey,
    path: String,
    actor: String,
}

impl ShredPermit {
    /// For the owner at the gateway's machine, by the file's path.
    pub fn for_owner(session: SessionKey, path: impl Into<String>, actor: impl Into<String>) -> Self {
        Self { session, path: path.into(), actor: actor.into() }
    }
}

impl Permit for ShredPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), "transcript.shred", self.path.clone(), Decision::Allowed)
            .in_session(self.session.as_str())
    }
}

/// What is said in the new conversation, when a text asks for one: nothing or more.
pub fn begins_anew<'a>(triggers: &[String], text: &'a str) -> Option<&'a str> {
    let text = text.trim();
    let after = |trigger: &str| {
        let (first, rest) = text.split_at_checked(trigger.len())?;
        let is_whole = rest.is_empty() || rest.starts_with(char::is_whitespace);
        (is_whole && first.eq_ignore_ascii_case(trigger)).then(|| rest.trim_start())
    };
    let own = triggers.iter().map(|trigger| trigger.trim()).filter(|trigger| !trigger.is_empty());
    ["/new", "/reset"].into_iter().chain(own).find_map(after)
}

#[cfg(test)]
mod tests {
    use moltbot_protocol::ids::AgentId;
    use serde_json::{Value, json};

    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;

    fn of(config: Value, key: &str, channel: &str) -> Freshness {
        let config: SessionConfig = serde_json::from_value(config).unwrap();
        Freshness::of(&config, &SessionKey::parse(key, &AgentId::main()).unwrap(), channel)
    }

    #[test]
    fn the_kind_goes_before_all_and_the_channel_before_both() {
        let daily = |hour, idle: Option<u64>| Freshness {
            daily_at: Some(hour),
            idle_ms: idle.map(|minutes| minutes * MINUTE),
        };
        let idle = |minutes: u64| Freshness { daily_at: None, idle_ms: Some(minutes * MINUTE) };
        let (main, group) = ("main", "agent:main:telegram:group:7");
        let by_type = json!({
            "reset": {"mode": "daily", "atHour": 6, "idleMinutes": 90},
            "resetByType": {"dm": {"mode": "idle", "idleMinutes": 240}, "group": {"mode": "idle"}, "thread": {"atHour": 2}},
            "resetByChannel": {"irc": {"mode": "idle", "idleMinutes": 5}},
        });
        for (config, key, channel, expected) in [
            (json!({}), main, "webchat", daily(4, None)),
            (json!({"idleMinutes": 30}), main, "webchat", idle(30)),
            (json!({"idleMinutes": 30, "reset": {}}), main, "webchat", daily(4, Some(30))),
            (json!({"reset": {"mode": "idle"}}), main, "webchat", idle(60)),
            (by_type.clone(), main, "telegram", idle(240)),
            (by_type.clone(), group, "telegram", idle(90)),
            (by_type.clone(), &format!("{group}:topic:3"), "telegram", daily(2, Some(90))),
            (by_type, main, "irc", idle(5)),
        ] {
            assert_eq!(of(config.clone(), key, channel), expected, "{config} {key}");
        }
    }

    #[test]
    fn a_conversation_is_over_at_its_hour_or_after_its_silence_and_not_before() {
        // The hour was last at the beginning of day 9.
        let last_at = |_| Some(9 * DAY);
        let daily = of(json!({}), "main", "webchat");
        let both = of(json!({"reset": {"idleMinutes": 30}}), "main", "webchat");
        let idle = of(json!({"idleMinutes": 30}), "main", "webchat");
        let now = 9 * DAY + 5 * HOUR;
        for (freshness, last, over) in [
            (daily, 9 * DAY - 1, true),
            (daily, 9 * DAY, false),
            (daily, now, false),
            (daily, now + DAY, false), // a clock that was put back
            (both, 9 * DAY, true),
            (both, now - 30 * MINUTE, false),
            (both, now - 30 * MINUTE - 1, true),
            (idle, now - 30 * MINUTE - 1, true),
            (idle, now - 30 * MINUTE, false),
        ] {
            assert_eq!(freshness.over(last, now, last_at).is_some(), over, "{freshness:?} {last}");
        }
        assert_eq!(daily.over(0, now, |_| None), None, "without a day there is no new one");
    }

    #[test]
    fn only_a_trigger_as_a_whole_word_begins_anew() {
        let own = ["fresh start".to_owned(), " ".to_owned()];
        for (text, expected) in [
            ("/new", Some("")),
            (" /RESET  hello there ", Some("hello there")),
            ("/newer", None),
            ("say /new", None),
            ("Fresh start", Some("")),
            ("fresh start: go", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(begins_anew(&own, text), expected, "{text:?}");
        }
    }
}
