//! `session_status`: what is set of the conversation, what it used, and the walls around it. Changes nothing.

use moltbot_policy::{Book as _, Decision, Entry};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object, sentence, stopped};
use crate::model::ToolSpec;

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: "session_status",
        description: "Tell the model, thinking level, tokens, cost and sandbox of this conversation. Changes nothing.",
        parameters: object(&json!({}), &[]),
    }
}

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    Arguments::of("session_status", arguments)?.finish()?;
    let session = tools.cause.session();
    let entry = Entry::new(tools.cause.actor(), "session.status", session.as_str(), Decision::Allowed);
    let (entry, ledger) = (tools.cause.tell(entry), tools.ledger.clone());
    let entered = spawn_blocking(move || ledger.enter(entry)).await;
    entered.map_err(|_| stopped())?.map_err(|unrecorded| sentence(&unrecorded))?;
    let told = tools.status.tell(session, tools.thinking).await;
    told.map(ToolResult::done).map_err(|error| sentence(&error))
}
