//! Hooks: what a program posts, as a message.
//!
//! Pure. Who may call is decided before; what a body may choose is decided here: never another agent or session than its hook
//! allows, and of a session only what lies below `agent:<agent>:hook:`.

mod mapping;
mod template;

use moltbot_config::limits;
use moltbot_config::settings::{HooksConfig, WakeMode};
use moltbot_protocol::ids::{AgentId, HookName, RunId, SessionKey};
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::principal::Principal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;
use url::form_urlencoded;

pub use mapping::{Mapping, MappingError, Mappings};
pub use template::TemplateError;

/// The channel's name in the store.
pub const CHANNEL: &str = "hook";
/// The hook that begins a turn of an agent, and its path.
pub const AGENT: &str = "agent";
/// The hook that tells the main session, and its path.
pub const WAKE: &str = "wake";

/// Why a call is not taken.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum HookError {
    /// An agent that the hook may not choose.
    #[error("this hook may not choose that agent; the owner lists those it may in hooks.allowedAgentIds")]
    Agent,
    /// Not what the hook takes.
    #[error("the body cannot be read: {why}")]
    Body { why: String },
    /// Nothing is said.
    #[error("{member} is empty; say something")]
    Empty { member: &'static str },
    /// A session that the hook may not choose.
    #[error("this hook may not choose that session: {why}")]
    Session { why: &'static str },
    /// What stands in the body is no part of a session's name.
    #[error(
        "what the body has for the session's name is not a name of at most 64 letters, digits, '.', '_' and '-'"
    )]
    SessionPart,
    /// More than [`limits::HOOK_CHARS`].
    #[error("the text has more than {max} characters", max = limits::HOOK_CHARS)]
    TooLong,
    /// A member of a later part.
    #[error("{member} is not supported yet: {instead}")]
    Unsupported { member: &'static str, instead: &'static str },
}

impl From<template::TooLong> for HookError {
    fn from(_: template::TooLong) -> Self {
        Self::TooLong
    }
}

/// Where a call is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the agent's main session.
    Main,
    /// In the session of that name: what stands after `agent:<agent>:`.
    Named(String),
    /// In a session of its own.
    Own,
}

/// What a program says, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HookCall {
    /// The hook.
    pub hook: HookName,
    /// What it says, all of it from outside.
    pub text: String,
    /// What stands before the text.
    pub title: Option<String>,
    /// What the owner's config says about it.
    pub instructions: Option<String>,
    /// The agent; nothing for the default one.
    pub agent: Option<AgentId>,
    /// The session.
    pub place: Place,
    /// The longest time, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// When the agent's main conversation is told.
    pub wake_mode: WakeMode,
}

impl HookCall {
    fn bounded(self) -> Result<Self, HookError> {
        if self.text.trim().is_empty() {
            return Err(HookError::Empty { member: "the text" });
        }
        let chars = self
            .text
            .chars()
            .count()
            .saturating_add(self.title.as_ref().map_or(0, |title| title.chars().count()));
        if chars > limits::HOOK_CHARS { Err(HookError::TooLong) } else { Ok(self) }
    }

    /// The message of the call. `content` stands for what the delivery is known by; the run when there is nothing.
    ///
    /// # Errors
    /// When the session's name cannot be one.
    pub fn message(
        self,
        principal: Principal,
        default_agent: &AgentId,
        run: RunId,
        content: Option<String>,
    ) -> Result<InboundMessage, HookError> {
        let agent = self.agent.as_ref().unwrap_or(default_agent);
        let tells = self.place != Place::Main && self.wake_mode == WakeMode::NextHeartbeat;
        let session = match &self.place {
            Place::Main => Ok(SessionKey::main_of(agent)),
            Place::Named(name) => SessionKey::parse(&format!("agent:{agent}:{name}"), agent),
            Place::Own => SessionKey::parse(&format!("agent:{agent}:hook:{run}"), agent),
        };
        let session = session.map_err(|_| HookError::Session { why: "its name is not valid" })?;
        let text = match self.title {
            None => self.text,
            Some(title) => format!("{title}\n\n{}", self.text),
        };
        Ok(InboundMessage {
            channel: CHANNEL.into(),
            account: self.hook.to_string(),
            external_id: content.unwrap_or_else(|| run.as_str().to_owned()),
            session,
            run,
            principal,
            origin: None,
            text,
            images: Vec::new(),
            extra_system_prompt: self.instructions,
            timeout_ms: self.timeout_ms,
            thinking: None,
            look: None,
            tells,
        })
    }
}

/// Reads a body: JSON, or a form, whose members are texts. A form of the one member `payload` is the JSON in it, as GitHub
/// and Slack send it.
///
/// # Errors
/// When it is neither, or not an object.
pub fn body(bytes: &[u8], content_type: Option<&str>) -> Result<Value, HookError> {
    let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let wrong = |why: String| HookError::Body { why };
    let value = if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        form(bytes)
    } else {
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?
    };
    if value.is_object() { Ok(value) } else { Err(wrong("it is not a JSON object".into())) }
}

