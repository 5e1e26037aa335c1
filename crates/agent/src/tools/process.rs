//! `process`: looks after the commands that the conversation has in the background.
//!
//! A conversation sees its own and no other's. Looking changes nothing and is not recorded; what ends a command is.

use std::sync::Arc;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::process::{ProcessAct, ProcessPermit, judge};
use moltbot_policy::shown::in_one_line;
use moltbot_policy::{Recorded, record_soon};
use moltbot_sandbox::{Exit, Part};
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, exec, object, output, sentence};
use crate::model::ToolSpec;
use crate::processes::{Ended, Process};

const ACTIONS: [&str; 6] = ["list", "poll", "log", "kill", "clear", "remove"];
/// Lines of a log when the model does not say.
const LOG_LINES: usize = 200;
/// Characters of a command in a list.
const COMMAND_CHARS: usize = 120;

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: "process",
        description: "Look after commands of this conversation that run in the background: list them, poll for new output, \
                      read the log, kill, clear (forget one that ended) or remove (kill and forget).",
        parameters: object(
            &json!({
                "action": { "type": "string", "enum": ACTIONS, "description": "What to do." },
                "sessionId": { "type": "string", "description": "The command, as `exec` and `list` name it; not for list." },
                "timeout": {
                    "type": "integer", "minimum": 0,
                    "description": "For poll: milliseconds to wait for something new, at most 30000."
                },
                "offset": { "type": "integer", "minimum": 0, "description": "For log: the first line, from 0." },
                "limit": { "type": "integer", "minimum": 1, "description": "For log: how many lines." },
            }),
            &["action"],
        ),
    }
}

/// What a model asks for.
struct Asked {
    action: String,
    name: Option<String>,
    wait: Duration,
    offset: Option<usize>,
    limit: Option<usize>,
}

impl Asked {
    fn of(arguments: Value) -> Result<Self, String> {
        let mut arguments = Arguments::of("process", arguments)?;
        let size = |number: Option<u64>| number.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let action = arguments.text("action")?;
        let name = arguments.optional_text("sessionId")?;
        let wait = Duration::from_millis(arguments.optional_number("timeout", 0)?.unwrap_or(0));
        let offset = size(arguments.optional_number("offset", 0)?);
        let limit = size(arguments.optional_number("limit", 1)?);
        arguments.finish()?;
        Ok(Self { action, name, wait: wait.min(limits::PROCESS_POLL), offset, limit })
    }
}

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let asked = Asked::of(arguments)?;
    let name = asked.name.as_deref();
    let named = || name.ok_or_else(|| format!("`{}` needs `sessionId`; `list` tells them", asked.action));
    match asked.action.as_str() {
        "list" => Ok(list(tools)),
        "poll" => poll(tools, named()?, asked.wait).await,
        "log" => log(tools, named()?, asked.offset, asked.limit).await,
        "kill" => kill(tools, named()?).await,
        "clear" => clear(tools, named()?).await,
        "remove" => remove(tools, named()?).await,
        other => {
            let other = output::visible(output::beginning(other, 64));
            Err(format!("`process` has no action `{other}`; it has {}", ACTIONS.join(", ")))
        }
    }
}

fn list(tools: &Toolbox) -> ToolResult {
    let processes = tools.processes.of(tools.cause.session(), tools.kept_for());
    let lines = processes.iter().map(|process| {
        let command: String = process.script.chars().take(COMMAND_CHARS).collect();
        format!(
            "{} {} :: {}",
            process.name(),
            state(process, process.end().as_deref()),
            in_one_line(&command)
        )
    });
    let lines: Vec<String> = lines.collect();
    ToolResult::done(if lines.is_empty() {
        "No running or recent commands.".into()
    } else {
        lines.join("\n")
    })
}

/// What is new since the last look, after waiting for it.
async fn poll(tools: &Toolbox, name: &str, wait: Duration) -> Result<ToolResult, String> {
    let process = find(tools, name).await?;
    tokio::select! {
        biased;
        () = tools.stop.cancelled() => {}
        () = process.news() => {}
        () = tokio::time::sleep(wait) => {}
    }
    // The end before the output: what was written before it is not missed.
    let ended = process.end();
    let part = process.look();
    let mut text = format!("{}\n", state(&process, ended.as_deref()));
    text.push_str(&written(&part, "(no new output)"));
    Ok(ToolResult { text, is_error: ended.is_some_and(|ended| is_error(&ended)) })
}

