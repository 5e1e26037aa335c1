//! `exec`: runs a command in the sandbox, after the owner's yes where it needs one.
//!
//! Where the sandbox cannot run, the call is answered with the reason and what the owner can do; the command
//! does not run some other way.

mod approving;
mod running;

use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::approval::{Place, place_of};
use moltbot_policy::cause::Tool;
use moltbot_policy::command::{Command, CommandRequest, Refused, review};
use moltbot_policy::container::Backend;
use moltbot_policy::incident::Incident;
use moltbot_policy::profile::Profile;
use moltbot_policy::{Permit, Recorded, Refusal, record_soon};
use moltbot_sandbox::{Exit, Outcome};
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object, output, sentence};
use crate::model::ToolSpec;
use running::Patience;

pub(super) use running::told;

/// Whether the turn may ask for a command outside the sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MayLeave {
    No,
    Yes,
}

/// Whether commands of the turn may go on in the background.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Background {
    No,
    Yes,
}

/// They may where the turn can look after them, and where somebody hears of what they try when it has ended.
pub(super) fn background(tools: &Toolbox) -> Background {
    match tools.later.is_some() && tools.cause.tools().contains(&Tool::Process) {
        true => Background::Yes,
        false => Background::No,
    }
}

/// What the owner's config and who caused the turn leave it.
pub(super) fn may_leave(tools: &Toolbox) -> MayLeave {
    match place_of(&tools.config.tools, &tools.cause, Some("gateway")) {
        Ok(_) => MayLeave::Yes,
        Err(_refused) => MayLeave::No,
    }
}

pub(super) fn spec(may_leave: MayLeave, background: Background) -> ToolSpec {
    let host = json!({
        "type": "string", "enum": ["sandbox", "gateway"],
        "description": "Where to run it. `gateway` is the owner's machine itself: one simple command, approved by the owner each time.",
    });
    let mut spec = plain_spec();
    let properties = spec.parameters.get_mut("properties").and_then(Value::as_object_mut);
    if let (Some(properties), MayLeave::Yes) = (properties, may_leave) {
        properties.insert("host".into(), host);
    }
    let properties = spec.parameters.get_mut("properties").and_then(Value::as_object_mut);
    if let (Some(properties), Background::Yes) = (properties, background) {
        properties.insert(
            "background".into(),
            json!({"type": "boolean", "description": "Go on at once while it runs; look after it with `process`."}),
        );
        properties.insert(
            "yieldMs".into(),
            json!({"type": "integer", "minimum": 1, "description": "Milliseconds after which it goes on in the background when it still runs."}),
        );
    }
    spec
}

fn plain_spec() -> ToolSpec {
    ToolSpec {
        name: "exec",
        description: "Run a shell command in the sandbox and get its output and exit code.",
        parameters: object(
            &json!({
                "command": { "type": "string", "description": "The command line for the shell." },
                "timeout": { "type": "integer", "minimum": 1, "description": "Seconds after which it is killed." },
                "directory": {
                    "type": "string",
                    "description": "The folder to start in, relative to the workspace."
                },
                "pty": {
                    "type": "boolean",
                    "description": "Give it a terminal to write to, for programs that need one. It reads nothing from it."
                },
            }),
            &["command"],
        ),
    }
}

/// What a model asks for.
struct Asked {
    script: String,
    directory: String,
    timeout: Option<u64>,
    host: Option<String>,
    /// Whether it is to write to a terminal.
    pty: bool,
    /// Whether the turn is to go on at once.
    at_once: bool,
    yield_ms: Option<u64>,
}

impl Asked {
    fn of(arguments: Value) -> Result<Self, String> {
        let mut arguments = Arguments::of("exec", arguments)?;
        let asked = Self {
            script: arguments.text("command")?,
            timeout: arguments.optional_number("timeout", 1)?,
            directory: arguments.optional_text("directory")?.unwrap_or_default(),
            host: arguments.optional_text("host")?,
            pty: arguments.optional_flag("pty")?,
            at_once: arguments.optional_flag("background")?,
            yield_ms: arguments.optional_number("yieldMs", 1)?,
        };
        arguments.finish()?;
        Ok(asked)
    }

