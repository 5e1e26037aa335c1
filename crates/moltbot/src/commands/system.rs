//! `moltbot system …`: what the agent is told, its looking around by itself, and who is connected. Asks the gateway.

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Event, Facts, Heartbeat, System};
use crate::client::Connection;
use crate::clock;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Does what the command says.
pub(crate) async fn run(home: &Home, command: &System) -> anyhow::Result<Exit> {
    match command {
        System::Event(event) => tell(home, event).await,
        System::Heartbeat(Heartbeat::Disable(facts)) => switch(home, false, *facts).await,
        System::Heartbeat(Heartbeat::Enable(facts)) => switch(home, true, *facts).await,
        System::Heartbeat(Heartbeat::Last(facts)) => last(home, *facts).await,
        System::Presence(facts) => presence(home, *facts).await,
    }
}

async fn ask(home: &Home, scope: Scope, method: Method, params: Value) -> anyhow::Result<Value> {
    let mut connection = Connection::open(home, &[scope]).await?;
    let answer = connection.ask(method.name(), params).await?;
    connection.close().await;
    Ok(answer)
}

async fn tell(home: &Home, event: &Event) -> anyhow::Result<Exit> {
    let params = json!({"mode": event.mode.name(), "text": event.text});
    let answer = ask(home, Scope::Write, Method::Wake, params).await?;
    if event.json {
        output::json(&answer)?;
    } else {
        output::line("kept; the agent is told when it looks around")?;
    }
    Ok(Exit::Done)
}

async fn switch(home: &Home, is_on: bool, facts: Facts) -> anyhow::Result<Exit> {
    let answer = ask(home, Scope::Admin, Method::SetHeartbeats, json!({"enabled": is_on})).await?;
    if facts.json {
        output::json(&answer)?;
    } else if is_on {
        let agents = answer.get("agents").and_then(Value::as_array).into_iter().flatten();
        let agents: Vec<String> = agents.filter_map(Value::as_str).map(harmless).collect();
        match agents.as_slice() {
            [] => output::line("no agent looks by itself: `every` of its heartbeat is 0m")?,
            agents => output::line(&format!("looking by themselves again: {}", agents.join(", ")))?,
        }
    } else {
        output::line("no agent looks by itself any more until the gateway is started again")?;
    }
    Ok(Exit::Done)
}

async fn last(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let answer = ask(home, Scope::Read, Method::LastHeartbeat, json!({})).await?;
    if facts.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    let of_each = answer.get("agents").and_then(Value::as_array).filter(|agents| !agents.is_empty());
    let Some(of_each) = of_each else {
        output::line("no agent has looked around since the gateway was started")?;
        return Ok(Exit::Done);
    };
    let several = of_each.len() > 1;
    of_each.iter().try_for_each(|look| output::line(&look_in_a_line(look, several)))?;
    Ok(Exit::Done)
}

/// What came of a look, and whose it was where there are several.
fn look_in_a_line(look: &Value, several: bool) -> String {
    let word = |name: &str| look.get(name).and_then(Value::as_str).map(harmless);
    let at = clock::readable(look.get("ts").and_then(Value::as_u64).unwrap_or_default());
    let whose = word("agentId").filter(|_| several).map(|agent| format!("{agent}  ")).unwrap_or_default();
    let mut told = format!("{whose}{at}: {}", word("status").unwrap_or_default());
    for (name, before) in [("reason", ", "), ("channel", " to "), ("preview", ": ")] {
        if let Some(word) = word(name) {
            told.push_str(&format!("{before}{}", word.replace(['\n', '\t'], " ")));
        }
    }
    told
}

async fn presence(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let answer = ask(home, Scope::Read, Method::SystemPresence, json!({})).await?;
    if facts.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    for entry in answer.as_array().into_iter().flatten() {
        let word = |name: &str| entry.get(name).and_then(Value::as_str).map(harmless).unwrap_or_default();
        let roles: Vec<&str> = entry
            .get("roles")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let line = format!(
            "{}  {} {}  {} {}",
            word("host"),
            word("mode"),
            word("version"),
            word("ip"),
            roles.join(" ")
        );
        output::line(line.trim_end())?;
    }
    Ok(Exit::Done)
}
