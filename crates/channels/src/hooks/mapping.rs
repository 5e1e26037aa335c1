//! Mappings: which one takes a call, and what it makes of its body.

use moltbot_config::limits;
use moltbot_config::settings::{HookAction, HookMapping, HookMatch, HookPreset, HooksConfig, WakeMode};
use moltbot_protocol::ids::{AgentId, HookName};
use serde_json::Value;
use thiserror::Error;

use super::template::{Template, TemplateError, shown};
use super::{AGENT, HookCall, HookError, Place, WAKE};

/// Why mappings cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum MappingError {
    /// Two mappings would take the same call.
    #[error(
        "hooks.mappings: {first} and {second} both take calls of the path {path:?}; give each its own path, or each its own match.source and none a signature"
    )]
    Ambiguous { first: HookName, second: HookName, path: String },
    /// Two mappings have one name.
    #[error("hooks.mappings: two mappings have the name {name:?}; give each an `id` of its own")]
    Duplicate { name: HookName },
    /// Neither a name nor a path.
    #[error("hooks.mappings[{index}] has neither `id` nor `match.path`; give it one")]
    Nameless { index: usize },
    /// A name that routes of the gateway have.
    #[error("hooks.mappings: {name:?} is one of the gateway's own hooks; choose another id and path")]
    Reserved { name: HookName },
    /// A session that its body could choose.
    #[error(
        "hooks.mappings[{name}].sessionKey must begin with `hook:` and a name of its own, before any `{{{{…}}}}`"
    )]
    Session { name: HookName },
    /// A text that is no template.
    #[error("hooks.mappings[{name}].{setting}: {error}")]
    Template { name: HookName, setting: &'static str, error: TemplateError },
    /// An agent without what it is told.
    #[error("hooks.mappings[{name}] needs `{setting}`: without it there is nothing to tell the agent")]
    Textless { name: HookName, setting: &'static str },
    /// More than there may be.
    #[error("hooks.mappings has more than {max} mappings; remove some", max = limits::HOOK_MAPPINGS)]
    TooMany,
}

/// A hook with a form of its own.
#[derive(Clone, Debug)]
pub struct Mapping {
    name: HookName,
    path: String,
    source: Option<String>,
    signed: bool,
    action: HookAction,
    agent: Option<AgentId>,
    template: Template,
    title: Option<String>,
    instructions: Option<String>,
    session: Option<Template>,
    timeout_ms: Option<u64>,
    wake_mode: WakeMode,
}

/// The mappings of a config, none of which can be taken for another.
#[derive(Clone, Debug, Default)]
pub struct Mappings(Vec<Mapping>);

impl Mappings {
    /// Reads the mappings of a config. `name_of` gives a mapping its name. A preset whose path the owner has mapped is
    /// left to the owner's mapping.
    ///
    /// # Errors
    /// When two could take one call, or one is incomplete.
    pub fn of(
        config: &HooksConfig,
        name_of: impl Fn(&HookMapping) -> Option<HookName>,
    ) -> Result<Self, MappingError> {
        if config.mappings.len() > limits::HOOK_MAPPINGS {
            return Err(MappingError::TooMany);
        }
        let mut mappings: Vec<Mapping> = Vec::new();
        for (index, one) in config.mappings.iter().enumerate() {
            let name = name_of(one).ok_or(MappingError::Nameless { index })?;
            let mapping = Mapping::of(one, name)?;
            require_apart(&mapping, &mappings)?;
            mappings.push(mapping);
        }
        for preset in &config.presets {
            let one = ready_made(*preset);
            let Some(name) = name_of(&one) else { continue };
            let mapping = Mapping::of(&one, name)?;
            if require_apart(&mapping, &mappings).is_ok() {
                mappings.push(mapping);
            }
        }
        Ok(Self(mappings))
    }

    /// Those of a path.
    pub fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Mapping> {
        self.0.iter().filter(move |mapping| mapping.path == path)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter()
    }
}

fn require_apart(mapping: &Mapping, others: &[Mapping]) -> Result<(), MappingError> {
    for other in others {
        if other.name == mapping.name {
            return Err(MappingError::Duplicate { name: mapping.name.clone() });
        }
        let told_apart = mapping.source.is_some()
            && other.source.is_some()
            && mapping.source != other.source
            && !mapping.signed
            && !other.signed;
        if other.path == mapping.path && !told_apart {
            let (first, second) = (other.name.clone(), mapping.name.clone());
            return Err(MappingError::Ambiguous { first, second, path: mapping.path.clone() });
        }
    }
    Ok(())
}

fn ready_made(preset: HookPreset) -> HookMapping {
    match preset {
        HookPreset::Gmail => HookMapping {
            id: Some("gmail".into()),
            matches: HookMatch { path: Some("gmail".into()), source: None },
            name: Some("Gmail".into()),
            session_key: Some("hook:gmail:{{messages[0].id}}".into()),
            message_template: Some(
                "New email from {{messages[0].from}}\nSubject: {{messages[0].subject}}\n{{messages[0].snippet}}\n{{messages[0].body}}".into(),
            ),
            ..HookMapping::default()
        },
    }
}

impl Mapping {
    fn of(config: &HookMapping, name: HookName) -> Result<Self, MappingError> {
        let path = config.matches.path.clone().unwrap_or_else(|| name.as_str().to_owned());
        if [name.as_str(), &path].iter().any(|one| [AGENT, WAKE].contains(one)) {
            return Err(MappingError::Reserved { name });
        }
        let (setting, text) = match config.action {
            HookAction::Agent => ("messageTemplate", &config.message_template),
            HookAction::Wake => ("textTemplate", &config.text_template),
        };
        let read = |setting, text: &str| {
            Template::parse(text).map_err(|error| MappingError::Template {
                name: name.clone(),
                setting,
                error,
            })
        };
        let text = text.as_ref().filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| MappingError::Textless { name: name.clone(), setting })?;
        let template = read(setting, text)?;
        let session = config.session_key.as_deref().map(|text| read("sessionKey", text)).transpose()?;
        let is_own =
            |session: &Template| session.head().strip_prefix("hook:").is_some_and(|own| !own.is_empty());
        if session.as_ref().is_some_and(|session| !is_own(session)) {
            return Err(MappingError::Session { name });
        }
        Ok(Self {
            path,
            source: config.matches.source.clone(),
            signed: config.signature.is_some(),
            action: config.action,
            agent: config.agent_id.as_deref().and_then(|agent| AgentId::parse(agent).ok()),
            template,
            title: config.name.clone(),
            instructions: config.instructions.clone(),
            session,
            timeout_ms: config.timeout_seconds.map(|seconds| u64::from(seconds).saturating_mul(1000)),
            wake_mode: config.wake_mode,
            name,
        })
    }

    /// Its name.
    pub const fn name(&self) -> &HookName {
        &self.name
    }

    /// The path below that of all hooks.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it causes.
    pub const fn action(&self) -> HookAction {
        self.action
    }

    /// The agent that answers; nothing for the default one.
    pub const fn agent(&self) -> Option<&AgentId> {
        self.agent.as_ref()
    }

    /// When the agent's main conversation is told.
    pub const fn wake_mode(&self) -> WakeMode {
        self.wake_mode
    }

    /// What `source` in a body must be.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The session of its turns, before anything is put in; nothing when each has its own.
    pub fn session_head(&self) -> Option<&str> {
        self.session.as_ref().map(Template::head)
    }

    /// Whether it takes a body: its source is the one that is asked for.
    pub fn takes(&self, body: &Value) -> bool {
        let Some(source) = &self.source else { return true };
        body.get("source").and_then(Value::as_str) == Some(source)
    }

    /// What it makes of a body.
    ///
    /// # Errors
    /// When the text is empty or too long, or what belongs into the session's name is no name.
    pub fn read(&self, body: &Value) -> Result<HookCall, HookError> {
        let text = self.template.render(body, |value| Ok::<_, HookError>(shown(value)))?;
        let place = match (self.action, &self.session) {
            (HookAction::Wake, _) => Place::Main,
            (HookAction::Agent, None) => Place::Own,
            (HookAction::Agent, Some(session)) => Place::Named(session.render(body, session_part)?),
        };
        let call = HookCall {
            hook: self.name.clone(),
            text,
            title: self.title.clone(),
            instructions: self.instructions.clone(),
            agent: self.agent.clone(),
            place,
            timeout_ms: self.timeout_ms,
            wake_mode: self.wake_mode,
        };
        call.bounded()
    }
}