    /// How long the turn waits for it.
    fn patience(&self, tools: &Toolbox) -> Result<Patience, Refusal> {
        match background(tools) {
            Background::No if self.at_once => {
                let message = "this turn cannot look after a command in the background, because it has no tool `process`; leave `background` out";
                Err(Refusal::new("process_unavailable", message))
            }
            Background::No => Ok(Patience::Whole),
            Background::Yes if self.at_once => {
                tools.processes.require_room(tools.cause.session()).map(|()| Patience::None)
            }
            Background::Yes => {
                let most = u64::from(tools.config.tools.exec.background_ms);
                let time = self.yield_ms.unwrap_or(most).clamp(YIELD_MS.0, YIELD_MS.1);
                Ok(Patience::For(Duration::from_millis(time)))
            }
        }
    }
}

/// The least and the most milliseconds that a turn waits for a command before it goes on, as upstream has them.
const YIELD_MS: (u64, u64) = (10, 120_000);

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let asked = Asked::of(arguments)?;
    let patience = match asked.patience(tools) {
        Ok(patience) => patience,
        Err(refusal) => return Err(tools.refuse("command.start", &asked.script, &refusal).await),
    };
    let (host, at_once, pty) = (asked.host.clone(), asked.at_once, asked.pty);
    let command = reviewed(tools, asked).await?;
    match place_of(&tools.config.tools, &tools.cause, host.as_deref()) {
        Ok(Place::Sandbox) => {}
        Ok(Place::Host) if pty => return Err(no_terminal(tools, &command, "outside the sandbox").await),
        Ok(Place::Host) if at_once => {
            let message = "a command outside the sandbox cannot run in the background; leave `background` out, or run it in the sandbox";
            let refusal = Refusal::new("process_on_host", message);
            return Err(tools.refuse("command.start", command.script(), &refusal).await);
        }
        Ok(Place::Host) => return on_host(tools, command).await,
        Err(refusal) => return Err(tools.refuse("command.start", command.script(), &refusal).await),
    }
    let session = tools.cause.session();
    match Backend::of(&tools.config.agents.sandbox_of(&session.agent()), session) {
        Ok(Backend::Docker(_)) if pty => return Err(no_terminal(tools, &command, "in containers").await),
        Ok(backend) => available(tools, &backend).await?,
        Err(refusal) => return Err(tools.refuse("command.start", command.script(), &refusal).await),
    }
    let permit = approving::in_sandbox(tools, command).await?;
    let recorded = enter(tools, permit).await?;
    let workspace = tools.workspace.fd().try_clone_to_owned();
    let workspace =
        workspace.map_err(|error| format!("the workspace cannot be handed to the sandbox: {error}"))?;
    Ok(running::run(tools, recorded, workspace, patience).await)
}

/// Refuses a command that is to write to a terminal where there is none.
async fn no_terminal(tools: &Toolbox, command: &Command, place: &str) -> String {
    let refusal =
        Refusal::new("terminal_unavailable", format!("there is no terminal {place}; leave `pty` out"));
    tools.refuse("command.start", command.script(), &refusal).await
}

/// Runs a command outside the sandbox, after the owner's yes.
async fn on_host(tools: &Toolbox, command: Command) -> Result<ToolResult, String> {
    let permit = approving::on_host(tools, command).await?;
    let recorded = enter(tools, permit).await?;
    let workspace = tools.workspace.fd().try_clone_to_owned();
    let workspace = workspace.map_err(|error| format!("the workspace cannot be opened again: {error}"))?;
    let ended = tools.sandbox.run_on_host(recorded, workspace, tools.stop.clone()).await;
    Ok(describe(&ended.map_err(|error| sentence(&error))?))
}

/// Reviews the command's form; a refusal is entered into the book.
async fn reviewed(tools: &Toolbox, asked: Asked) -> Result<Command, String> {
    let Asked { script, directory, timeout, pty, .. } = asked;
    let network = tools.config.agents.sandbox_of(&tools.cause.agent()).network;
    let profile = Profile::for_exec(&tools.config, timeout.map(Duration::from_secs));
    let profile = profile.reaching(network).seeing(tools.access);
    let target = output::beginning(&script, limits::COMMAND_BYTES).to_owned();
    let session = tools.cause.session();
    let backend = Backend::of(&tools.config.agents.sandbox_of(&session.agent()), session);
    let profile = match backend {
        Ok(backend) => Profile { backend, terminal: pty, ..profile },
        Err(refusal) => return Err(tools.refuse("command.start", &target, &refusal).await),
    };
    let request = CommandRequest { script, directory, cause: tools.cause.clone() };
    let reviewed = match tools.rules.current().await {
        Ok(rules) => review(request, profile, &rules).map_err(|refused| *refused),
        Err(refusal) => Err(refusal.into()),
    };
    match reviewed {
        Ok(command) => Ok(command),
        Err(Refused { refusal, verdict }) => {
            if let Some(incident) = verdict.as_ref().and_then(Incident::of_review) {
                tools.incident(incident);
            }
            let tell = |entry| verdict.iter().fold(entry, |entry, verdict| verdict.tell(entry));
            Err(tools.refuse_with("command.start", &target, &refusal, tell).await)
        }
    }
}

