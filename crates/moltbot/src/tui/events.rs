//! What the gateway tells, as far as it is shown.

use moltbot_protocol::event;
use moltbot_protocol::frame::EventFrame;
use serde_json::Value;

use super::conversation::text_of;
use super::questions::Question;

/// Something that the gateway tells.
#[derive(Debug)]
pub(super) enum Told {
    /// A command waits for a yes.
    Asked(Question),
    /// A run goes on or ends.
    Chat { run: String, session: String, state: Chat },
    /// Nothing that is shown.
    Other,
    /// A command does not wait any more: its id, and the answer.
    Resolved { id: String, decision: String },
    /// The gateway stops.
    Shutdown,
    /// A run has begun.
    Started { run: String, session: String },
    /// A tool begins or ends.
    Tool { session: String, id: String, tool: ToolEvent },
}

/// How a run goes on.
#[derive(Debug)]
pub(super) enum Chat {
    /// It was stopped.
    Aborted,
    /// More words; all of them so far.
    Delta(String),
    /// It failed.
    Error(String),
    /// It has ended, with these words.
    Final(String),
}

/// How a tool goes on.
#[derive(Debug)]
pub(super) enum ToolEvent {
    /// It begins: its name and arguments.
    Began(String, Value),
    /// It has ended: whether it failed, and what it brought where that is told.
    Ended(bool, Option<String>),
}

/// Reads an event.
pub(super) fn read(frame: &EventFrame) -> Told {
    let Some(payload) = &frame.payload else { return Told::Other };
    match frame.event.as_str() {
        event::AGENT => agent(payload),
        event::CHAT => chat(payload),
        event::EXEC_APPROVAL_REQUESTED => Question::read(payload).map_or(Told::Other, Told::Asked),
        event::EXEC_APPROVAL_RESOLVED => {
            Told::Resolved { id: owned(payload, "id"), decision: owned(payload, "decision") }
        }
        event::SHUTDOWN => Told::Shutdown,
        _ => Told::Other,
    }
}

fn agent(payload: &Value) -> Told {
    let (run, session) = (owned(payload, "runId"), owned(payload, "sessionKey"));
    let Some(data) = payload.get("data") else { return Told::Other };
    let id = owned(data, "toolCallId");
    match (text_of(payload, "stream"), text_of(data, "phase")) {
        ("lifecycle", "start") => Told::Started { run, session },
        ("tool", "start") => {
            let arguments = data.get("args").cloned().unwrap_or_default();
            Told::Tool { session, id, tool: ToolEvent::Began(owned(data, "name"), arguments) }
        }
        ("tool", "result") => {
            let failed = data.get("isError") == Some(&Value::Bool(true));
            let result = data.get("result").map(|result| match result {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            Told::Tool { session, id, tool: ToolEvent::Ended(failed, result) }
        }
        _ => Told::Other,
    }
}

fn chat(payload: &Value) -> Told {
    let text = payload.pointer("/message/content/0/text").and_then(Value::as_str).unwrap_or_default();
    let state = match text_of(payload, "state") {
        "aborted" => Chat::Aborted,
        "delta" => Chat::Delta(text.to_owned()),
        "error" => Chat::Error(owned(payload, "errorMessage")),
        "final" => Chat::Final(text.to_owned()),
        _ => return Told::Other,
    };
    Told::Chat { run: owned(payload, "runId"), session: owned(payload, "sessionKey"), state }
}

fn owned(value: &Value, name: &str) -> String {
    text_of(value, name).to_owned()
}
