//! `ledger.relay`: the owner's command line tells the book what it is about to do, while this gateway has it open.

use std::collections::BTreeMap;

use moltbot_policy::{Book as _, secret};
use moltbot_protocol::error::WireError;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome, not_recorded};
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Relay {
    action: String,
    target: String,
    #[serde(default)]
    details: BTreeMap<String, String>,
}

/// Answers with the line's number once it is on disk.
pub(super) async fn relay(shared: &Shared, call: &Call) -> Outcome {
    let Relay { action, target, details } = call.params()?;
    let entry = secret::relayed(&action, &target, &details, call.grant.actor()).ok_or_else(|| {
        WireError::invalid(
            "only acts on secrets, config, containers and sessions' folders, the sending of the book, the fetching of models, drills, scores and units of services are relayed to it",
        )
    })?;
    let entered = shared.ledger.enter_soon(vec![entry]).await;
    entered
        .map(|sequence| json!({ "sequence": sequence.first() }))
        .map_err(|unrecorded| not_recorded(&unrecorded))
}
