//! Checks of what the agent may do, and of the models that decide it.

use serde_json::Value;

use super::facts::Facts;
use super::raw::{at, fold, items, text};
use super::{Check, Evidence, Outcome};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("tools.exec.security_full_configured", security_full),
    ("tools.exec.ask_off", ask_off),
    ("tools.exec.host_gateway", |facts| {
        facts.of_config(|value| Outcome::when(is_on_host(value), "tools.exec.host", "\"gateway\""))
    }),
    ("models.legacy", |facts| models(facts, is_legacy)),
    ("models.weak_tier", |facts| models(facts, |name| is_weak(name) && !is_legacy(name))),
    ("models.small_params", |facts| {
        models(facts, |name| parameters(name).is_some_and(|billions| billions <= SMALL))
    }),
];

/// Parameters, in billions, up to which a model is called small; upstream's line.
const SMALL: f64 = 300.0;

fn is_on_host(value: &Value) -> bool {
    text(value, "tools.exec.host").is_some_and(|host| fold(host) == "gateway")
}

fn security_full(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        // What is not written is `full`, within the sandbox: outside of it that is a decision.
        let security = text(value, "tools.exec.security").unwrap_or("full");
        let is_so = is_on_host(value) && fold(security) == "full";
        Outcome::when(is_so, "tools.exec.security", "\"full\", and tools.exec.host is \"gateway\"")
    })
}

fn ask_off(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let is_off = text(value, "tools.exec.ask").is_some_and(|ask| fold(ask) == "off");
        let is_full = text(value, "tools.exec.security").is_none_or(|security| fold(security) == "full");
        Outcome::when(
            is_off && is_full,
            "tools.exec.ask",
            "\"off\", and tools.exec.security is not \"allowlist\"",
        )
    })
}

/// Every model that is configured for an agent, with its path.
fn configured(value: &Value) -> Vec<(String, &str)> {
    let of_all = at(value, "agents.defaults.model").map(|model| ("agents.defaults.model".to_owned(), model));
    let agents = items(value, "agents.list").iter().enumerate();
    let own = agents
        .filter_map(|(index, agent)| Some((format!("agents.list[{index}].model"), agent.get("model")?)));
    of_all.into_iter().chain(own).flat_map(|(place, model)| named(&place, model)).collect()
}

/// A model by its name, or a primary one with those that stand in for it.
fn named<'v>(place: &str, model: &'v Value) -> Vec<(String, &'v str)> {
    if let Some(name) = model.as_str() {
        return vec![(place.to_owned(), name)];
    }
    let primary = text(model, "primary").map(|name| (format!("{place}.primary"), name));
    let fallbacks = items(model, "fallbacks").iter().filter_map(Value::as_str);
    primary.into_iter().chain(fallbacks.map(|name| (format!("{place}.fallbacks"), name))).collect()
}

fn models(facts: &Facts<'_>, is_bad: fn(&str) -> bool) -> Outcome {
    facts.of_config(|value| {
        let bad = configured(value).into_iter().filter(|(_, name)| is_bad(&name.to_lowercase()));
        Outcome::from(bad.map(|(place, name)| Evidence::new(place, name)).collect())
    })
}

/// Model families that their vendors have replaced twice or more.
fn is_legacy(name: &str) -> bool {
    ["gpt-3.5", "claude-2", "claude-instant", "gpt-4-0314", "gpt-4-0613"]
        .iter()
        .any(|part| name.contains(part))
}

/// Models below the tier that upstream recommends for turns with tools.
fn is_weak(name: &str) -> bool {
    let older = ["gpt-4", "claude-3", "claude-sonnet-4-0", "claude-opus-4-0", "o1-mini", "gemini-1"];
    name.contains("haiku") || name.contains("-mini") || older.iter().any(|part| name.contains(part))
}

/// How many parameters a name says that its model has, in billions: `qwen2.5:7b`, `smollm2-135m`.
fn parameters(name: &str) -> Option<f64> {
    name.split(['-', ':', '/', '_']).find_map(|part| {
        let (number, unit) = part.split_at_checked(part.len().checked_sub(1)?)?;
        let number: f64 = number.parse().ok()?;
        match unit {
            "b" => Some(number),
            "m" => Some(number / 1000.0),
            _ => None,
        }
    })
}
