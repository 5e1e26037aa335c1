//! What the model may call: `read`, `write`, `edit`, `apply_patch`, `exec`, `process` and `session_status`, and the way each
//! takes to its door.
//!
//! A call is read strictly, judged by `policy`, entered into the book, and only then acted on. Whatever goes
//! wrong on that way is the call's result, told to the model as an error; a refusal is entered as well.

mod apply_patch;
mod arguments;
mod edit;
mod exec;
mod output;
mod process;
mod read;
mod rules;
mod session_status;
mod write;

pub(crate) use output::visible;
pub(crate) use rules::RulesSource;

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moltbot_config::{Config, limits};
use moltbot_ledger::Ledger;
use moltbot_policy::cause::{Cause, Tool};
use moltbot_policy::file::{self, FileAct, FilePermit};
use moltbot_policy::incident::{Incident, Response};
use moltbot_policy::profile::WorkspaceAccess;
use moltbot_policy::{Book, Decision, Entry, Recorded, Refusal, record_soon};
use moltbot_protocol::message::ThinkingLevel;
use moltbot_sandbox::Sandbox;
use moltbot_vault::Workspace;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::approvals::Approvals;
use crate::model::ToolSpec;
use crate::processes::{Later, Processes};
use crate::status::StatusSource;

fn spec(tool: &Tool, may_leave: exec::MayLeave, background: exec::Background) -> ToolSpec {
    match tool {
        Tool::ApplyPatch => apply_patch::spec(),
        Tool::Edit => edit::spec(),
        Tool::Exec => exec::spec(may_leave, background),
        Tool::Process => process::spec(),
        Tool::Read => read::spec(),
        Tool::SessionStatus => session_status::spec(),
        Tool::Write => write::spec(),
    }
}

/// The tools of one turn, with everything that they act on.
pub(crate) struct Toolbox {
    pub(crate) config: Arc<Config>,
    pub(crate) ledger: Ledger,
    pub(crate) sandbox: Sandbox,
    pub(crate) workspace: Workspace,
    /// What commands may do.
    pub(crate) rules: RulesSource,
    /// What the session may do with it.
    pub(crate) access: WorkspaceAccess,
    /// The turn: who caused it decides which tools it has.
    pub(crate) cause: Cause,
    /// Who asks the owner about commands.
    pub(crate) approvals: Option<Arc<dyn Approvals>>,
    /// The owner's home, for commands outside the sandbox.
    pub(crate) home: PathBuf,
    /// Cancelled when the turn ends before its time; kills a running command.
    pub(crate) stop: CancellationToken,
    /// The commands that turns have started.
    pub(crate) processes: Processes,
    /// Who has what follows from an incident done when the turn has ended; without it no command outlives the turn.
    pub(crate) later: Option<Later>,
    /// What is known of the session.
    pub(crate) status: StatusSource,
    /// What the turn alone was told to think.
    pub(crate) thinking: Option<ThinkingLevel>,
    /// The first high incident: the turn ends with it.
    pub(crate) incident: OnceLock<Incident>,
}

/// What a tool call came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ToolResult {
    /// What the model is told.
    pub(crate) text: String,
    /// Whether it is an error.
    pub(crate) is_error: bool,
}

impl ToolResult {
    fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: false }
    }

    fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true }
    }

    /// The result of a call that did not end in time after its turn was stopped.
    pub(crate) fn stopped() -> Self {
        Self::error("the turn was stopped while this was running; its outcome is unknown")
    }
}

impl Toolbox {
    /// Notes what the turn's owner must know. It is in the book already; a high one ends the turn once the call that it
    /// is about has its result.
    fn incident(&self, incident: Incident) {
        let Incident { severity, what } = &incident;
        tracing::warn!(
            actor = self.cause.actor(),
            severity = severity.name(),
            what,
            "an attempt was stopped"
        );
        if incident.response() == Response::Quarantine {
            self.incident.get_or_init(|| incident);
        }
    }

    /// What a model is offered: every tool that the turn has.
    pub(crate) fn offered(&self) -> Vec<ToolSpec> {
        let (leaves, background) = (exec::may_leave(self), exec::background(self));
        self.cause.tools().iter().map(|tool| spec(tool, leaves, background)).collect()
    }

