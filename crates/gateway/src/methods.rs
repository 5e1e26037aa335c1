//! The methods, one file for each family.

pub(crate) mod agent;
mod chat;
mod clients;
mod config;
pub(crate) mod devices;
pub(crate) mod health;
mod ledger;
mod listing;
mod sessions;

use std::sync::Arc;

use moltbot_agent::TurnReport;
use moltbot_channels::webchat::MessageError;
use moltbot_policy::Unrecorded;
use moltbot_policy::authorization::Grant;
use moltbot_protocol::error::{ErrorCode, WireError};
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::StopReason;
use moltbot_protocol::method::Method;
use moltbot_store::StoreError;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::dispatch::{failure, success};
use crate::inbound::InboundError;
use crate::outbox::InFlight;
use crate::shared::{LOCKED_DOWN, LOCKED_DOWN_CODE, Shared, UNRECORDED_CODE};

/// A request whose sender may make it.
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) grant: Arc<Grant>,
    /// The id of the session that it came in.
    pub(crate) session: Arc<str>,
}

impl Call {
    /// The parameters as `T`; absent ones read as an empty object.
    fn params<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        let text = self.params.as_deref().map_or("{}", RawValue::get);
        let name = self.method.name();
        serde_json::from_str(text)
            .map_err(|error| WireError::invalid(format!("invalid {name} params: {error}")))
    }
}

type Outcome = Result<Value, WireError>;

/// Answers a request.
pub(crate) async fn answer(shared: Arc<Shared>, call: Call, place: InFlight) {
    let outcome = match call.method {
        method if acts(method) && shared.ledger.lockdown().is_some() => Err(locked_down()),
        Method::Agent => agent::run(&shared, &call, &place).await,
        Method::AgentWait => agent::wait(&shared, &call).await,
        Method::AgentsList => listing::agents(&shared, &call),
        Method::ChatAbort => chat::abort(&shared, &call),
        Method::ChatHistory => chat::history(&shared, &call).await,
        Method::ChatSend => chat::send(&shared, &call).await,
        Method::ClientsKill => clients::kill(&shared, &call).await,
        Method::ClientsList => clients::list(&shared, &call),
        Method::ClientsReload => clients::reload(&shared, &call).await,
        Method::ConfigGet => config::get(&shared, &call),
        Method::DevicePairApprove => devices::approve(&shared, &call).await,
        Method::DevicePairList => devices::list(&shared, &call),
        Method::DevicePairReject => devices::reject(&shared, &call).await,
        Method::DeviceTokenRevoke => devices::revoke(&shared, &call).await,
        Method::DeviceTokenRotate => devices::rotate(&shared, &call).await,
        Method::Health => Ok(shared.health.current(&shared).await.value().clone()),
        Method::LedgerRelay => ledger::relay(&shared, &call).await,
        Method::ModelsList => listing::models(&shared, &call),
        Method::ModelsTest => listing::test_model(&shared, &call).await,
        Method::SessionsDelete => sessions::delete(&shared, &call).await,
        Method::SessionsList => sessions::list(&shared, &call).await,
        Method::SessionsPreview => sessions::preview(&shared, &call).await,
        Method::SessionsReset => sessions::reset(&shared, &call).await,
        Method::Status => Ok(shared.health.current(&shared).await.status().clone()),
    };
    place.answer(match outcome {
        Ok(payload) => success(&call.id, &payload.to_string()),
        Err(error) => failure(call.id.clone(), error),
    });
    // After the answer: whoever asked for it may be among those who are signed in by the old credential.
    if call.method == Method::ClientsReload {
        shared.clients.end_of_other_credentials(shared.sign_in.credential());
    }
}

/// Reads a session key, and sees that its agent exists.
fn session(shared: &Shared, key: &str) -> Result<SessionKey, WireError> {
    let session = SessionKey::parse(key, &shared.default_agent())
        .map_err(|error| WireError::invalid(error.to_string()))?;
    known_agent(shared, &session.agent())?;
    Ok(session)
}

/// Demands that the agent exists.
pub(crate) fn known_agent(shared: &Shared, id: &AgentId) -> Result<(), WireError> {
    let agents = shared.agent.agents();
    if agents.iter().any(|agent| agent.id == *id) {
        return Ok(());
    }
    let names: Vec<&str> = agents.iter().map(|agent| agent.id.as_str()).collect();
    Err(WireError::invalid(format!(
        "agent {id:?} does not exist; there is: {}",
        names.join(", "),
        id = id.as_str()
    )))
}

fn unusable(error: &MessageError) -> WireError {
    WireError::invalid(error.to_string())
}

fn not_kept(error: &InboundError) -> WireError {
    match error {
        InboundError::Store(error) => store_failed(error),
        InboundError::Elsewhere(_) => WireError::invalid(error.to_string()),
        InboundError::LockedDown => locked_down(),
        InboundError::Unrecorded(unrecorded) => not_recorded(unrecorded),
        InboundError::Broken | InboundError::Full | InboundError::Stopping => {
            WireError::unavailable(error.to_string())
        }
    }
}

/// What whoever asks for an act is answered that cannot be recorded.
fn not_recorded(unrecorded: &Unrecorded) -> WireError {
    WireError::unavailable(unrecorded.to_string()).with_details(json!({"code": UNRECORDED_CODE}))
}

/// What whoever asks for an act is answered while the book has a change that the owner has not looked at.
fn locked_down() -> WireError {
    WireError::new(ErrorCode::Unavailable, LOCKED_DOWN).with_details(json!({"code": LOCKED_DOWN_CODE}))
}

/// Whether a method does something that is refused while the gateway is locked down. What only reads goes on, so that
/// the owner can look; an act on secrets or the config is the owner's own, at the gateway's machine.
const fn acts(method: Method) -> bool {
    match method {
        Method::Agent
        | Method::ChatSend
        | Method::DevicePairApprove
        | Method::DeviceTokenRotate
        | Method::ModelsTest
        | Method::SessionsDelete
        | Method::SessionsReset => true,
        Method::AgentWait
        | Method::AgentsList
        | Method::ChatAbort
        | Method::ChatHistory
        | Method::ClientsList
        | Method::ConfigGet
        | Method::DevicePairList
        // What takes rights away goes on: it may be the answer to what happened.
        | Method::ClientsKill
        | Method::ClientsReload
        | Method::DevicePairReject
        | Method::DeviceTokenRevoke
        | Method::Health
        | Method::LedgerRelay
        | Method::ModelsList
        | Method::SessionsList
        | Method::SessionsPreview
        | Method::Status => false,
    }
}

fn store_failed(error: &StoreError) -> WireError {
    tracing::error!(%error, source = ?std::error::Error::source(error), "the store failed");
    WireError::unavailable(error.to_string())
}

/// Why the model stopped, in one word that clients know.
pub(crate) const fn stop_reason(report: &TurnReport) -> &'static str {
    match report.stop_reason {
        StopReason::Aborted => "aborted",
        StopReason::Error => "error",
        StopReason::Length => "length",
        StopReason::Stop => "stop",
        StopReason::ToolUse => "toolUse",
    }
}
