//! When a changed setting counts: at once, when it is asked for, or when the gateway starts again.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::path::{Path, Step};

/// When a changed setting counts for a gateway that runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// As soon as the file is read.
    AtOnce,
    /// When this command is run, or the gateway starts again.
    Asked(&'static str),
    /// When the gateway starts again.
    Restart,
}

/// What counts before a restart; the longest name that fits decides.
const EFFECTS: &[(&str, Effect)] = &[
    ("gateway.auth", Effect::Asked("moltbot gateway call clients.reload")),
    ("hooks", Effect::AtOnce),
    ("logging.consoleLevel", Effect::AtOnce),
    ("logging.level", Effect::AtOnce),
    ("meta", Effect::AtOnce),
];

impl Effect {
    /// In a word, for clients.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at-once",
            Self::Asked(_) => "asked",
            Self::Restart => "restart",
        }
    }
}

/// When a change of the setting at `path` counts.
pub fn effect_of(path: &str) -> Effect {
    let is_within = |name: &str| {
        path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    EFFECTS.iter().find(|(name, _)| is_within(name)).map_or(Effect::Restart, |(_, effect)| *effect)
}

/// The settings that differ between two configs, by their paths. No values: they may be secret.
pub fn changed(old: &Value, new: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    compare(Some(old), Some(new), &mut Path::default(), &mut found);
    found.into_iter().collect()
}

fn compare(old: Option<&Value>, new: Option<&Value>, path: &mut Path, found: &mut BTreeSet<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                path.0.push(Step::Key(key.clone()));
                compare(old.get(key), new.get(key), path, found);
                path.0.pop();
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                path.0.push(Step::Index(index));
                compare(Some(old), Some(new), path, found);
                path.0.pop();
            }
        }
        // What is in a whole object that comes or goes counts each by itself.
        (None, Some(Value::Object(members))) | (Some(Value::Object(members)), None)
            if !members.is_empty() =>
        {
            for (key, value) in members {
                path.0.push(Step::Key(key.clone()));
                let (old, new) = if old.is_none() { (None, Some(value)) } else { (Some(value), None) };
                compare(old, new, path, found);
                path.0.pop();
            }
        }
        _ => {
            found.insert(path.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_setting_that_differs_is_named_and_known_when_it_counts() {
        let old = json!({"gateway": {"port": 1, "auth": {"token": "a"}}, "hooks": {"enabled": true}, "tools": {"deny": ["x"]}});
        let new = json!({"gateway": {"port": 1, "auth": {"token": "b"}}, "tools": {"deny": ["x", "y"]}, "logging": {"level": "info"}});
        let found = changed(&old, &new);
        assert_eq!(found, ["gateway.auth.token", "hooks.enabled", "logging.level", "tools.deny"]);
        let effects: Vec<&str> = found.iter().map(|path| effect_of(path).name()).collect();
        assert_eq!(effects, ["asked", "at-once", "at-once", "restart"]);
        assert_eq!(effect_of("hooksome"), Effect::Restart);
        assert!(changed(&old, &old).is_empty());
    }
}
