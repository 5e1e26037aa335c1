//! `moltbot approvals …`: commands that wait for a yes, and what is kept about commands. Asks the gateway.

use std::io::Read as _;

use moltbot_policy::approval::{ApprovalsFile, FILE_BYTES, may_be_listed};
use moltbot_protocol::event;
use moltbot_protocol::frame::EventFrame;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Allowlist, Approvals, OneProgram};
use crate::client::{Connection, failure};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, harmless};
use crate::{prompt, serve};

/// Does what a command of `approvals` says.
pub(crate) fn run(home: &Home, command: &Approvals) -> anyhow::Result<Exit> {
    match command {
        Approvals::Get(facts) => get(home, facts.json),
        Approvals::Set(facts) => set(home, facts.json),
        Approvals::List(facts) => list(home, facts.json),
        Approvals::Resolve { id, decision, json } => {
            resolve(home, id, decision.map(crate::arguments::Decision::name), *json)
        }
        Approvals::Allowlist(Allowlist::Add(one)) => add(home, one),
        Approvals::Allowlist(Allowlist::Remove(one)) => remove(home, one),
    }
}

fn ask(home: &Home, method: Method, params: Value) -> anyhow::Result<Value> {
    serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin, Scope::Approvals]).await?;
        let answer = connection.ask(method.name(), params).await?;
        connection.close().await;
        Ok(answer)
    })
}

fn get(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let kept = ask(home, Method::ExecApprovalsGet, json!({}))?;
    if as_json {
        output::json(&kept)?;
        return Ok(Exit::Done);
    }
    output::line(&format!("file: {}", text(&kept, "path")))?;
    let file = kept.get("file").cloned().unwrap_or_default();
    for (name, value) in file.get("defaults").and_then(Value::as_object).into_iter().flatten() {
        output::line(&format!("{}: {}", harmless(name), harmless(&value.to_string())))?;
    }
    let mut some = false;
    for (agent, section) in file.get("agents").and_then(Value::as_object).into_iter().flatten() {
        for entry in section.get("allowlist").and_then(Value::as_array).into_iter().flatten() {
            some = true;
            output::line(&format!("{}  {}", harmless(agent), text(entry, "pattern")))?;
        }
    }
    if !some {
        output::line("no program is on a list")?;
    }
    Ok(Exit::Done)
}

fn set(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(FILE_BYTES).read_to_end(&mut text)?;
    let file = serde_json::from_slice(&text);
    let file: Value =
        file.map_err(|error| Exit::Failed.because(format!("standard input is no JSON: {error}")))?;
    change(home, as_json, "changed", |_| Ok(file))
}

/// Changes the file that is kept, when it is still the one that was looked at.
fn change(
    home: &Home,
    as_json: bool,
    done: &str,
    new: impl FnOnce(Value) -> anyhow::Result<Value>,
) -> anyhow::Result<Exit> {
    let kept = ask(home, Method::ExecApprovalsGet, json!({}))?;
    let file = new(kept.get("file").cloned().unwrap_or_default())?;
    let mut params = json!({"file": file});
    if let (Some(params), Some(hash)) =
        (params.as_object_mut(), kept.get("hash").filter(|hash| !hash.is_null()))
    {
        params.insert("baseHash".into(), hash.clone());
    }
    let answer = ask(home, Method::ExecApprovalsSet, params)?;
    if as_json {
        output::json(&answer)?;
    } else {
        output::line(&format!("{}: {done}", text(&answer, "path")))?;
    }
    Ok(Exit::Done)
}

fn add(home: &Home, one: &OneProgram) -> anyhow::Result<Exit> {
    if !may_be_listed(&one.path) {
        let message = format!(
            "{:?} is not put on the list: it is no path of a program of the system, or that program runs what it is given, so that the list would let everything pass",
            one.path
        );
        return Err(Exit::Failed.because(message));
    }
    let id = moltbot_vault::random_id().map_err(|error| home::failed(&error))?;
    change(home, one.json, "the program is on the list", |file| {
        edit(file, |file| {
            file.add(&one.agent, &[(one.path.clone(), id)]).map_err(|error| Exit::Failed.because(error))
        })
    })
}