fn form(bytes: &[u8]) -> Value {
    let members: serde_json::Map<String, Value> = form_urlencoded::parse(bytes)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    let payload = members.get("payload").and_then(Value::as_str).filter(|_| members.len() == 1);
    let payload = payload.and_then(|text| serde_json::from_str(text).ok());
    payload.unwrap_or(Value::Object(members))
}

/// The body of `/wake`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WakeParams {
    text: String,
    #[serde(default)]
    mode: Option<WakeMode>,
}

fn name(text: &str) -> Result<HookName, HookError> {
    HookName::parse(text).map_err(|error| HookError::Body { why: error.to_string() })
}

fn params<T: DeserializeOwned>(body: &Value) -> Result<T, HookError> {
    T::deserialize(body).map_err(|error| HookError::Body { why: error.to_string() })
}

/// Reads the body of `/wake`.
///
/// # Errors
/// When it is not what the hook takes, or is empty.
pub fn wake(body: &Value) -> Result<HookCall, HookError> {
    let WakeParams { text, mode } = params(body)?;
    let wake_mode = mode.unwrap_or_default();
    let hook = name(WAKE)?;
    let (title, instructions, agent, timeout_ms) = (None, None, None, None);
    HookCall { hook, text, title, instructions, agent, place: Place::Main, timeout_ms, wake_mode }.bounded()
}

/// The body of `/agent`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AgentParams {
    message: String,
    #[serde(default, deserialize_with = "present")]
    agent_id: Option<Value>,
    #[serde(default)]
    channel: Option<Value>,
    #[serde(default)]
    deliver: Option<bool>,
    #[serde(default)]
    model: Option<Value>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    session_key: Option<Value>,
    #[serde(default)]
    thinking: Option<Value>,
    #[serde(default)]
    timeout_seconds: Option<u32>,
    #[serde(default)]
    to: Option<Value>,
    #[serde(default)]
    wake_mode: Option<WakeMode>,
}

/// Whatever is there, `null` among it: a choice that is blank is a choice, and not that of the default.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads the body of `/agent`.
///
/// # Errors
/// When it is not what the hook takes, is empty, or chooses what the hook may not.
pub fn agent(body: &Value, config: &HooksConfig, default_agent: &AgentId) -> Result<HookCall, HookError> {
    let params: AgentParams = params(body)?;
    let wake_mode = params.wake_mode.unwrap_or_default();
    let stays = "replies of hooks stay in their session until chat channels take them; leave it out";
    let fixed = "the agent has its own; leave it out";
    let later = [
        ("channel", params.channel.is_some(), stays),
        ("deliver", params.deliver == Some(true), stays),
        ("model", params.model.is_some(), fixed),
        ("thinking", params.thinking.is_some(), fixed),
        ("to", params.to.is_some(), stays),
    ];
    if let Some((member, _, instead)) = later.into_iter().find(|(_, is_set, _)| *is_set) {
        return Err(HookError::Unsupported { member, instead });
    }
    let agent = chosen_agent(params.agent_id.as_ref(), config, default_agent)?;
    let place = chosen_session(params.session_key.as_ref(), config, &agent)?;
    let timeout_ms = params.timeout_seconds.map(|seconds| u64::from(seconds).saturating_mul(1000));
    let (hook, text, instructions) = (name(AGENT)?, params.message, None);
    let title = params.name.filter(|name| !name.trim().is_empty());
    HookCall { hook, text, title, instructions, agent: Some(agent), place, timeout_ms, wake_mode }.bounded()
}

/// The agent of a call. Without a list it is the default one.
fn chosen_agent(
    asked: Option<&Value>,
    config: &HooksConfig,
    default_agent: &AgentId,
) -> Result<AgentId, HookError> {
    let asked = match asked {
        None => default_agent.clone(),
        Some(value) => AgentId::parse(value.as_str().unwrap_or_default()).map_err(|_| HookError::Agent)?,
    };
    let listed = config.allowed_agent_ids.iter().any(|allowed| allowed.0 == asked);
    let unlisted = config.allowed_agent_ids.is_empty() && asked == *default_agent;
    if listed || unlisted { Ok(asked) } else { Err(HookError::Agent) }
}

