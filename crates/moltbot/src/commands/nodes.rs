//! `moltbot nodes …`: devices that offer commands, which of them are approved, and having them done.

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Invoke, Nodes, OneNode, Request};
use crate::client::Connection;
use crate::clock;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Does what the command says.
pub(crate) async fn run(home: &Home, command: Nodes) -> anyhow::Result<Exit> {
    match command {
        Nodes::Approve(Request { id, json }) => {
            let answer = ask(home, Method::NodePairApprove, json!({"requestId": id})).await?;
            told(json, &answer, || {
                format!("approved: {}", described(answer.get("node").unwrap_or(&Value::Null)))
            })
        }
        Nodes::Describe(OneNode { id, json }) => {
            let answer = ask(home, Method::NodeDescribe, json!({"nodeId": id})).await?;
            told(json, &answer, || described(&answer))
        }
        Nodes::Invoke(command) => invoke(home, command).await,
        Nodes::List(facts) => list(home, facts.json).await,
        Nodes::Reject(Request { id, json }) => {
            let answer = ask(home, Method::NodePairReject, json!({"requestId": id})).await?;
            told(json, &answer, || format!("refused: node {}", text(&answer, "nodeId")))
        }
        Nodes::Rename { node: OneNode { id, json }, name } => {
            let params = json!({"nodeId": id, "displayName": name});
            let answer = ask(home, Method::NodeRename, params).await?;
            told(json, &answer, || {
                format!("node {} is {:?} now", text(&answer, "nodeId"), text(&answer, "displayName"))
            })
        }
    }
}

/// The owner's own device on this machine holds every right, so it can give any.
async fn ask(home: &Home, method: Method, params: Value) -> anyhow::Result<Value> {
    let mut connection = Connection::open(home, &[Scope::Admin, Scope::Pairing]).await?;
    let answer = connection.ask(method.name(), params).await?;
    connection.close().await;
    Ok(answer)
}

fn told(as_json: bool, answer: &Value, line: impl FnOnce() -> String) -> anyhow::Result<Exit> {
    if as_json {
        output::json(answer)?
    } else {
        output::line(&line())?
    }
    Ok(Exit::Done)
}

async fn list(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Admin, Scope::Pairing]).await?;
    let mut waiting = connection.ask(Method::NodePairList.name(), json!({})).await?;
    let mut known = connection.ask(Method::NodeList.name(), json!({})).await?;
    connection.close().await;
    let rows = |answer: &mut Value, name: &str| match answer.get_mut(name).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    };
    let (pending, nodes) = (rows(&mut waiting, "pending"), rows(&mut known, "nodes"));
    if as_json {
        output::json(&json!({"pending": pending, "nodes": nodes}))?;
        return Ok(Exit::Done);
    }
    if pending.is_empty() {
        output::line("no node waits for approval")?;
    }
    for request in &pending {
        let asked = clock::readable(request.get("ts").and_then(Value::as_u64).unwrap_or_default());
        output::line(&format!("waits     {}  {asked}  {}", text(request, "requestId"), described(request)))?;
    }
    for node in &nodes {
        let is_there = node.get("connected").and_then(Value::as_bool).unwrap_or_default();
        let state = if is_there { "connected" } else { "away     " };
        output::line(&format!("{state}  {}", described(node)))?;
    }
    Ok(Exit::Done)
}

async fn invoke(home: &Home, asked: Invoke) -> anyhow::Result<Exit> {
    let Invoke { node: OneNode { id, json }, command, params, timeout } = asked;
    let params = match params.as_deref().map(serde_json::from_str::<Value>) {
        None => Value::Null,
        Some(Ok(params)) => params,
        Some(Err(error)) => return Err(Exit::Failed.because(format!("--params is no JSON: {error}"))),
    };
    let params = json!({
        "nodeId": id, "command": command, "params": params, "timeoutMs": u64::from(timeout) * 1000,
        "idempotencyKey": moltbot_vault::random_id()?,
    });
    let mut connection = Connection::open(home, &[Scope::Admin]).await?;
    let answer = connection.call(Method::NodeInvoke.name(), params).await?;
    connection.close().await;
    let answer = answer.map_err(|error| crate::client::failure(&error))?;
    if json {
        output::json(&answer)?;
    } else {
        let payload = answer.get("payload").unwrap_or(&Value::Null);
        output::line(&harmless(&serde_json::to_string_pretty(payload)?))?;
    }
    Ok(Exit::Done)
}

/// A node in one line. What it says of itself is quoted, so that it cannot pass for something else.
fn described(node: &Value) -> String {
    let commands = node.get("commands").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let commands: Vec<&str> = commands.iter().filter_map(Value::as_str).collect();
    let commands = if commands.is_empty() { "no commands".into() } else { harmless(&commands.join(" ")) };
    format!(
        "node {} from {} with {commands}; says it is {:?} on {:?}",
        text(node, "nodeId"),
        text(node, "remoteIp"),
        text(node, "displayName"),
        text(node, "platform"),
    )
}

/// A member as text, without what a terminal would obey, in one line.
fn text(value: &Value, name: &str) -> String {
    harmless(value.get(name).and_then(Value::as_str).unwrap_or("?")).replace(['\n', '\t'], " ")
}
