//! `turns.stop` and `turns.resume`: the owner ends everything that runs, and lets it begin again.

use std::sync::Arc;

use moltbot_protocol::error::WireError;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};
use crate::shared::Shared;
use crate::stop;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Stops everything. Answers what it ended.
pub(super) async fn stop(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({"ok": true, "stopped": now(shared, call.grant.actor()).await?}))
}

/// Stops everything for `by`, and tells everybody.
pub(super) async fn now(shared: &Arc<Shared>, by: &str) -> Result<stop::StopFact, WireError> {
    let (gateway, by) = (Arc::clone(shared), by.to_owned());
    let fact = tokio::task::spawn_blocking(move || stop::stop(&gateway, &by)).await;
    let fact = fact.map_err(|error| WireError::unavailable(error.to_string()))?;
    stop::tell(shared).await;
    Ok(fact)
}

/// Goes on. Answers whether anything was stopped.
pub(super) async fn resume(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let (gateway, by) = (Arc::clone(shared), call.grant.actor().to_owned());
    let runtime = tokio::runtime::Handle::current();
    let resumed = tokio::task::spawn_blocking(move || {
        let _entered = runtime.enter();
        stop::resume(&gateway, &by).map_err(|error| moltbot_policy::with_causes(&error))
    });
    let resumed = resumed.await.unwrap_or_else(|error| Err(error.to_string()));
    let resumed = resumed.map_err(WireError::unavailable)?;
    stop::tell(shared).await;
    Ok(json!({"ok": true, "resumed": resumed}))
}