/// The session of a call.
fn chosen_session(asked: Option<&Value>, config: &HooksConfig, agent: &AgentId) -> Result<Place, HookError> {
    let Some(asked) = asked else {
        return Ok(config.default_session_key.clone().map_or(Place::Own, Place::Named));
    };
    let no = |why| HookError::Session { why };
    if !config.allow_request_session_key {
        return Err(no("the owner allows it by hooks.allowRequestSessionKey"));
    }
    let asked = asked.as_str().unwrap_or_default().trim();
    let key = SessionKey::parse(asked, agent).map_err(|_| no("it is no name of a session"))?;
    let own = format!("agent:{agent}:");
    let name = key
        .as_str()
        .strip_prefix(&own)
        .filter(|name| name.len() > "hook:".len() && name.starts_with("hook:"));
    let name = name.ok_or_else(|| no("only those below `hook:` of its own agent are"))?;
    Ok(Place::Named(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(allowed: &[&str]) -> HooksConfig {
        let agents = serde_json::from_value(json!(allowed)).unwrap();
        HooksConfig { allowed_agent_ids: agents, ..HooksConfig::default() }
    }

    fn asked(body: Value, config: &HooksConfig) -> Result<HookCall, HookError> {
        agent(&body, config, &AgentId::main())
    }

    #[test]
    fn c11_a_blank_agent_is_not_the_default_one() {
        let listed = config(&["x"]);
        for id in [json!(""), json!(" "), json!(null), json!("main"), json!(7), json!("X y")] {
            let call = asked(json!({"message": "hi", "agentId": id}), &listed);
            assert_eq!(call.unwrap_err(), HookError::Agent, "{id}");
        }
        assert_eq!(asked(json!({"message": "hi"}), &listed).unwrap_err(), HookError::Agent, "absent is main");
        assert!(asked(json!({"message": "hi", "agentId": "x"}), &listed).is_ok());
        let unlisted = config(&[]);
        assert!(asked(json!({"message": "hi"}), &unlisted).is_ok());
        assert_eq!(asked(json!({"message": "hi", "agentId": "x"}), &unlisted).unwrap_err(), HookError::Agent);
    }

    #[test]
    fn a_caller_chooses_a_session_only_where_its_hook_may() {
        let mut config = config(&["main", "x"]);
        let place = |config: &HooksConfig, key: Value| {
            asked(json!({"message": "hi", "sessionKey": key}), config).map(|call| call.place)
        };
        assert!(matches!(place(&config, json!("hook:a")), Err(HookError::Session { .. })));
        config.allow_request_session_key = true;
        for key in ["hook:a", "agent:main:hook:a", "HOOK:A"] {
            assert_eq!(place(&config, json!(key)), Ok(Place::Named("hook:a".into())), "{key}");
        }
        for key in [
            json!("main"),
            json!("agent:main:main"),
            json!("agent:x:hook:a"),
            json!("agent:main:telegram:dm:7"),
            json!("hook:"),
            json!(""),
            json!(null),
            json!("agent:main:xhook:a"),
            json!("hook: a"),
        ] {
            assert!(matches!(place(&config, key.clone()), Err(HookError::Session { .. })), "{key}");
        }
        config.default_session_key = Some("hook:ingress".into());
        let call = asked(json!({"message": "hi"}), &config).unwrap();
        let run = RunId::parse("r").unwrap();
        let principal = Principal::Hook(call.hook.clone());
        let message = call.message(principal, &AgentId::main(), run, None).unwrap();
        assert_eq!(message.session.as_str(), "agent:main:hook:ingress");
    }

    #[test]
    fn what_a_hook_does_not_take_is_refused_with_a_sentence() {
        for (body, expected) in [
            (json!({}), "missing field `message`"),
            (json!({"message": " "}), "is empty"),
            (json!({"message": "x", "extra": 1}), "unknown field"),
            (json!({"message": "x", "deliver": true}), "deliver is not supported"),
            (json!({"message": "x", "to": "+1"}), "to is not supported"),
            (json!({"message": "x", "model": "m"}), "model is not supported"),
            (json!({"message": "x", "wakeMode": "later"}), "unknown variant"),
            (json!({"message": "x".repeat(100_001)}), "more than 100000 characters"),
        ] {
            let error = asked(body.clone(), &config(&[])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}, not {expected}");
        }
        assert!(asked(json!({"message": "x", "deliver": false, "name": "CI"}), &config(&[])).is_ok());
        let mode = |body: Value| wake(&body).map(|call| call.wake_mode);
        assert_eq!(mode(json!({"text": "x", "mode": "next-heartbeat"})), Ok(WakeMode::NextHeartbeat));
        assert_eq!(mode(json!({"text": "x"})), Ok(WakeMode::Now));
        let tells = |mode: &str| {
            let call = asked(json!({"message": "x", "wakeMode": mode}), &config(&[])).unwrap();
            let (principal, run) = (Principal::Hook(call.hook.clone()), RunId::parse("r").unwrap());
            call.message(principal, &AgentId::main(), run, None).unwrap().tells
        };
        assert_eq!((tells("now"), tells("next-heartbeat")), (false, true));
        assert!(wake(&json!({"text": "x", "mode": "later"})).is_err());
        assert!(wake(&json!({"text": "x"})).is_ok());
    }

    #[test]
    fn a_body_is_an_object_or_a_form() {
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(body(b"{\"a\":1}", None), Ok(json!({"a": 1})));
        assert_eq!(body(b"a=1&b=x%20y", form), Ok(json!({"a": "1", "b": "x y"})));
        assert_eq!(body(b"payload=%7B%22a%22%3A1%7D", form), Ok(json!({"a": 1})));
        for bytes in [&b""[..], b"[1]", b"7", b"{", "[".repeat(100_000).as_bytes()] {
            assert!(body(bytes, Some("application/json")).is_err());
        }
    }
}
