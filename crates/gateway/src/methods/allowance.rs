//! `allowance.*`: what each used today, and what the owner lets him use.

use moltbot_config::settings::OwnLimits;
use moltbot_policy::allowance::Holder;
use moltbot_protocol::error::WireError;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};
use crate::allowances::AllowanceError;
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Listing {
    #[serde(default)]
    who: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    who: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limiting {
    who: String,
    /// Without any, those of the config hold again.
    limits: OwnLimits,
}

pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    let Listing { who } = call.params()?;
    let who = who.as_deref().map(holder).transpose()?;
    Ok(shared.allowances.list(who.as_ref()))
}

pub(super) async fn reset(shared: &Shared, call: &Call) -> Outcome {
    let Named { who } = call.params()?;
    let reset = shared.allowances.reset(holder(&who)?, &call.grant).await;
    reset.map_err(|error| failed(&error))
}

pub(super) async fn set(shared: &Shared, call: &Call) -> Outcome {
    let Limiting { who, limits } = call.params()?;
    let set = shared.allowances.set(holder(&who)?, limits, &call.grant).await;
    set.map_err(|error| failed(&error))
}

fn holder(text: &str) -> Result<Holder, WireError> {
    Holder::parse(text).map_err(|refusal| WireError::invalid(refusal.message))
}

fn failed(error: &AllowanceError) -> WireError {
    match error {
        AllowanceError::Refused(refusal) => {
            WireError::invalid(refusal.message.clone()).with_details(json!({"code": refusal.code}))
        }
        AllowanceError::Store(_) | AllowanceError::Unrecorded(_) => {
            tracing::error!(%error, "an allowance could not be changed");
            WireError::unavailable("this is not possible now: it cannot be recorded or kept")
        }
    }
}
