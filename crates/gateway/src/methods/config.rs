//! `config.get|set|patch|apply|schema`: the config's file for who administers the gateway, without its secrets; for others,
//! that there is one.

use std::sync::Arc;

use moltbot_protocol::error::WireError;
use moltbot_protocol::scope::Scope;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome};
use crate::reload::{self, NotWritten, TakenUp, Wanted};
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A new text, whole or as a patch. What else upstream's clients send says when and to whom a restart is told; there is
/// none here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    raw: String,
    base_hash: Option<String>,
    #[serde(default, rename = "sessionKey")]
    _session_key: Option<String>,
    #[serde(default, rename = "note")]
    _note: Option<String>,
    #[serde(default, rename = "restartDelayMs")]
    _restart_delay_ms: Option<u64>,
}

pub(super) async fn get(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    if call.grant.require(Scope::Admin).is_err() {
        return Ok(without_content());
    }
    let file = shared.live.file();
    let text = tokio::task::spawn_blocking(move || file.text()).await;
    let text = text.map_err(|error| WireError::unavailable(error.to_string()))?;
    let text = text.map_err(WireError::unavailable)?;
    tracing::info!(actor = call.grant.actor(), "the config was shown");
    let state = shared.live.status();
    // Of a file that cannot be read, nothing is shown: it is not known what of it is secret.
    let shown = moltbot_config::shown(&text).ok();
    let raw = shown.as_ref().map(|shown| serde_json::to_string_pretty(shown).unwrap_or_default());
    let issues = state.get("error").filter(|error| !error.is_null());
    let issues: Vec<Value> = issues.map(|error| json!({"path": "", "message": error})).into_iter().collect();
    Ok(json!({
        "path": shared.config_path.to_string_lossy(),
        "exists": true,
        "raw": raw,
        "parsed": shown,
        "config": moltbot_config::redact(&shared.live.running()),
        "hash": reload::hash(&text),
        "valid": issues.is_empty(),
        "issues": issues,
        "warnings": [],
        "legacyIssues": [],
        "restart": state.get("restart"),
    }))
}

/// What clients ask for to see whether a gateway is well. A gateway that runs has a config, and it is valid.
fn without_content() -> Value {
    json!({
        "path": null,
        "exists": true,
        "raw": null,
        "parsed": null,
        "config": {},
        "valid": true,
        "issues": [],
        "warnings": [{"path": "", "message": "operator.admin sees what is in it"}],
        "legacyIssues": [],
    })
}

pub(super) async fn set(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let (answer, _) = change(shared, call, whole).await?;
    Ok(answer)
}

pub(super) async fn apply(shared: &Arc<Shared>, call: &Call) -> Outcome {
    change(shared, call, whole).await.map(with_restart)
}

pub(super) async fn patch(shared: &Arc<Shared>, call: &Call) -> Outcome {
    change(shared, call, |raw| {
        let patch = parse(&raw)?;
        Ok(Box::new(move |shown| Ok(moltbot_config::merge_patch(shown, patch))))
    })
    .await
    .map(with_restart)
}

pub(super) fn schema(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({
        "schema": moltbot_config::schema(),
        "uiHints": {},
        "version": env!("CARGO_PKG_VERSION"),
        "generatedAt": shared.now_ms(),
    }))
}

fn whole(raw: String) -> Result<Wanted, WireError> {
    let target = parse(&raw)?;
    Ok(Box::new(move |_| Ok(target)))
}

fn parse(raw: &str) -> Result<Value, WireError> {
    let value = moltbot_config::value(raw).map_err(|error| WireError::invalid(error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(WireError::invalid("raw is not an object")) }
}

/// Changes the file as the call says.
async fn change(
    shared: &Arc<Shared>,
    call: &Call,
    wanted: impl FnOnce(String) -> Result<Wanted, WireError>,
) -> Result<(Value, TakenUp), WireError> {
    let Change { raw, base_hash, .. } = call.params()?;
    let (wanted, actor) = (wanted(raw)?, call.grant.actor().to_owned());
    let taken_up = reload::write(shared, base_hash, wanted, call.method.name(), actor).await;
    let taken_up = taken_up.map_err(|error| match error {
        NotWritten::Conflict(message) => WireError::invalid(message),
        NotWritten::Invalid(message) => {
            WireError::invalid(format!("the config would not be valid: {message}"))
        }
        NotWritten::Failed(message) => WireError::unavailable(message),
    })?;
    let answer = json!({
        "ok": true,
        "path": shared.config_path.to_string_lossy(),
        "config": moltbot_config::redact(&shared.live.running()),
    });
    Ok((answer, taken_up))
}

/// Adds what counts already, and what does not yet.
fn with_restart((mut answer, taken_up): (Value, TakenUp)) -> Value {
    let TakenUp { applied, waiting } = taken_up;
    if let Some(members) = answer.as_object_mut() {
        members.insert(
            "restart".into(),
            json!({"needed": !waiting.is_empty(), "paths": waiting, "applied": applied}),
        );
        members.insert("sentinel".into(), Value::Null);
    }
    answer
}
