//! `moltbot models set|aliases|fallbacks`: which models the config names. Asks no gateway.

use moltbot_config::Config;
use moltbot_config::settings::ModelChoice;
use serde_json::{Value, json};

use crate::arguments::{Aliases, Fallbacks};
use crate::change;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Where the config names the model of all agents.
const MODEL: &str = "agents.defaults.model";

/// Has another model answer.
pub(super) fn set(home: &Home, model: &str) -> anyhow::Result<Exit> {
    let config = home.load()?.config;
    let model = named(&config, model)?;
    let value = match &config.agents.defaults.model {
        Some(choice) if !choice.fallbacks().is_empty() => {
            json!({"primary": model, "fallbacks": choice.fallbacks()})
        }
        _ => json!(model),
    };
    change::settings(home, &[(MODEL.into(), Some(value))], "models set")?;
    output::line(&format!("{model} answers from the next start of the gateway on"))?;
    change::remind(home)?;
    Ok(Exit::Done)
}

/// Sees and changes the models that are tried after the first.
pub(super) fn fallbacks(home: &Home, command: &Fallbacks) -> anyhow::Result<Exit> {
    let config = home.load()?.config;
    let choice = config.agents.defaults.model.as_ref();
    let mut list = choice.map(ModelChoice::fallbacks).unwrap_or_default().to_vec();
    match command {
        Fallbacks::List(facts) => {
            if facts.json {
                output::json(&json!({"fallbacks": list}))?;
            } else {
                list.iter().try_for_each(|model| output::line(&harmless(model)))?;
            }
            return Ok(Exit::Done);
        }
        Fallbacks::Add { model } => {
            let model = named(&config, model)?;
            list.retain(|known| *known != model);
            list.push(model);
        }
        Fallbacks::Remove { model } => {
            let before = list.len();
            list.retain(|known| known != model);
            if list.len() == before {
                return Err(Exit::Failed.because(format!("{model} is no fallback")));
            }
        }
        Fallbacks::Clear => list.clear(),
    }
    let value = match (choice.and_then(ModelChoice::primary), list.is_empty()) {
        (Some(primary), true) => Some(json!(primary)),
        (Some(primary), false) => Some(json!({"primary": primary, "fallbacks": list})),
        (None, true) => None,
        (None, false) => Some(json!({"fallbacks": list})),
    };
    change::settings(home, &[(MODEL.into(), value)], "models fallbacks")?;
    output::line(&format!("tried after the first: {}", told(&list)))?;
    change::remind(home)?;
    Ok(Exit::Done)
}

/// Sees and changes the short names.
pub(super) fn aliases(home: &Home, command: &Aliases) -> anyhow::Result<Exit> {
    let config = home.load()?.config;
    let known = &config.agents.defaults.models;
    let of = |alias: &str| known.iter().find(|(_, entry)| entry.alias.as_deref() == Some(alias));
    let place = |model: &str| format!("agents.defaults.models[{}]", Value::from(model));
    match command {
        Aliases::List(facts) => {
            let rows = moltbot_agent::model::aliases(&config);
            if facts.json {
                output::json(&json!({"aliases": rows}))?;
            } else {
                for (alias, model) in rows {
                    output::line(&format!("{}: {}", harmless(&alias), harmless(&model)))?;
                }
            }
            return Ok(Exit::Done);
        }
        Aliases::Add { alias, model } => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if alias.is_empty() || !alias.chars().all(is_name) {
                return Err(Exit::Usage.because("a short name has letters, digits, '.', '_' and '-' alone"));
            }
            let model = named(&config, model)?;
            let mut changes = Vec::new();
            if let Some((earlier, _)) = of(alias).filter(|(earlier, _)| **earlier != model) {
                changes.push((format!("{}.alias", place(earlier)), None));
            }
            changes.push((format!("{}.alias", place(&model)), Some(json!(alias))));
            change::settings(home, &changes, "models aliases add")?;
            output::line(&format!("{alias} is {model}"))?;
            if known.is_empty() {
                output::note("sessions may choose those models alone now that agents.defaults.models names");
            }
        }
        Aliases::Remove { alias } => {
            let Some((model, _)) = of(alias) else {
                return Err(Exit::Failed.because(format!("the config has no short name {alias}")));
            };
            change::settings(home, &[(format!("{}.alias", place(model)), None)], "models aliases remove")?;
            output::line(&format!("{alias} is no short name any more"))?;
        }
    }
    change::remind(home)?;
    Ok(Exit::Done)
}

/// The models in one line.
pub(super) fn told(list: &[String]) -> String {
    if list.is_empty() {
        "none".into()
    } else {
        list.iter().map(|it| harmless(it)).collect::<Vec<_>>().join(", ")
    }
}

/// The whole name of a model.
fn named(config: &Config, model: &str) -> anyhow::Result<String> {
    let long = moltbot_agent::model::resolve_alias(config, model);
    let parts = long.split_once('/').filter(|(provider, id)| !provider.is_empty() && !id.is_empty());
    let shape = parts.is_some() && !long.contains(char::is_whitespace) && !long.contains(char::is_control);
    if shape {
        return Ok(long);
    }
    Err(Exit::Usage.because(format!(
        "{model:?} names no model: write provider/model, such as anthropic/claude-opus-4-5"
    )))
}