/// Whether commands can run here at all. Tried before the command is entered, so that the book names as
/// started only what could start.
async fn available(tools: &Toolbox, backend: &Backend) -> Result<(), String> {
    let found = tokio::select! {
        biased;
        () = tools.stop.cancelled() => return Err("the command did not run because the turn was stopped".into()),
        found = tools.sandbox.available(backend) => found,
    };
    match found {
        Ok(()) => Ok(()),
        Err(unavailable) => Err(format!(
            "commands cannot run on this machine: {}; your owner can mend it: {}",
            unavailable.reason, unavailable.fix
        )),
    }
}

async fn enter<P: Permit>(tools: &Toolbox, permit: P) -> Result<Recorded<P>, String> {
    record_soon(permit, &tools.ledger).await.map_err(|unrecorded| sentence(&unrecorded))
}

/// How it ended.
pub(super) fn ended(outcome: &Outcome) -> String {
    match outcome.exit {
        Exit::Aborted => "killed: the turn was stopped".to_owned(),
        Exit::Code(code) => format!("exit code {code}"),
        Exit::DiskFull => "killed: it filled the disk of its workspace further than a command may".to_owned(),
        Exit::Escape => "killed: it tried to leave the sandbox".to_owned(),
        Exit::OutOfMemory => "killed: it took more memory than a command may have".to_owned(),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::TimedOut => {
            format!(
                "killed: it was still running after {} s; ask for more with `timeout`",
                outcome.duration.as_secs()
            )
        }
    }
}

/// What the model is told: how it ended, then what it wrote.
fn describe(outcome: &Outcome) -> ToolResult {
    let mut text = format!("{}\n", ended(outcome));
    if outcome.truncated {
        let dropped = outcome.dropped_bytes;
        text.push_str(&format!("(the output was too long: its last {dropped} bytes are left out)\n"));
    }
    let written = shown(&outcome.output);
    if written.trim().is_empty() {
        text.push_str("(no output)");
    } else {
        text.push('\n');
        text.push_str(&written);
    }
    ToolResult { text, is_error: outcome.exit != Exit::Code(0) }
}

/// What a command wrote, safe to show.
pub(super) fn shown(written: &[u8]) -> String {
    let mut text = output::from_command(written);
    // Making characters visible lengthens them: what the model gets stays bounded all the same.
    let length = output::beginning(&text, limits::COMMAND_OUTPUT_BYTES).len();
    if length < text.len() {
        text.truncate(length);
        text.push_str("\n(cut here)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(exit: Exit, output: &[u8], dropped_bytes: u64) -> ToolResult {
        let (truncated, duration) = (dropped_bytes > 0, Duration::from_secs(5));
        describe(&Outcome {
            exit,
            output: output.to_vec(),
            truncated,
            dropped_bytes,
            attempts: Vec::new(),
            duration,
        })
    }

    #[test]
    fn a_result_says_how_the_command_ended_and_what_it_wrote() {
        for (exit, output, dropped, expected, is_error) in [
            (Exit::Code(0), &b"hi\n"[..], 0, "exit code 0\n\nhi\n", false),
            (Exit::Code(0), b"", 0, "exit code 0\n(no output)", false),
            (Exit::Code(2), b"\x1b[31mno\x1b[0m", 0, "exit code 2\n\nno", true),
            (
                Exit::Code(0),
                b"x",
                7,
                "exit code 0\n(the output was too long: its last 7 bytes are left out)\n\nx",
                false,
            ),
            (Exit::Signal(9), b"", 0, "killed by signal 9\n(no output)", true),
        ] {
            assert_eq!(told(exit, output, dropped), ToolResult { text: expected.into(), is_error });
        }
        assert!(told(Exit::TimedOut, b"", 0).text.starts_with("killed: it was still running after 5 s"));
    }

    #[test]
    fn a_result_is_bounded_even_when_every_byte_is_made_visible() {
        let text = told(Exit::Code(0), &vec![7; limits::COMMAND_OUTPUT_BYTES], 0).text;
        assert!(text.len() < limits::COMMAND_OUTPUT_BYTES + 100 && text.ends_with("(cut here)"));
    }
}