/// Lines of what is kept of its output.
async fn log(
    tools: &Toolbox,
    name: &str,
    offset: Option<usize>,
    limit: Option<usize>,
) -> Result<ToolResult, String> {
    let process = find(tools, name).await?;
    let part = process.feed.since(0);
    let text = output::from_command(&part.bytes);
    let lines: Vec<&str> = text.lines().collect();
    let limit = limit.unwrap_or(LOG_LINES);
    let first = offset.unwrap_or_else(|| lines.len().saturating_sub(limit)).min(lines.len());
    let last = first.saturating_add(limit).min(lines.len());
    let shown = lines.get(first..last).unwrap_or_default().join("\n");
    let shown = output::beginning(&shown, limits::COMMAND_OUTPUT_BYTES);
    let lost = if part.lost > 0 {
        format!("; {} bytes before them are kept no more", part.lost)
    } else {
        String::new()
    };
    let of = lines.len();
    let state = state(&process, process.end().as_deref());
    Ok(ToolResult::done(format!("{state}\n(lines {first} to {last} of {of}{lost})\n{shown}")))
}

async fn kill(tools: &Toolbox, name: &str) -> Result<ToolResult, String> {
    let permit = permit(tools, ProcessAct::Kill, name).await?;
    let ended = tools.processes.kill(&permit).await;
    Ok(ToolResult::done(match ended {
        Some(ended) => format!("{name}: {}", how(&ended)),
        None => format!("{name} is forgotten already"),
    }))
}

/// Forgets one that has ended.
async fn clear(tools: &Toolbox, name: &str) -> Result<ToolResult, String> {
    let process = find(tools, name).await?;
    if process.end().is_none() {
        return Err(format!("{name} still runs; `kill` ends it, and `remove` ends and forgets it"));
    }
    tools.processes.forget(&process);
    Ok(ToolResult::done(format!("{name} is forgotten")))
}

async fn remove(tools: &Toolbox, name: &str) -> Result<ToolResult, String> {
    let permit = permit(tools, ProcessAct::Remove, name).await?;
    tools.processes.remove(&permit).await;
    Ok(ToolResult::done(format!("{name} is removed")))
}

/// A command of the conversation, to look at. That somebody asks for another's is recorded.
async fn find(tools: &Toolbox, name: &str) -> Result<Arc<Process>, String> {
    let permit = judged(tools, ProcessAct::Look, name).await?;
    tools.processes.open(&permit).ok_or_else(|| format!("{name} is forgotten already"))
}

/// The recorded permit to end one.
async fn permit(tools: &Toolbox, act: ProcessAct, name: &str) -> Result<Recorded<ProcessPermit>, String> {
    let permit = judged(tools, act, name).await?;
    record_soon(permit, &tools.ledger).await.map_err(|unrecorded| sentence(&unrecorded))
}

async fn judged(tools: &Toolbox, act: ProcessAct, name: &str) -> Result<ProcessPermit, String> {
    let owner = tools.processes.owner(name);
    match judge(act, name, owner.as_ref(), &tools.cause) {
        Ok(permit) => Ok(permit),
        Err(refusal) => Err(tools.refuse(act.action(), output::beginning(name, 64), &refusal).await),
    }
}

/// Whether it runs, and how it ended.
fn state(process: &Process, ended: Option<&Ended>) -> String {
    match ended {
        None => format!("running for {} s", process.began.elapsed().as_secs()),
        Some(ended) => format!("ended: {}", how(ended)),
    }
}

fn how(ended: &Ended) -> String {
    match &ended.ran.result {
        Ok((outcome, _)) if outcome.exit == Exit::Aborted => "killed".into(),
        Ok((outcome, _)) => exec::ended(outcome),
        Err(why) => why.clone(),
    }
}

fn is_error(ended: &Ended) -> bool {
    exec::told(ended).is_error
}

fn written(part: &Part, nothing: &str) -> String {
    let lost = if part.lost > 0 {
        format!("({} bytes before this are kept no more)\n", part.lost)
    } else {
        String::new()
    };
    let text = exec::shown(&part.bytes);
    if text.is_empty() { format!("{lost}{nothing}") } else { format!("{lost}\n{text}") }
}