    /// Does what a call asks for. Never fails: what goes wrong is the result.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> ToolResult {
        let done = match Tool::ALL.into_iter().find(|tool| tool.name() == name) {
            Some(tool) if !self.cause.tools().contains(&tool) => Err(self.refuse_tool(tool).await),
            Some(Tool::ApplyPatch) => apply_patch::run(self, arguments).await,
            Some(Tool::Edit) => edit::run(self, arguments).await,
            Some(Tool::Exec) => Box::pin(exec::run(self, arguments)).await,
            Some(Tool::Process) => process::run(self, arguments).await,
            Some(Tool::Read) => read::run(self, arguments).await,
            Some(Tool::SessionStatus) => session_status::run(self, arguments).await,
            Some(Tool::Write) => write::run(self, arguments).await,
            None => Err(self.unknown(name)),
        };
        done.unwrap_or_else(ToolResult::error)
    }

    fn unknown(&self, name: &str) -> String {
        let name = output::visible(output::beginning(name, 64));
        let names: Vec<String> = self.cause.tools().iter().map(|tool| format!("`{}`", tool.name())).collect();
        if names.is_empty() {
            return format!("there is no tool `{name}`, and none at all; answer without tools");
        }
        format!("there is no tool `{name}`; there are {}", names.join(", "))
    }

    /// Enters the call of a tool that the turn does not have. A model that asks for one may be obeying what came from
    /// outside.
    async fn refuse_tool(&self, tool: Tool) -> String {
        if let Err(refusal) = self.cause.require(&[tool]) {
            self.refuse("tool.call", tool.name(), &refusal).await;
        }
        self.unknown(tool.name())
    }

    /// How long a command of the background can be asked for after its end.
    fn kept_for(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.tools.exec.cleanup_ms))
    }

    /// Reads a whole file: judged, recorded, opened beneath the workspace.
    async fn read_file(&self, path: &str) -> Result<Vec<u8>, String> {
        self.read_bytes(path, limits::TOOL_FILE_BYTES).await
    }

    /// The same, of a file of `max` bytes at most.
    pub(crate) async fn read_bytes(&self, path: &str, max: u64) -> Result<Vec<u8>, String> {
        let permit = self.permit_file(FileAct::Read, path).await?;
        let workspace = self.workspace.clone();
        let read = spawn_blocking(move || workspace.read(permit, max)).await;
        read.map_err(|_| stopped())?.map_err(|error| sentence(&error))
    }

    /// Reads a whole file as text.
    async fn read_text(&self, path: &str) -> Result<String, String> {
        let bytes = self.read_file(path).await?;
        let size = bytes.len();
        let binary = || {
            format!(
                "{path:?} is not a text file ({size} bytes); look at it with a command such as `file` or `xxd`"
            )
        };
        if bytes.contains(&0) {
            return Err(binary());
        }
        String::from_utf8(bytes).map_err(|_| binary())
    }

    /// Writes a whole file: judged, recorded, replaced at once.
    async fn write_file(&self, path: &str, text: String) -> Result<(), String> {
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if size > limits::TOOL_FILE_BYTES {
            let most = limits::TOOL_FILE_BYTES;
            return Err(format!("the text has {size} bytes and a file may have {most}; split it"));
        }
        let permit = self.permit_file(FileAct::Write, path).await?;
        let workspace = self.workspace.clone();
        let written = spawn_blocking(move || workspace.write(permit, text.as_bytes())).await;
        written.map_err(|_| stopped())?.map_err(|error| sentence(&error))
    }

    async fn permit_file(&self, act: FileAct, path: &str) -> Result<Recorded<FilePermit>, String> {
        let permit = match file::judge(act, path, &self.cause) {
            Ok(permit) => permit,
            Err(refusal) => {
                return Err(self.refuse(act.action(), path, &refusal).await);
            }
        };
        record_soon(permit, &self.ledger).await.map_err(|unrecorded| sentence(&unrecorded))
    }

    /// Enters a refusal and gives its sentence. The act is refused whether or not it can be entered.
    async fn refuse(&self, action: &'static str, target: &str, refusal: &Refusal) -> String {
        self.refuse_with(action, target, refusal, |entry| entry).await
    }

    /// The same, with more to say in the book.
    async fn refuse_with(
        &self,
        action: &'static str,
        target: &str,
        refusal: &Refusal,
        tell: impl FnOnce(Entry) -> Entry,
    ) -> String {
        let target = output::beginning(target, limits::COMMAND_BYTES);
        let entry = Entry::new(self.cause.actor(), action, target, Decision::Refused);
        let entry = self.cause.tell(entry).with("code", refusal.code).with("reason", refusal.message.clone());
        let entry = tell(entry);
        if let Err(error) = self.ledger.enter_soon(vec![entry]).await {
            tracing::error!(%error, action, "a refusal could not be recorded");
        }
        refusal.message.clone()
    }
}

/// An error and its causes as one sentence.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// What a call is told whose thread ended: the program is stopping.
fn stopped() -> String {
    "the tool could not run because the gateway is stopping".into()
}

/// A schema of an object with these members, of which `required` must be there.
fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_names_what_must_be_there() {
        for tool in Tool::ALL.iter().map(|tool| spec(tool, exec::MayLeave::Yes, exec::Background::Yes)) {
            let required = tool.parameters["required"].as_array().unwrap();
            let asks_nothing = tool.name == "session_status";
            assert_eq!(required.is_empty(), asks_nothing, "tool {}", tool.name);
            for name in required {
                assert!(
                    tool.parameters["properties"][name.as_str().unwrap()].is_object(),
                    "tool {}",
                    tool.name
                );
            }
        }
    }
}
