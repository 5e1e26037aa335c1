//! What may hold a secret, and how a config looks without them.

use serde_json::Value;

use crate::path::{Path, Step};
use crate::secrets::SEALED_PREFIX;
use crate::substitution::is_pure_reference;

/// What stands where a secret was.
const HIDDEN: &str = "***";

/// A copy of a raw config in which no secret is: each is `***`, unless it is one reference such as
/// `${NAME}` and nothing else. Secret is what is sealed, what has a telling name (`token`, `apiKey`, …), every variable and
/// header, and every address with a password in it.
pub fn redact(value: &Value) -> Value {
    redacted(value, &mut Path::default(), false)
}

fn redacted(value: &Value, path: &mut Path, is_secret: bool) -> Value {
    let within = |path: &mut Path, step: Step, value: &Value| {
        path.0.push(step);
        let is_secret = is_secret || is_secret_step(path);
        let value = redacted(value, path, is_secret);
        path.0.pop();
        value
    };
    match value {
        Value::Array(items) => {
            Value::Array(items.iter().enumerate().map(|(i, v)| within(path, Step::Index(i), v)).collect())
        }
        Value::Object(members) => Value::Object(
            members.iter().map(|(k, v)| (k.clone(), within(path, Step::Key(k.clone()), v))).collect(),
        ),
        Value::String(text) if is_pure_reference(text) => value.clone(),
        Value::String(text) if is_secret || has_password(text) => HIDDEN.into(),
        Value::Number(_) if is_secret && !counts_tokens(path) => HIDDEN.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whether what stands at this path, or around it, is a secret.
pub(crate) fn is_secret_path(path: &Path) -> bool {
    (1..=path.0.len())
        .any(|length| path.0.get(..length).is_some_and(|steps| is_secret_step(&Path(steps.to_vec()))))
}

/// Whether the last step of a path makes what is below it secret.
fn is_secret_step(path: &Path) -> bool {
    let Some(Step::Key(key)) = path.0.last() else { return false };
    let around = path.0.len().checked_sub(2).and_then(|at| path.0.get(at));
    // The names below these are the owner's: variables, models, providers, senders. Only their values tell.
    let names_are_free = matches!(around, Some(Step::Key(key)) if matches!(key.as_str(), "providers" | "entries" | "accounts" | "channels"));
    !names_are_free && is_secret_name(key)
}

/// Whether a key's name says that its value is secret.
fn is_secret_name(key: &str) -> bool {
    let name: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    const EXEMPT: &[&str] = &["file", "path", "field", "readonly", "env", "dir"];
    const TELLING: &[&str] = &[
        "token",
        "password",
        "passwd",
        "passphrase",
        "secret",
        "apikey",
        "privatekey",
        "accesskey",
        "credential",
        "serviceaccount",
        "authorization",
        "cookie",
    ];
    if matches!(name.as_str(), "env" | "headers") {
        return true;
    }
    let is_exempt = EXEMPT.iter().any(|end| name.ends_with(end));
    !is_exempt && TELLING.iter().any(|part| name.contains(part))
}

/// Whether a number at this path counts tokens of a text: `maxTokens`, `contextTokens`.
pub(crate) fn counts_tokens(path: &Path) -> bool {
    let Some(Step::Key(key)) = path.0.last() else { return false };
    key.ends_with("Tokens")
}

/// Whether a text is an address with a password, as `https://user:password@host/`.
pub(crate) fn has_password(text: &str) -> bool {
    // What is sealed is treated as what it may hold.
    if text.starts_with(SEALED_PREFIX) {
        return true;
    }
    text.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        authority.rsplit_once('@').is_some_and(|(user, _)| !user.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_secret_is_left_and_nothing_else_is_hidden() {
        let value = json!({
            "env": {"vars": {"A": "s"}, "B": "s", "shellEnv": {"enabled": true}},
            "gateway": {"auth": {"mode": "token", "token": "s", "password": "s"}, "port": 1,
                "remote": {"token": "${T}", "password": "x${T}", "url": "wss://a:b@c/"}},
            "channels": {"telegram": {"botToken": "s", "tokenFile": "/f", "webhookSecret": "s", "enabled": true,
                    "accounts": {"x": {"token": "s", "signingSecret": "s"}}},
                "googlechat": {"serviceAccount": {"key": "s"}}, "slack": {"userToken": "s", "userTokenReadOnly": true}},
            "models": {"providers": {"token-house": {"apiKey": "s", "baseUrl": "http://h/v1", "headers": {"X-A": "s"},
                "models": [{"id": "m", "maxTokens": 5, "compat": {"maxTokensField": "max_tokens"}}]}}},
            "skills": {"entries": {"a": {"env": {"B": "s"}, "apiKey": 7}}},
            "agents": {"defaults": {"contextTokens": 9, "sandbox": {"docker": {"env": {"A": "s"}}}}}
        });
        let expected = json!({
            "env": {"vars": {"A": "***"}, "B": "***", "shellEnv": {"enabled": true}},
            "gateway": {"auth": {"mode": "token", "token": "***", "password": "***"}, "port": 1,
                "remote": {"token": "${T}", "password": "***", "url": "***"}},
            "channels": {"telegram": {"botToken": "***", "tokenFile": "/f", "webhookSecret": "***", "enabled": true,
                    "accounts": {"x": {"token": "***", "signingSecret": "***"}}},
                "googlechat": {"serviceAccount": {"key": "***"}}, "slack": {"userToken": "***", "userTokenReadOnly": true}},
            "models": {"providers": {"token-house": {"apiKey": "***", "baseUrl": "http://h/v1", "headers": {"X-A": "***"},
                "models": [{"id": "m", "maxTokens": 5, "compat": {"maxTokensField": "max_tokens"}}]}}},
            "skills": {"entries": {"a": {"env": {"B": "***"}, "apiKey": "***"}}},
            "agents": {"defaults": {"contextTokens": 9, "sandbox": {"docker": {"env": {"A": "***"}}}}}
        });
        assert_eq!(redact(&value), expected);
    }
}
