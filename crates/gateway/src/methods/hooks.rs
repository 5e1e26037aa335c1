//! `hooks.reload`: hooks are answered by the config as it is now.

use moltbot_policy::clients::HooksPermit;
use moltbot_policy::record_soon;
use moltbot_protocol::error::WireError;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome, not_recorded};
use crate::hooks::Hooks;
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Takes up the hooks of the config. What another key would have let in is refused when this is answered.
pub(super) async fn reload(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let config = shared.config_now().await?;
    let hooks = Hooks::of(&config).map_err(|error| WireError::invalid(error.to_string()))?;
    if let Some(place) = hooks.as_ref().and_then(|hooks| shared.channels.covered_by(hooks)) {
        let message =
            format!("the webhook of {place} is below hooks.path; choose another path for one of them");
        return Err(WireError::invalid(message));
    }
    let count = hooks.as_ref().map(Hooks::count);
    let permit =
        HooksPermit::by(&call.grant, count).map_err(|refusal| WireError::invalid(refusal.message))?;
    drop(record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?);
    shared.replace_hooks(hooks);
    Ok(json!({"enabled": count.is_some(), "hooks": count.unwrap_or_default()}))
}
