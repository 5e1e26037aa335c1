//! `sessions.resolve` and `sessions.describe`: one session, by its key, its id or its label.

use moltbot_protocol::error::WireError;
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::sessions::SessionsListParams;
use moltbot_store::SessionFilter;
use serde::Deserialize;
use serde_json::json;

use super::super::{Call, Outcome, agent_named, session, session_of, store_failed};
use super::shown;
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResolveParams {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    label: Option<String>,
    /// Only sessions of that agent.
    #[serde(default)]
    agent_id: Option<String>,
    /// Only sessions spawned by that one: there are none.
    #[serde(default)]
    spawned_by: Option<String>,
    #[serde(default, rename = "includeGlobal")]
    _include_global: Option<bool>,
    #[serde(default, rename = "includeUnknown")]
    _include_unknown: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeParams {
    key: String,
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    include_derived_titles: Option<bool>,
    #[serde(default)]
    include_last_message: Option<bool>,
}

pub(in crate::methods) async fn resolve(shared: &Shared, call: &Call) -> Outcome {
    let params: ResolveParams = call.params()?;
    let agent = params.agent_id.as_deref().map(|id| agent_named(shared, id)).transpose()?;
    let (name, found) = match (&params.key, &params.session_id, &params.label) {
        (Some(key), None, None) => (key, by_key(shared, key).await?),
        (None, Some(id), None) => {
            (id, shared.store.find_session(id).await.map_err(|error| store_failed(&error))?)
        }
        (None, None, Some(label)) => (label, by_label(shared, label).await?),
        _ => return Err(WireError::invalid("give one of key, sessionId and label")),
    };
    let wanted = |key: &SessionKey| agent.as_ref().is_none_or(|agent| key.agent() == *agent);
    let found = found.filter(|key| params.spawned_by.is_none() && wanted(key));
    match found {
        Some(key) => Ok(json!({"ok": true, "key": key.as_str()})),
        None => Err(WireError::invalid(format!("No session found: {name}"))),
    }
}

async fn by_key(shared: &Shared, key: &str) -> Result<Option<SessionKey>, WireError> {
    let key = session(shared, key)?;
    let row = shared.store.session(&key).await.map_err(|error| store_failed(&error))?;
    Ok(row.map(|row| row.key))
}

async fn by_label(shared: &Shared, label: &str) -> Result<Option<SessionKey>, WireError> {
    let filter = SessionFilter { label: Some(label.trim().into()), ..SessionFilter::default() };
    let rows = shared.store.sessions(filter).await.map_err(|error| store_failed(&error))?;
    Ok(rows.into_iter().next().map(|row| row.key))
}

pub(in crate::methods) async fn describe(shared: &Shared, call: &Call) -> Outcome {
    let params: DescribeParams = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let row = shared.store.session(&key).await.map_err(|error| store_failed(&error))?;
    let texts = SessionsListParams {
        include_derived_titles: params.include_derived_titles,
        include_last_message: params.include_last_message,
        ..SessionsListParams::default()
    };
    Ok(json!({"session": row.map(|row| shown(shared, row, &texts))}))
}
