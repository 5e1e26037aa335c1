//! `config.get`: the config as it is written, without its secrets; for who does not administer it, that there is one.

use moltbot_protocol::scope::Scope;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) fn get(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    if call.grant.require(Scope::Admin).is_err() {
        return Ok(without_content());
    }
    let config = moltbot_config::redact(&shared.config_json);
    tracing::info!(actor = call.grant.actor(), "the config was shown");
    Ok(json!({
        "path": shared.config_path.to_string_lossy(),
        "exists": true,
        "raw": serde_json::to_string_pretty(&config).unwrap_or_default(),
        "parsed": config,
        "config": config,
        "valid": true,
        "issues": [],
        "warnings": [],
        "legacyIssues": [],
    }))
}

/// What clients ask for to see whether a gateway is well. A gateway that runs has a config, and it is valid.
fn without_content() -> serde_json::Value {
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
