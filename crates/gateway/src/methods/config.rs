//! `config.get`: the config as it is written, without its secrets.

use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) fn get(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
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
