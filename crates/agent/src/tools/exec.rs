//! `exec`: runs a command in the sandbox, and nowhere else.
//!
//! Where the sandbox cannot run, the call is answered with the reason and what the owner can do; the command
//! does not run some other way.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::command::{CommandPermit, CommandRequest, review};
use moltbot_policy::profile::Profile;
use moltbot_policy::{Recorded, record};
use moltbot_sandbox::{Exit, Outcome};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object, output, sentence, stopped};
use crate::model::ToolSpec;

pub(super) fn spec() -> ToolSpec {
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
            }),
            &["command"],
        ),
    }
}

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let mut arguments = Arguments::of("exec", arguments)?;
    let script = arguments.text("command")?;
    let timeout = arguments.optional_number("timeout", 1)?;
    let directory = arguments.optional_text("directory")?.unwrap_or_default();
    arguments.finish()?;
    let permit = permit(tools, script, directory, timeout).await?;
    let recorded = match available(tools).await {
        Ok(()) => enter(tools, permit).await?,
        Err(why) => return Err(why),
    };
    let workspace = tools.workspace.fd().try_clone_to_owned();
    let workspace =
        workspace.map_err(|error| format!("the workspace cannot be handed to the sandbox: {error}"))?;
    let ended = tools.sandbox.run(recorded, Some(workspace), tools.stop.clone()).await;
    Ok(describe(&ended.map_err(|error| sentence(&error))?))
}

/// Reviews the command; a refusal is entered into the book.
async fn permit(
    tools: &Toolbox,
    script: String,
    directory: String,
    timeout: Option<u64>,
) -> Result<CommandPermit, String> {
    let profile = Profile::for_exec(&tools.config, timeout.map(Duration::from_secs));
    let target = output::beginning(&script, limits::COMMAND_BYTES).to_owned();
    match review(CommandRequest { script, directory, cause: tools.cause.clone() }, profile) {
        Ok(permit) => Ok(permit),
        Err(refusal) => Err(tools.refuse("command.start", &target, &refusal).await),
    }
}

/// Whether commands can run here at all. Tried before the command is entered, so that the book names as
/// started only what could start.
async fn available(tools: &Toolbox) -> Result<(), String> {
    let posture = tokio::select! {
        biased;
        () = tools.stop.cancelled() => return Err("the command did not run because the turn was stopped".into()),
        posture = tools.sandbox.posture() => posture,
    };
    match posture {
        Ok(_) => Ok(()),
        Err(unavailable) => Err(format!(
            "commands cannot run on this machine: {}; your owner can mend it: {}",
            unavailable.reason, unavailable.fix
        )),
    }
}

async fn enter(tools: &Toolbox, permit: CommandPermit) -> Result<Recorded<CommandPermit>, String> {
    let ledger = tools.ledger.clone();
    let recorded = spawn_blocking(move || record(permit, &ledger)).await;
    recorded.map_err(|_| stopped())?.map_err(|unrecorded| sentence(&unrecorded))
}

/// What the model is told: how it ended, then what it wrote.
fn describe(outcome: &Outcome) -> ToolResult {
    let ended = match outcome.exit {
        Exit::Aborted => "killed: the turn was stopped".to_owned(),
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Escape => "killed: it tried to leave the sandbox".to_owned(),
        Exit::OutOfMemory => "killed: it took more memory than a command may have".to_owned(),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::TimedOut => {
            format!(
                "killed: it was still running after {} s; ask for more with `timeout`",
                outcome.duration.as_secs()
            )
        }
    };
    let mut text = format!("{ended}\n");
    if outcome.truncated {
        let dropped = outcome.dropped_bytes;
        text.push_str(&format!("(the output was too long: its last {dropped} bytes are left out)\n"));
    }
    let written = output::from_command(&outcome.output);
    if written.trim().is_empty() {
        text.push_str("(no output)");
    } else {
        text.push('\n');
        // Making characters visible lengthens them: what the model gets stays bounded all the same.
        let shown = output::beginning(&written, limits::COMMAND_OUTPUT_BYTES);
        text.push_str(shown);
        if shown.len() < written.len() {
            text.push_str("\n(cut here)");
        }
    }
    ToolResult { text, is_error: outcome.exit != Exit::Code(0) }
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
