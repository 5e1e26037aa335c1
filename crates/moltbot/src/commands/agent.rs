//! `moltbot agent`: one message, one answer, for people and for scripts.

use std::time::{Duration, Instant};

use moltbot_protocol::error::WireError;
use moltbot_protocol::message::Usage;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::Agent;
use crate::client::{self, Connection, Heard};
use crate::commands::approvals::{self, Asked};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, harmless};
use crate::prompt;

/// How much longer than the turn its answer may take: the gateway ends the turn itself, within a second.
const GRACE: Duration = Duration::from_secs(5);
/// How long an aborted turn may take to say so.
const ABORTED: Duration = Duration::from_secs(2);

/// The status of a turn that took too long.
const TIMEOUT: &str = "timeout";
/// The status of a message that was not taken.
const REFUSED: &str = "refused";

/// The shape that `--json` prints.
struct Ended {
    run: String,
    session: Value,
    status: String,
    text: String,
    usage: Value,
    calls: Value,
    error: Option<WireError>,
}

/// Sends the message, waits for the end, prints it.
pub(crate) async fn run(home: &Home, options: Agent) -> anyhow::Result<Exit> {
    let run = moltbot_vault::random_id().map_err(|error| home::failed(&error))?;
    // Who sits at the terminal may be asked; a script is nobody who can say yes.
    let asks = output::is_interactive() && !options.json;
    let scopes: &[Scope] =
        if asks { &[Scope::Approvals, Scope::Read, Scope::Write] } else { &[Scope::Read, Scope::Write] };
    let mut connection = Connection::open(home, scopes).await?;
    let accepted = match connection.call(Method::Agent.name(), params_of(&options, &run)).await? {
        Ok(accepted) => accepted,
        Err(error) => return print(Ended::failed(run, Value::Null, error), options.json),
    };
    let session = accepted.get("sessionKey").cloned().unwrap_or_default();
    let limit = Duration::from_secs(options.timeout);
    let began = Instant::now();
    let answer = tokio::select! {
        answer = ending(&mut connection, session.as_str().filter(|_| asks)) => Some(answer?),
        () = tokio::time::sleep(limit.saturating_add(GRACE)) => None,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            abort(&mut connection, &session, &run).await?;
            return Ok(Exit::Interrupted);
        }
    };
    let mut ended = match answer {
        Some(Ok(payload)) => Ended::of(run, session, &payload),
        Some(Err(error)) => Ended::failed(run, session, error),
        None => {
            abort(&mut connection, &session, &run).await?;
            let silence = WireError::unavailable(format!("there was no answer within {limit:?}"));
            Ended::failed(run, session, silence)
        }
    };
    if ended.error.is_some() && began.elapsed() >= limit {
        ended.status = TIMEOUT.into();
    }
    connection.close().await;
    print(ended, options.json)
}

/// Waits for the end of the run; what it has to be asked about meanwhile is asked at the terminal, in the session named.
async fn ending(
    connection: &mut Connection,
    session: Option<&str>,
) -> anyhow::Result<Result<Value, WireError>> {
    let Some(session) = session else { return connection.second_answer().await };
    let id = connection.last_id();
    loop {
        match connection.next().await? {
            Heard::Response(response) if response.id == id => return Ok(client::outcome(response)),
            Heard::Response(_) => {}
            Heard::Event(event) => {
                let Some(Asked { id, prompt, decisions }) = Asked::of(&event, session) else { continue };
                output::note(&prompt);
                let said = tokio::task::spawn_blocking(move || prompt::answer(&decisions)).await??;
                let decision = said.unwrap_or_else(|| "deny".to_owned());
                approvals::send(connection, &id, &decision).await?;
            }
        }
    }
}

fn params_of(options: &Agent, run: &str) -> Value {
    let mut params = json!({
        "message": options.message,
        "idempotencyKey": run,
        "timeout": options.timeout,
    });
    if let Some(fields) = params.as_object_mut() {
        for (name, value) in [("agentId", &options.agent), ("sessionId", &options.session_id)] {
            if let Some(value) = value {
                fields.insert(name.into(), value.as_str().into());
            }
        }
    }
    params
}

/// Stops the run and waits a moment for its end, so that no tool goes on unseen.
async fn abort(connection: &mut Connection, session: &Value, run: &str) -> anyhow::Result<()> {
    let id = connection.send(Method::ChatAbort.name(), json!({"sessionKey": session, "runId": run})).await?;
    let stopped = async {
        loop {
            match connection.next().await {
                Ok(Heard::Response(response)) if response.id == id => return,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    if tokio::time::timeout(ABORTED, stopped).await.is_err() {
        output::note("the gateway did not say that the run stopped; see `moltbot sessions show`");
    }
    Ok(())
}

impl Ended {
    fn of(run: String, session: Value, payload: &Value) -> Self {
        let at = |path: &str| payload.pointer(path).cloned();
        let texts =
            payload.pointer("/result/payloads").and_then(Value::as_array).cloned().unwrap_or_default();
        let texts = texts.iter().filter_map(|part| part.get("text")?.as_str());
        let status = payload.get("status").and_then(Value::as_str).unwrap_or("ok").to_owned();
        Self {
            run,
            session: at("/result/meta/agentMeta/sessionKey").unwrap_or(session),
            status,
            text: texts.collect::<Vec<_>>().join("\n"),
            usage: at("/result/meta/agentMeta/usage").unwrap_or_else(no_usage),
            calls: at("/result/meta/toolCalls").unwrap_or_else(|| json!([])),
            error: None,
        }
    }

    /// A turn that failed says in the error's details how far it came; a message that was not taken does not.
    fn failed(run: String, session: Value, error: WireError) -> Self {
        let details = error.details.clone().unwrap_or_default();
        let mut ended = Self::of(run, session, &details);
        if details.get("status").is_none() {
            ended.status = REFUSED.into();
        }
        ended.error = Some(error);
        ended
    }

    fn exit(&self) -> Exit {
        match (self.status.as_str(), &self.error) {
            (TIMEOUT, _) => Exit::Timeout,
            (REFUSED, Some(error)) => client::exit_of(error),
            ("ok", None) => Exit::Done,
            ("aborted", _) => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }
}

fn no_usage() -> Value {
    json!(Usage::default())
}

fn print(ended: Ended, as_json: bool) -> anyhow::Result<Exit> {
    let exit = ended.exit();
    if as_json {
        let calls: Vec<Value> = ended.calls.as_array().into_iter().flatten().map(call_of).collect();
        let mut shown = json!({
            "runId": ended.run, "sessionKey": ended.session, "status": ended.status, "text": ended.text,
            "usage": ended.usage, "toolCalls": calls,
        });
        if let (Some(error), Some(fields)) = (ended.error, shown.as_object_mut()) {
            fields.insert("error".into(), error.message.into());
        }
        output::json(&shown)?;
        return Ok(exit);
    }
    if let Some(error) = ended.error {
        return Err(exit.because(error.message));
    }
    output::line(&harmless(&ended.text))?;
    if exit != Exit::Done {
        output::note(&format!("the run ended as {}", ended.status));
    }
    Ok(exit)
}

/// The four members that are promised, and no others.
fn call_of(call: &Value) -> Value {
    let member = |name: &str| call.get(name).cloned().unwrap_or_default();
    json!({
        "name": member("name"), "arguments": member("arguments"),
        "result": member("result"), "isError": member("isError"),
    })
}
