//! What clients ask of features that do not exist here: an answer in their shape that says that there is nothing.
//!
//! Parameters are read, so that a call that is wrong elsewhere is wrong here too.

use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Parameters of lists, of all generations. A list without entries is the same however it is filtered.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Listing {
    agent_id: Option<String>,
    compact: Option<bool>,
    delivery: Option<String>,
    enabled: Option<String>,
    include_args: Option<bool>,
    include_disabled: Option<bool>,
    last_run_status: Option<String>,
    limit: Option<u32>,
    offset: Option<u32>,
    provider: Option<String>,
    query: Option<String>,
    schedule_kind: Option<String>,
    scope: Option<String>,
    session_key: Option<String>,
    sort_by: Option<String>,
    sort_dir: Option<String>,
}

/// Jobs on a page at most.
const PAGE: u32 = 200;

/// No job runs at a set time.
pub(super) fn cron_list(call: &Call) -> Outcome {
    let listing: Listing = call.params()?;
    let limit = listing.limit.unwrap_or(PAGE).clamp(1, PAGE);
    Ok(json!({
        "jobs": [], "total": 0, "offset": 0, "limit": limit, "hasMore": false, "nextOffset": null,
        "snapshotRevision": "0",
    }))
}

/// Nothing runs jobs.
pub(super) fn cron_status(call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({"enabled": false, "storePath": null, "jobs": 0, "nextWakeAtMs": null}))
}

/// Plugins do not exist. The answer is the list itself, as clients expect it.
pub(super) fn plugin_approvals(call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!([]))
}

/// The agent asks nothing but in its replies.
pub(super) fn questions(call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({"questions": []}))
}

/// The agent has no skills.
pub(super) fn skills(call: &Call) -> Outcome {
    let _: Listing = call.params()?;
    Ok(json!({"skills": []}))
}

/// The agent suggests no tasks.
pub(super) fn task_suggestions(call: &Call) -> Outcome {
    let _: Listing = call.params()?;
    Ok(json!({"suggestions": []}))
}

/// Nothing is spoken.
pub(super) fn tts(call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({
        "enabled": false, "auto": "off", "provider": null, "fallbackProvider": null, "fallbackProviders": [],
    }))
}

/// Nothing listens for words.
pub(super) fn voicewake(call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({"triggers": []}))
}