/// What stands for a value in the name of a session: a plain name or number, so that no body leads out of its own part.
fn session_part(value: &Value) -> Result<String, HookError> {
    let text = match value {
        Value::String(text) => text.to_ascii_lowercase(),
        Value::Number(number) => number.to_string(),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => String::new(),
    };
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 64 || !text.chars().all(ordinary) {
        return Err(HookError::SessionPart);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name_of(mapping: &HookMapping) -> Option<HookName> {
        let name = mapping.id.clone().or_else(|| mapping.matches.path.clone())?;
        HookName::parse(&name).ok()
    }

    fn mapping(value: serde_json::Value) -> HookMapping {
        let mut whole = json!({"messageTemplate": "{{text}}"});
        for (name, part) in value.as_object().unwrap() {
            whole[name] = part.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn mappings(list: Vec<serde_json::Value>) -> Result<Mappings, String> {
        let mappings = list.into_iter().map(mapping).collect();
        let config = HooksConfig { mappings, presets: vec![HookPreset::Gmail], ..HooksConfig::default() };
        Mappings::of(&config, name_of).map_err(|error| error.to_string())
    }

    #[test]
    fn c07_no_two_mappings_take_one_call() {
        let signature = json!({"kind": "github", "secret": "x"});
        for (one, other, expected) in [
            (json!({"id": "a"}), json!({"id": "a"}), "two mappings have the name"),
            (json!({"id": "a"}), json!({"id": "b", "match": {"path": "a"}}), "both take calls"),
            (
                json!({"id": "a", "match": {"path": "p", "source": "x"}}),
                json!({"id": "b", "match": {"path": "p"}}),
                "both take calls",
            ),
            (
                json!({"id": "a", "match": {"path": "p", "source": "x"}, "signature": signature}),
                json!({"id": "b", "match": {"path": "p", "source": "y"}}),
                "both take calls",
            ),
            (json!({"id": "a"}), json!({}), "neither `id` nor"),
            (json!({"id": "a"}), json!({"id": "wake"}), "gateway's own"),
            (json!({"id": "a"}), json!({"id": "b", "match": {"path": "agent"}}), "gateway's own"),
            (json!({"id": "a"}), json!({"id": "b", "messageTemplate": " "}), "nothing to tell"),
            (json!({"id": "a"}), json!({"id": "b", "messageTemplate": "{{x"}), "has no `}}`"),
            (json!({"id": "a"}), json!({"id": "b", "action": "wake"}), "needs `textTemplate`"),
            (json!({"id": "a"}), json!({"id": "b", "sessionKey": "hook:{{id}}"}), "before any"),
            (json!({"id": "a"}), json!({"id": "b", "sessionKey": "main"}), "before any"),
        ] {
            let error = mappings(vec![one, other]).unwrap_err();
            assert!(error.contains(expected), "{error}, not {expected}");
        }
        let apart = |source| json!({"id": source, "match": {"path": "p", "source": source}});
        let both = mappings(vec![apart("x"), apart("y")]).unwrap();
        let body = json!({"source": "y"});
        let found: Vec<&str> =
            both.at("p").filter(|one| one.takes(&body)).map(|one| one.name().as_str()).collect();
        assert_eq!(found, ["y"]);
        assert_eq!(both.at("gmail").count(), 1, "a preset");
        let own = mappings(vec![json!({"id": "mine", "match": {"path": "gmail"}})]).unwrap();
        assert_eq!(own.at("gmail").map(|one| one.name().as_str()).collect::<Vec<_>>(), ["mine"]);
    }

    #[test]
    fn a_body_stays_in_its_own_part_of_a_sessions_name() {
        let both = mappings(vec![json!({"id": "a", "sessionKey": "hook:a:{{id}}"})]).unwrap();
        let read = |id: serde_json::Value| {
            let call = both.at("a").next().unwrap().read(&json!({"text": "hi", "id": id}));
            call.map(|call| call.place).map_err(|error| error.to_string())
        };
        assert_eq!(read(json!("PR-7")), Ok(Place::Named("hook:a:pr-7".into())));
        assert_eq!(read(json!(7)), Ok(Place::Named("hook:a:7".into())));
        for id in [
            json!(""),
            json!("a:b"),
            json!("../x"),
            json!("a b"),
            json!(null),
            json!({}),
            json!("x".repeat(65)),
        ] {
            assert!(read(id.clone()).is_err(), "{id}");
        }
    }
}
