//! `pairing.*` and `senders.*`: who asks to be let in, who was decided about, and the decisions.

use moltbot_policy::senders::pairing::POWERS;
use moltbot_protocol::error::{ErrorCode, WireError};
use moltbot_protocol::event;
use moltbot_protocol::sender::SenderId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome};
use crate::devices::Decider;
use crate::senders::SenderError;
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    channel: String,
    /// A code, or a sender's id.
    code: String,
    #[serde(default)]
    acknowledge: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sender {
    sender: String,
}

pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(shared.senders.list())
}

pub(super) async fn approve(shared: &Shared, call: &Call) -> Outcome {
    let Request { channel, code, acknowledge } = call.params()?;
    let who = Decider::Client(&call.grant);
    let answer = shared.senders.approve(&channel, &code, acknowledge.as_deref(), who).await;
    let answer = answer.map_err(|error| failed(&error))?;
    resolved(shared, &answer, "approved");
    Ok(answer)
}

pub(super) async fn reject(shared: &Shared, call: &Call) -> Outcome {
    let Request { channel, code, acknowledge } = call.params()?;
    if acknowledge.is_some() {
        return Err(WireError::invalid("invalid pairing.reject params: a refusal is not acknowledged"));
    }
    let answer = shared.senders.reject(&channel, &code, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    resolved(shared, &answer, "rejected");
    Ok(answer)
}

pub(super) async fn revoke(shared: &Shared, call: &Call) -> Outcome {
    let sender = sender(call)?;
    let answer = shared.senders.revoke(&sender, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    shut_out(shared, &sender, &answer, "revoked");
    Ok(answer)
}

pub(super) async fn block(shared: &Shared, call: &Call) -> Outcome {
    let sender = sender(call)?;
    let answer = shared.senders.block(&sender, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    shut_out(shared, &sender, &answer, "blocked");
    Ok(answer)
}

pub(super) async fn unblock(shared: &Shared, call: &Call) -> Outcome {
    let answer = shared.senders.unblock(&sender(call)?, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    resolved(shared, &answer, "unblocked");
    Ok(answer)
}

/// What the sender has running ends; what waits to be sent to him is dropped when its turn comes.
pub(crate) fn shut_out(shared: &Shared, sender: &SenderId, answer: &Value, decision: &str) {
    shared.inbound.abort_sender(sender);
    shared.channels.wake(sender.channel(), sender.account());
    resolved(shared, answer, decision);
}

/// Tells those who decide that somebody did.
pub(crate) fn resolved(shared: &Shared, answer: &Value, decision: &str) {
    let payload = json!({"sender": answer.get("sender"), "decision": decision, "ts": shared.now_ms()});
    shared.hub.broadcast_to_approvers(event::PAIRING_RESOLVED, &payload);
}

fn sender(call: &Call) -> Result<SenderId, WireError> {
    let Sender { sender } = call.params()?;
    SenderId::parse(&sender).map_err(|error| WireError::invalid(error.to_string()))
}

/// The error that a client sees. One that asks for the acknowledgement says who it is about and what he could do.
fn failed(error: &SenderError) -> WireError {
    match error {
        SenderError::Acknowledge { refusal, sender, name } => {
            let details = json!({
                "code": refusal.code, "sender": sender, "channel": sender.channel(), "name": name, "powers": POWERS,
            });
            WireError::invalid(refusal.message.clone()).with_details(details)
        }
        SenderError::Refused(refusal) if refusal.code == "too_many_codes" => {
            WireError::new(ErrorCode::RateLimited, refusal.message.clone())
        }
        SenderError::Refused(refusal) => {
            WireError::invalid(refusal.message.clone()).with_details(json!({"code": refusal.code}))
        }
        SenderError::Import { .. }
        | SenderError::Random(_)
        | SenderError::Store(_)
        | SenderError::Unrecorded(_) => {
            tracing::error!(%error, "a sender could not be changed");
            WireError::unavailable("this is not possible now: it cannot be recorded or kept")
        }
    }
}
