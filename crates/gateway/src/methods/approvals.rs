//! `exec.approval.*` and `exec.approvals.*`: commands that wait for a yes, and what the owner keeps about commands.

use std::sync::{Arc, Weak};

use moltbot_policy::approval::{ApprovalId, Approver, Choice, Question};
use moltbot_policy::shown::in_one_line;
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome, locked_down, not_recorded, session};
use crate::approvals::{ApprovalError, Messenger, Notice, Reached, Revision};
use crate::shared::Shared;

/// Bytes of a command that a client asks about.
const COMMAND_BYTES: usize = 64 * 1024;
/// How the owner answers in a chat.
const APPROVE: &str = "/approve";
const USAGE: &str = "write `/approve <id> allow-once`, `allow-session`, `allow-always` or `deny`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Set {
    file: Value,
    #[serde(default)]
    base_hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resolve {
    id: String,
    decision: String,
}

/// What a client asks about. What it says of how strict to be, of where the program is and of the answer is read, so that
/// existing clients can ask, and believed in nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    command: String,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
}

pub(super) async fn get(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let approvals = shared.approvals.clone();
    blocking(move || approvals.kept()).await
}

pub(super) async fn set(shared: &Shared, call: &Call) -> Outcome {
    let Set { file, base_hash } = call.params()?;
    let (approvals, actor) = (shared.approvals.clone(), call.grant.actor().to_owned());
    let set = move || {
        let base = base_hash.as_deref().map_or(Revision::None, Revision::Hash);
        approvals.set(file, base, &actor)
    };
    blocking(set).await
}

pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({"approvals": shared.approvals.list()}))
}

pub(super) async fn resolve(shared: &Shared, call: &Call) -> Outcome {
    let Resolve { id, decision } = call.params()?;
    let id = decide(shared, call, &id, &decision).await?;
    Ok(json!({"ok": true, "id": id.as_str()}))
}

/// Waits for the answer. It opens nothing here: what the client does with it is its own affair.
pub(super) async fn request(shared: &Shared, call: &Call) -> Outcome {
    let Request { command, cwd, session_key } = call.params()?;
    if command.trim().is_empty() || command.len() > COMMAND_BYTES {
        return Err(WireError::invalid("invalid exec.approval.request params: command is empty or too long"));
    }
    let session = session_key.as_deref().map(|key| session(shared, key)).transpose()?;
    let question = Question::of_client(command, cwd.unwrap_or_default(), session, &call.session);
    let asked_ms = shared.now_ms();
    let answered = shared.approvals.ask_about(Arc::new(question)).await;
    let decision = match &answered {
        Ok(permit) => json!(permit.permit().choice().name()),
        Err(why) => {
            tracing::info!(why, "a client's question got no answer");
            Value::Null
        }
    };
    let id = answered.as_ref().ok().map(|permit| permit.permit().id().to_string());
    Ok(json!({"id": id, "decision": decision, "createdAtMs": asked_ms, "expiresAtMs": shared.now_ms()}))
}

async fn decide(shared: &Shared, call: &Call, id: &str, decision: &str) -> Result<ApprovalId, WireError> {
    let choice = Choice::parse(decision).ok_or_else(|| {
        WireError::invalid("decision must be allow-once, allow-session, allow-always or deny")
    })?;
    let by = Approver::Client { grant: &call.grant, connection: &call.session };
    shared.approvals.decide(id, choice, by).await.map_err(|error| failed(&error))
}

/// Does what a message of the owner says that is an answer and no message for the agent; the words to show for it. Nothing
/// for any other message.
pub(super) async fn by_text(
    shared: &Shared,
    call: &Call,
    message: &str,
) -> Option<Result<String, WireError>> {
    let mut words = message.split_whitespace();
    if words.next() != Some(APPROVE) {
        return None;
    }
    let (Some(id), Some(decision), None) = (words.next(), words.next(), words.next()) else {
        return Some(Err(WireError::invalid(USAGE)));
    };
    let decided = decide(shared, call, id, decision).await;
    Some(decided.map(|id| format!("{id}: {}", in_one_line(decision))))
}

async fn blocking(work: impl FnOnce() -> Result<Value, ApprovalError> + Send + 'static) -> Outcome {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| WireError::unavailable(error.to_string()))?.map_err(|error| failed(&error))
}

fn failed(error: &ApprovalError) -> WireError {
    match error {
        ApprovalError::File(_) => WireError::invalid(error.to_string()),
        ApprovalError::LockedDown => locked_down(),
        ApprovalError::Random(_) => WireError::unavailable(error.to_string()),
        ApprovalError::Refused(refusal) => {
            WireError::invalid(refusal.message.clone()).with_details(json!({"code": refusal.code}))
        }
        ApprovalError::Unrecorded(unrecorded) => not_recorded(unrecorded),
    }
}

/// Tells the clients that may decide.
pub(crate) struct ToClients(Weak<Shared>);

impl ToClients {
    /// Tells the clients of this gateway from now on.
    pub(crate) fn begin(shared: &Arc<Shared>) {
        shared.approvals.tell_by(Arc::new(Self(Arc::downgrade(shared))));
    }
}

impl Messenger for ToClients {
    fn asked(&self, notice: &Notice) -> Reached {
        let Some(shared) = self.0.upgrade() else { return Reached::Nobody };
        if shared.hub.broadcast_to_deciders(event::EXEC_APPROVAL_REQUESTED, &notice.value()) == 0 {
            return Reached::Nobody;
        }
        Reached::Somebody
    }

    fn resolved(&self, id: &ApprovalId, choice: Option<Choice>, by: &str) {
        let Some(shared) = self.0.upgrade() else { return };
        let payload = json!({
            "id": id.as_str(), "decision": choice.map(Choice::name), "resolvedBy": by, "ts": shared.now_ms(),
        });
        shared.hub.broadcast_to_deciders(event::EXEC_APPROVAL_RESOLVED, &payload);
    }
}
