//! `clients.*`: who is signed in, ending that, and taking up a changed credential.

use moltbot_policy::authentication::Credential;
use moltbot_policy::clients::{EndPermit, ReloadPermit};
use moltbot_policy::record_soon;
use moltbot_protocol::error::WireError;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome, not_recorded};
use crate::shared::{Shared, not_taken_up};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kill {
    /// One session.
    #[serde(default)]
    id: Option<String>,
    /// All but the one that asks.
    #[serde(default)]
    all: bool,
}

pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(shared.clients.list(&call.session))
}

/// Ends one session, or all but the own one. Turns that were accepted go on; nothing more is told or taken.
pub(super) async fn kill(shared: &Shared, call: &Call) -> Outcome {
    let id = match call.params()? {
        Kill { id: Some(id), all: false } => Some(id),
        Kill { id: None, all: true } => None,
        Kill { .. } => {
            return Err(WireError::invalid("invalid clients.kill params: give either `id` or `all: true`"));
        }
    };
    let (ids, whose): (Vec<String>, Vec<String>) =
        shared.clients.find(id.as_deref(), &call.session).into_iter().unzip();
    if id.is_some() && ids.is_empty() {
        return Err(WireError::invalid("no client has a session with that id; see clients.list"));
    }
    let permit = EndPermit::by(&call.grant, &ids, whose);
    let permit = permit.map_err(|refusal| WireError::invalid(refusal.message))?;
    drop(record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?);
    shared.clients.end(&ids);
    Ok(json!({"ended": ids}))
}

/// Reads the gateway's own credential anew. What another one opened ends when this is answered.
pub(super) async fn reload(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let credential = Credential::from_config(&shared.config_now().await?.gateway.auth);
    let credential = credential.map_err(|error| not_taken_up(&error.to_string()))?;
    let (changed, method) = shared.sign_in.compare(&credential);
    let permit = ReloadPermit::by(&call.grant, method, changed);
    let permit = permit.map_err(|refusal| WireError::invalid(refusal.message))?;
    drop(record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?);
    if changed {
        shared.sign_in.replace(credential).await;
    }
    Ok(json!({"changed": changed, "credential": method}))
}
