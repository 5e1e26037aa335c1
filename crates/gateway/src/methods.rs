//! The methods, one file for each family.

mod absent;
pub(crate) mod agent;
mod allowance;
pub(crate) mod approvals;
mod channels;
mod chat;
mod clients;
mod config;
pub(crate) mod devices;
pub(crate) mod health;
mod heartbeats;
mod hooks;
mod inject;
mod ledger;
mod listing;
pub(crate) mod logs;
mod nodes;
pub(crate) mod senders;
pub(crate) mod sessions;
mod turns;
mod usage;

use std::sync::Arc;

use moltbot_agent::TurnReport;
use moltbot_channels::webchat::MessageError;
use moltbot_policy::authorization::Grant;
use moltbot_policy::{Refusal, Unrecorded};
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
use crate::nodes::OnDuty;
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
    /// Which node it is that calls, when it is one.
    pub(crate) node: Option<Arc<OnDuty>>,
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
    let outcome = if acts(call.method) && shared.ledger.lockdown().is_some() {
        Err(locked_down())
    } else {
        outcome(&shared, &call, &place).await
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

#[expect(clippy::too_many_lines, reason = "a table: one line for each method")]
async fn outcome(shared: &Arc<Shared>, call: &Call, place: &InFlight) -> Outcome {
    match call.method {
        Method::Agent => agent::run(shared, call, place).await,
        Method::AgentIdentityGet => listing::identity(shared, call),
        Method::AgentWait => agent::wait(shared, call).await,
        Method::AgentsList => listing::agents(shared, call),
        Method::AllowanceList => allowance::list(shared, call),
        Method::AllowanceReset => allowance::reset(shared, call).await,
        Method::AllowanceSet => allowance::set(shared, call).await,
        Method::ChannelsStatus => channels::status(shared, call),
        Method::ChatAbort => chat::abort(shared, call),
        Method::ChatHistory => chat::history(shared, call).await,
        Method::ChatInject => inject::inject(shared, call).await,
        Method::ChatSend => chat::send(shared, call).await,
        Method::ClientsKill => clients::kill(shared, call).await,
        Method::ClientsList => clients::list(shared, call),
        Method::ClientsReload => clients::reload(shared, call).await,
        Method::CommandsList => channels::commands(shared, call),
        Method::ConfigApply => config::apply(shared, call).await,
        Method::ConfigGet => config::get(shared, call).await,
        Method::ConfigPatch => config::patch(shared, call).await,
        Method::ConfigSchema => config::schema(shared, call),
        Method::ConfigSet => config::set(shared, call).await,
        Method::CronList => absent::cron_list(call),
        Method::CronStatus => absent::cron_status(call),
        Method::DevicePairApprove => devices::approve(shared, call).await,
        Method::DevicePairList => devices::list(shared, call),
        Method::DevicePairReject => devices::reject(shared, call).await,
        Method::DeviceTokenRevoke => devices::revoke(shared, call).await,
        Method::DeviceTokenRotate => devices::rotate(shared, call).await,
        Method::ExecApprovalList => approvals::list(shared, call),
        Method::ExecApprovalRequest => approvals::request(shared, call).await,
        Method::ExecApprovalResolve => approvals::resolve(shared, call).await,
        Method::ExecApprovalsGet => approvals::get(shared, call).await,
        Method::ExecApprovalsSet => approvals::set(shared, call).await,
        Method::Health => Ok(shared.health.current(shared).await.value().clone()),
        Method::HooksReload => hooks::reload(shared, call).await,
        Method::LastHeartbeat => heartbeats::last(shared, call),
        Method::LedgerRelay => ledger::relay(shared, call).await,
        Method::LogsTail => logs::tail(shared, call).await,
        Method::ModelsList => listing::models(shared, call),
        Method::ModelsScan => listing::scan_models(shared, call).await,
        Method::ModelsTest => listing::test_model(shared, call).await,
        Method::NodeDescribe => nodes::describe(shared, call),
        Method::NodeEvent => nodes::happened(shared, call),
        Method::NodeInvoke => nodes::invoke(shared, call).await,
        Method::NodeInvokeResult => nodes::result(call),
        Method::NodeList => nodes::list(shared, call),
        Method::NodePairApprove => nodes::approve(shared, call).await,
        Method::NodePairList => nodes::pairs(shared, call),
        Method::NodePairReject => nodes::reject(shared, call).await,
        Method::NodePairRequest => nodes::request(shared, call),
        Method::NodePairVerify => nodes::verify(shared, call),
        Method::NodeRename => nodes::rename(shared, call).await,
        Method::PairingApprove => senders::approve(shared, call).await,
        Method::PairingList | Method::SendersList => senders::list(shared, call),
        Method::PairingReject => senders::reject(shared, call).await,
        Method::PairingRevoke => senders::revoke(shared, call).await,
        Method::PluginApprovalList => absent::plugin_approvals(call),
        Method::QuestionList => absent::questions(call),
        Method::SendersBlock => senders::block(shared, call).await,
        Method::SendersUnblock => senders::unblock(shared, call).await,
        Method::SessionsCompact => sessions::compact(shared, call).await,
        Method::SessionsDelete => sessions::delete(shared, call).await,
        Method::SessionsDescribe => sessions::describe(shared, call).await,
        Method::SessionsImport => sessions::import(shared, call).await,
        Method::SessionsList => sessions::list(shared, call).await,
        Method::SessionsPatch => sessions::patch(shared, call).await,
        Method::SessionsPreview => sessions::preview(shared, call).await,
        Method::SessionsRelease => sessions::release(shared, call).await,
        Method::SessionsReset => sessions::reset(shared, call).await,
        Method::SessionsResolve => sessions::resolve(shared, call).await,
        Method::SessionsSubscribe => sessions::subscribe(call, place),
        Method::SetHeartbeats => heartbeats::set(shared, call).await,
        Method::SkillsBins => nodes::bins(call),
        Method::SkillsStatus => absent::skills(call),
        Method::Status => Ok(shared.health.current(shared).await.status().clone()),
        Method::SystemEvent => heartbeats::event(shared, call).await,
        Method::SystemPresence => listing::presence(shared, call),
        Method::TaskSuggestionsList => absent::task_suggestions(call),
        Method::TtsStatus => absent::tts(call),
        Method::TurnsResume => turns::resume(shared, call).await,
        Method::TurnsStop => turns::stop(shared, call).await,
        Method::UsageCost => usage::cost(shared, call).await,
        Method::UsageStatus => usage::status(shared, call),
        Method::VoicewakeGet => absent::voicewake(call),
        Method::Wake => heartbeats::wake(shared, call).await,
    }
}

/// Reads a session key, and sees that its agent exists.
fn session(shared: &Shared, key: &str) -> Result<SessionKey, WireError> {
    let session = SessionKey::parse(key, &shared.default_agent())
        .map_err(|error| WireError::invalid(error.to_string()))?;
    known_agent(shared, &session.agent())?;
    Ok(session)
}

/// The session that a key names, for an agent when the client names one besides.
fn session_of(shared: &Shared, key: &str, agent: Option<&str>) -> Result<SessionKey, WireError> {
    let Some(agent) = agent else { return session(shared, key) };
    let agent = agent_named(shared, agent)?;
    let session = SessionKey::parse(key, &agent).map_err(|error| WireError::invalid(error.to_string()))?;
    if session.agent() == agent {
        return Ok(session);
    }
    Err(WireError::invalid(format!("session {session} is not of agent {}", agent.as_str())))
}

/// The agent of that id, which must exist.
fn agent_named(shared: &Shared, id: &str) -> Result<AgentId, WireError> {
    let agent = AgentId::parse(id).map_err(|error| WireError::invalid(error.to_string()))?;
    known_agent(shared, &agent)?;
    Ok(agent)
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
        InboundError::Elsewhere(_) | InboundError::Reused => WireError::invalid(error.to_string()),
        InboundError::LockedDown => locked_down(),
        InboundError::Spent(spent) => {
            WireError::new(ErrorCode::RateLimited, spent.to_string()).with_details(spent.details())
        }
        InboundError::Quarantined(refusal) => quarantined(refusal),
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

/// What whoever writes in a session is answered that is in quarantine.
fn quarantined(refusal: &Refusal) -> WireError {
    WireError::unavailable(refusal.message.clone()).with_details(json!({"code": refusal.code}))
}

/// What whoever asks for an act is answered while the book has a change that the owner has not looked at.
fn locked_down() -> WireError {
    WireError::new(ErrorCode::Unavailable, LOCKED_DOWN).with_details(json!({"code": LOCKED_DOWN_CODE}))
}

/// Whether a method does something that is refused while the gateway is locked down. What only reads goes on, so that
/// the owner can look; an act on secrets or the config is the owner's own, at the gateway's machine.
#[expect(clippy::too_many_lines, reason = "a table that is only a table")]
const fn acts(method: Method) -> bool {
    match method {
        Method::Agent
        | Method::AllowanceReset
        | Method::AllowanceSet
        | Method::ChatInject
        | Method::ChatSend
        | Method::ConfigApply
        | Method::ConfigPatch
        | Method::ConfigSet
        | Method::DevicePairApprove
        | Method::DeviceTokenRotate
        | Method::ExecApprovalRequest
        | Method::ExecApprovalsSet
        | Method::ModelsScan
        | Method::ModelsTest
        | Method::NodeInvoke
        | Method::NodePairApprove
        | Method::NodeRename
        | Method::PairingApprove
        | Method::SendersUnblock
        | Method::SessionsCompact
        | Method::SessionsDelete
        | Method::SessionsImport
        | Method::SessionsPatch
        | Method::SessionsRelease
        | Method::SessionsReset
        | Method::SystemEvent
        | Method::TurnsResume
        | Method::Wake => true,
        Method::AgentIdentityGet
        | Method::AgentWait
        | Method::AgentsList
        | Method::AllowanceList
        | Method::ChannelsStatus
        | Method::ChatAbort
        | Method::ChatHistory
        | Method::ClientsList
        | Method::CommandsList
        | Method::ConfigGet
        | Method::ConfigSchema
        | Method::CronList
        | Method::CronStatus
        | Method::DevicePairList
        // What takes rights away goes on: it may be the answer to what happened.
        | Method::ClientsKill
        | Method::ClientsReload
        | Method::HooksReload
        | Method::DevicePairReject
        | Method::DeviceTokenRevoke
        | Method::PairingReject
        | Method::PairingRevoke
        | Method::SendersBlock
        | Method::ExecApprovalList
        // A no goes on; a yes is refused by itself.
        | Method::ExecApprovalResolve
        | Method::ExecApprovalsGet
        | Method::TurnsStop
        | Method::Health
        | Method::LastHeartbeat
        | Method::LedgerRelay
        | Method::LogsTail
        | Method::ModelsList
        | Method::NodeDescribe
        | Method::NodeEvent
        // It may be the answer to what was asked before.
        | Method::NodeInvokeResult
        | Method::NodeList
        | Method::NodePairList
        | Method::NodePairReject
        | Method::NodePairRequest
        | Method::NodePairVerify
        | Method::PairingList
        | Method::PluginApprovalList
        | Method::QuestionList
        | Method::SendersList
        | Method::SessionsDescribe
        | Method::SessionsList
        | Method::SessionsPreview
        | Method::SessionsResolve
        | Method::SessionsSubscribe
        // A look is a turn, which is refused by itself.
        | Method::SetHeartbeats
        | Method::SkillsBins
        | Method::SkillsStatus
        | Method::Status
        | Method::SystemPresence
        | Method::TaskSuggestionsList
        | Method::TtsStatus
        | Method::UsageCost
        | Method::UsageStatus
        | Method::VoicewakeGet => false,
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
