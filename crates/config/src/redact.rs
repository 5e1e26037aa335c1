//! What may hold a secret, and how a config looks without them.

use serde_json::Value;

use crate::include::INCLUDE;
use crate::path::{Path, Step};
use crate::secrets::SEALED_PREFIX;
use crate::substitution::is_pure_reference;

/// What stands where a secret was.
pub(crate) const HIDDEN: &str = "***";

/// A copy of a raw config in which no secret is: each is `***`, unless it is one reference such as
/// `${NAME}` and nothing else. Secret is what is sealed, what has a telling name (`token`, `apiKey`, …), every variable and
/// header, and every address with a password in it.
pub fn redact(value: &Value) -> Value {
    redacted(value, &mut Path::default(), false)
}

fn redacted(value: &Value, path: &mut Path, is_secret: bool) -> Value {
    let within = |path: &mut Path, step: Step, value: &Value| {
        path.0.push(step);
        let is_secret = is_secret_within(is_secret, &path.0);
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
    (1..=path.0.len()).filter_map(|length| path.0.get(..length)).fold(false, is_secret_within)
}

/// Whether what these steps lead to is a secret, when it is known whether what is around it is one.
fn is_secret_within(around: bool, steps: &[Step]) -> bool {
    !is_structure(steps) && (around || is_secret_step(steps))
}

/// Whether an object at this path holds secrets under names of the owner's choice, so that none of its members says
/// what the whole is.
pub(crate) fn is_map_of_secrets(path: &Path) -> bool {
    matches!(path.0.last(), Some(Step::Key(key)) if matches!(key.as_str(), "apiKeys" | "env" | "headers" | "vars"))
}

/// Whether the last step of a path makes what is below it secret.
fn is_secret_step(steps: &[Step]) -> bool {
    let Some((Step::Key(key), above)) = steps.split_last() else { return false };
    is_sign_in_member(key, above) || (!is_free_name(above) && is_secret_name(key))
}

/// Whether a member is a secret of the original's files of credentials: `profiles.<id>.{key,access,refresh}` in
/// `auth-profiles.json`, `<provider>.{access,refresh}` in `oauth.json`. No setting of a config has such a path.
fn is_sign_in_member(key: &str, above: &[Step]) -> bool {
    match above {
        [Step::Key(_)] => !is_free_name(above) && matches!(key, "access" | "refresh"),
        [Step::Key(root), Step::Key(_)] => root == "profiles" && matches!(key, "access" | "key" | "refresh"),
        _ => false,
    }
}

/// Whether the names below these steps are the owner's: of channels, accounts, providers, plugins. They tell nothing.
fn is_free_name(above: &[Step]) -> bool {
    /// `*` is any one step.
    const FREE: &[&[&str]] = &[
        &["auth", "order"],
        &["auth", "profiles"],
        &["channels"],
        &["channels", "*", "accounts"],
        &["messages", "tts", "providers"],
        &["models", "providers"],
        &["plugins", "entries"],
        &["plugins", "installs"],
        &["profiles"],
        &["secrets", "providers"],
        &["skills", "entries"],
        &["talk", "providers"],
    ];
    FREE.iter().any(|free| {
        free.len() == above.len()
            && free
                .iter()
                .zip(above)
                .all(|(name, step)| matches!(step, Step::Key(key) if *name == "*" || key == name))
    })
}

/// Whether these steps lead to settings that hold no secret although a name on the way would tell: those of where
/// secrets are, of the variables that a shell sets, how many tokens of models somebody may use, and files to include.
fn is_structure(steps: &[Step]) -> bool {
    if matches!(steps.last(), Some(Step::Key(key)) if key == INCLUDE) {
        return true;
    }
    let names: Vec<&str> = steps
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.as_str(),
            Step::Index(_) => "",
        })
        .collect();
    matches!(
        names.as_slice(),
        ["allowances", _, "tokens"] | ["secrets"] | ["env", "shellEnv"] | ["secrets", "defaults", "env"]
    )
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

/// Whether a number at this path counts tokens of a text: `maxTokens`, `contextTokens`, `reserveTokensFloor`.
pub(crate) fn counts_tokens(path: &Path) -> bool {
    matches!(path.0.last(), Some(Step::Key(key)) if key.contains("Tokens"))
}