fn remove(home: &Home, one: &OneProgram) -> anyhow::Result<Exit> {
    change(home, one.json, "the program is off the list", |file| {
        edit(file, |file| match file.remove(&one.agent, &one.path) {
            0 => Err(Exit::Failed.because(format!("{:?} is not on the list of {}", one.path, one.agent))),
            _ => Ok(()),
        })
    })
}

fn edit(file: Value, change: impl FnOnce(&mut ApprovalsFile) -> anyhow::Result<()>) -> anyhow::Result<Value> {
    let mut file = ApprovalsFile::of(file).map_err(|error| Exit::Failed.because(error))?;
    change(&mut file)?;
    Ok(file.shown())
}

fn list(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let answer = ask(home, Method::ExecApprovalList, json!({}))?;
    if as_json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    let waiting = waiting(&answer);
    if waiting.is_empty() {
        output::line("no command waits for a yes")?;
    }
    for one in waiting {
        show(one)?;
    }
    Ok(Exit::Done)
}

fn waiting(answer: &Value) -> &[Value] {
    answer.get("approvals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn resolve(home: &Home, id: &str, decision: Option<&str>, as_json: bool) -> anyhow::Result<Exit> {
    let answer = serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin, Scope::Approvals]).await?;
        let decision = match decision {
            Some(decision) => decision.to_owned(),
            None => {
                let all = connection.ask(Method::ExecApprovalList.name(), json!({})).await?;
                let one = waiting(&all).iter().find(|one| text(one, "id") == id);
                let one =
                    one.ok_or_else(|| Exit::Failed.because(format!("no command waits under {id:?}")))?;
                show(one)?;
                prompt::answer(&decisions(one))?.ok_or_else(|| {
                    Exit::Failed
                        .because("nothing was answered: there is no terminal to ask at, or no such answer")
                })?
            }
        };
        let params = json!({"id": id, "decision": decision});
        let answer = connection.call(Method::ExecApprovalResolve.name(), params).await?;
        connection.close().await;
        answer.map(|answer| (answer, decision)).map_err(|error| failure(&error))
    });
    let (answer, decision) = answer?;
    if as_json {
        output::json(&answer)?;
    } else {
        output::line(&format!("{}: {decision}", harmless(id)))?;
    }
    Ok(Exit::Done)
}

fn show(one: &Value) -> anyhow::Result<()> {
    Ok(output::line(harmless(one.get("prompt").and_then(Value::as_str).unwrap_or_default()).trim_end())?)
}

fn decisions(one: &Value) -> Vec<String> {
    let names = one.get("decisions").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The question of an event, when it is one of this conversation: the id, the prompt, what may be answered.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) prompt: String,
    pub(crate) decisions: Vec<String>,
}

impl Asked {
    /// Reads an event.
    pub(crate) fn of(frame: &EventFrame, session: &str) -> Option<Self> {
        let payload = frame.payload.as_ref().filter(|_| frame.event == event::EXEC_APPROVAL_REQUESTED)?;
        let of = payload.pointer("/request/sessionKey").and_then(Value::as_str)?;
        let is_ours = of == session || of.ends_with(&format!(":{session}"));
        let prompt = payload.get("prompt").and_then(Value::as_str)?;
        is_ours.then(|| Self {
            id: text(payload, "id"),
            prompt: harmless(prompt).trim_end().to_owned(),
            decisions: decisions(payload),
        })
    }
}

/// Sends an answer. What the gateway says against it is shown, and nothing else comes of it.
pub(crate) async fn send(connection: &mut Connection, id: &str, decision: &str) -> anyhow::Result<()> {
    let params = json!({"id": id, "decision": decision});
    match connection.call(Method::ExecApprovalResolve.name(), params).await? {
        Ok(_) => output::note(&format!("{}: {}", harmless(id), harmless(decision))),
        Err(error) => output::note(&failure(&error).to_string()),
    }
    Ok(())
}

/// A member as text, without what a terminal would obey, in one line.
fn text(value: &Value, name: &str) -> String {
    harmless(value.get(name).and_then(Value::as_str).unwrap_or_default()).replace(['\n', '\t'], " ")
}
