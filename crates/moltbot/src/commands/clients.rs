//! `moltbot clients …`: who is signed in to the gateway that runs here.

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Clients, Kill};
use crate::client::Connection;
use crate::clock;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Does what the command says.
pub(crate) async fn run(home: &Home, command: Clients) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Pairing]).await?;
    match command {
        Clients::Kill(kill) => end(&mut connection, kill).await?,
        Clients::List(facts) => {
            let answer = connection.ask(Method::ClientsList.name(), json!({})).await?;
            if facts.json { output::json(&answer)? } else { list(&answer)? }
        }
    }
    connection.close().await;
    Ok(Exit::Done)
}

async fn end(connection: &mut Connection, kill: Kill) -> anyhow::Result<()> {
    let Kill { id, all: _, json: as_json } = kill;
    let params = id.map_or_else(|| json!({"all": true}), |id| json!({"id": id}));
    let answer = connection.ask(Method::ClientsKill.name(), params).await?;
    if as_json {
        return Ok(output::json(&answer)?);
    }
    let ended = answer.get("ended").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(output::line(&format!("sessions ended: {ended}"))?)
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let rows = answer.get("clients").and_then(Value::as_array).cloned().unwrap_or_default();
    for row in &rows {
        let own = if row.get("own") == Some(&json!(true)) { "  (this command)" } else { "" };
        output::line(&format!("{}  {}{own}", text(row, "id"), described(row)))?;
    }
    Ok(())
}

/// A session in one line. What the client says of itself is quoted, so that it cannot pass for something else.
fn described(row: &Value) -> String {
    let number = |name| row.get(name).and_then(Value::as_u64).unwrap_or_default();
    let scopes = row.get("scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    let says = row
        .get("says")
        .and_then(Value::as_str)
        .map_or_else(String::new, |says| format!("; says it is {says:?}"));
    format!(
        "{} by {} from {} ({}, {}) since {}, idle for {}, with {}{says}",
        text(row, "actor"),
        text(row, "credential"),
        text(row, "remoteIp"),
        text(row, "locality"),
        text(row, "way"),
        clock::readable(number("sinceMs")),
        clock::duration(number("idleMs")),
        if scopes.is_empty() { "no scopes".into() } else { harmless(&scopes.join(" ")) },
    )
}

/// A member as text, without what a terminal would obey, in one line.
fn text(value: &Value, name: &str) -> String {
    harmless(value.get(name).and_then(Value::as_str).unwrap_or("?")).replace(['\n', '\t'], " ")
}