/// Whether a text holds a secret wherever it stands: it is sealed, or an address with a password or a key in it, as
/// `https://user:password@host/` or `wss://host/?token=…`.
pub(crate) fn has_password(text: &str) -> bool {
    // What is sealed is treated as what it may hold.
    if text.starts_with(SEALED_PREFIX) {
        return true;
    }
    text.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let names_user = authority.rsplit_once('@').is_some_and(|(user, _)| !user.is_empty());
        names_user || rest.split_once('?').is_some_and(|(_, query)| has_secret_parameter(query))
    })
}

/// Whether one of the parameters of an address has a telling name and a value.
fn has_secret_parameter(query: &str) -> bool {
    query
        .split(['&', ';', '#'])
        .filter_map(|one| one.split_once('='))
        .any(|(name, value)| !value.is_empty() && (name.eq_ignore_ascii_case("key") || is_secret_name(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_secret_is_left_and_nothing_else_is_hidden() {
        let value = json!({
            "env": {"vars": {"A": "s"}, "B": "s", "shellEnv": {"enabled": true, "timeoutMs": 15000}},
            "gateway": {"auth": {"mode": "token", "token": "s", "password": "s"}, "port": 1,
                "remote": {"token": "${T}", "password": "x${T}", "url": "wss://a:b@c/"}},
            "channels": {"telegram": {"botToken": "s", "tokenFile": "/f", "webhookSecret": "s", "enabled": true,
                    "accounts": {"x": {"token": "s", "signingSecret": "s"}, "token-y": {"name": "y"}}},
                "googlechat": {"serviceAccount": {"key": "s"}}, "slack": {"userToken": "s", "userTokenReadOnly": true}},
            "models": {"providers": {"token-house": {"apiKey": "s", "baseUrl": "http://h/v1", "headers": {"X-A": "s"},
                "models": [{"id": "m", "maxTokens": 5, "reserveTokensFloor": 5, "compat": {"maxTokensField": "max_tokens"}}]}}},
            "skills": {"entries": {"a": {"env": {"B": "s"}, "apiKey": 7}}},
            "agents": {"defaults": {"contextTokens": 9, "sandbox": {"docker": {"env": {"A": "s"}}}}},
            "plugins": {"entries": {"token-p": {"enabled": 1, "config": {"accounts": {"apiKey": "s"}, "providers": {"token": "s"}}}}},
            "auth": {"profiles": {"openai:token": {"mode": "token"}}},
            "browser": {"cdpUrl": "wss://h/?a=1&token=s", "profiles": {"x": {"cdpUrl": "http://h/?a=1#key"}}},
            "secrets": {"defaults": {"env": "default"}, "providers": {"p": {"source": "exec", "env": {"A": "s"}, "args": ["a"]}}}
        });
        let expected = json!({
            "env": {"vars": {"A": "***"}, "B": "***", "shellEnv": {"enabled": true, "timeoutMs": 15000}},
            "gateway": {"auth": {"mode": "token", "token": "***", "password": "***"}, "port": 1,
                "remote": {"token": "${T}", "password": "***", "url": "***"}},
            "channels": {"telegram": {"botToken": "***", "tokenFile": "/f", "webhookSecret": "***", "enabled": true,
                    "accounts": {"x": {"token": "***", "signingSecret": "***"}, "token-y": {"name": "y"}}},
                "googlechat": {"serviceAccount": {"key": "***"}}, "slack": {"userToken": "***", "userTokenReadOnly": true}},
            "models": {"providers": {"token-house": {"apiKey": "***", "baseUrl": "http://h/v1", "headers": {"X-A": "***"},
                "models": [{"id": "m", "maxTokens": 5, "reserveTokensFloor": 5, "compat": {"maxTokensField": "max_tokens"}}]}}},
            "skills": {"entries": {"a": {"env": {"B": "***"}, "apiKey": "***"}}},
            "agents": {"defaults": {"contextTokens": 9, "sandbox": {"docker": {"env": {"A": "***"}}}}},
            "plugins": {"entries": {"token-p": {"enabled": 1, "config": {"accounts": {"apiKey": "***"}, "providers": {"token": "***"}}}}},
            "auth": {"profiles": {"openai:token": {"mode": "token"}}},
            "browser": {"cdpUrl": "***", "profiles": {"x": {"cdpUrl": "http://h/?a=1#key"}}},
            "secrets": {"defaults": {"env": "default"}, "providers": {"p": {"source": "exec", "env": {"A": "***"}, "args": ["a"]}}}
        });
        assert_eq!(redact(&value), expected);
    }
}
