//! `moltbot sessions …`: conversations, as the gateway keeps them.

pub(super) mod foreign;
mod import;
mod transcript;

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Facts, Key, Sessions};
use crate::client::Connection;
use crate::clock;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, Paint, harmless};

/// Does what the command says.
pub(crate) async fn run(home: &Home, command: Sessions) -> anyhow::Result<Exit> {
    match command {
        Sessions::Delete(key) => change(home, Method::SessionsDelete, &key, "deleted").await,
        Sessions::Export { key } => transcript::export(home, &key).await,
        Sessions::Import { key, file, json } => import::run(home, &key, &file, json).await,
        Sessions::List(facts) => list(home, facts).await,
        Sessions::Release(key) => release(home, &key).await,
        Sessions::Reset(key) => change(home, Method::SessionsReset, &key, "begun anew").await,
        Sessions::Search { text, json } => transcript::search(home, &text, json).await,
        Sessions::Show { key, limit, json } => show(home, &key, limit, json).await,
    }
}

async fn list(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let params = json!({"limit": 1000, "includeDerivedTitles": true});
    let answer = ask(home, Method::SessionsList, params).await?;
    if facts.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    let rows = answer.get("sessions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        output::line("no conversation yet; begin one with `moltbot chat`")?;
    }
    for row in rows {
        let text = |name: &str| harmless(row.get(name).and_then(Value::as_str).unwrap_or_default());
        let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or_default();
        let when = clock::readable(number("updatedAt"));
        let (key, messages, tokens) = (text("key"), number("messageCount"), number("totalTokens"));
        let title = text("derivedTitle").replace('\n', " ");
        output::line(format!("{when}  {key}  {messages} messages, {tokens} tokens  {title}").trim_end())?;
        let set = chosen(row);
        if !set.is_empty() {
            output::line(&format!("  {}", output::paint(&set, Paint::Dim)))?;
        }
        if let Some(why) = row.pointer("/quarantine/reason").and_then(Value::as_str) {
            let told = format!("in quarantine, because {}", harmless(why).replace('\n', " "));
            output::line(&format!("  {}", output::paint(&told, Paint::Bad)))?;
        }
    }
    Ok(Exit::Done)
}

/// What was chosen for a conversation, in one line.
fn chosen(row: &Value) -> String {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(harmless);
    // Without a provider the model is that of the last turn.
    let model = text("modelProvider").zip(text("model"));
    let model = model.map(|(provider, model)| format!("model {provider}/{model}"));
    let thinking = text("thinkingLevel").map(|level| format!("thinking {level}"));
    let verbose = text("verboseLevel").map(|level| format!("verbose {level}"));
    [model, thinking, verbose].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn show(home: &Home, key: &str, limit: u32, as_json: bool) -> anyhow::Result<Exit> {
    let answer = ask(home, Method::ChatHistory, json!({"sessionKey": key, "limit": limit})).await?;
    if as_json {
        output::json(&answer)?;
    }
    if answer.get("sessionId").is_none_or(Value::is_null) {
        output::note(&format!(
            "there is no conversation {key:?}; `moltbot sessions list` shows those there are"
        ));
        return Ok(Exit::Failed);
    }
    if !as_json {
        print_messages(&answer)?;
    }
    Ok(Exit::Done)
}

async fn change(home: &Home, method: Method, key: &Key, done: &str) -> anyhow::Result<Exit> {
    let answer = ask(home, method, json!({"key": key.key})).await?;
    if key.json {
        output::json(&answer)?;
    }
    let changed = ["deleted", "ok"].iter().find_map(|name| answer.get(name)?.as_bool()).unwrap_or(true);
    if !changed {
        output::note(&format!("there is no conversation {:?}", key.key));
        return Ok(Exit::Failed);
    }
    if !key.json {
        output::line(&format!("{} is {done}", key.key))?;
    }
    Ok(Exit::Done)
}

async fn release(home: &Home, key: &Key) -> anyhow::Result<Exit> {
    let answer = ask(home, Method::SessionsRelease, json!({"key": key.key})).await?;
    if key.json {
        output::json(&answer)?;
    }
    if answer.get("released").and_then(Value::as_bool) != Some(true) {
        output::note(&format!("{:?} is not in quarantine", key.key));
        return Ok(Exit::Failed);
    }
    if !key.json {
        let hint = format!("`moltbot sessions reset {}` begins it anew, without what was said", key.key);
        output::line(&format!("{} goes on; {hint}", key.key))?;
    }
    Ok(Exit::Done)
}

async fn ask(home: &Home, method: Method, params: Value) -> anyhow::Result<Value> {
    let mut connection = Connection::open(home, &[method.scope(), Scope::Read]).await?;
    let answer = connection.ask(method.name(), params).await?;
    connection.close().await;
    Ok(answer)
}

/// Prints the messages of a history, oldest first.
pub(crate) fn print_messages(history: &Value) -> anyhow::Result<()> {
    let messages = history.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for message in messages {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        let parts = message.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for part in parts {
            print_part(role, message, part)?;
        }
        if let Some(error) = message.get("errorMessage").and_then(Value::as_str) {
            output::line(&format!("{} {}", output::paint("error:", Paint::Bad), harmless(error)))?;
        }
    }
    Ok(())
}

fn print_part(role: &str, message: &Value, part: &Value) -> anyhow::Result<()> {
    let text =
        |value: &Value, name: &str| harmless(value.get(name).and_then(Value::as_str).unwrap_or_default());
    if part.get("type").and_then(Value::as_str) == Some("toolCall") {
        let arguments = part.get("arguments").map(ToString::to_string).unwrap_or_default();
        let call = format!("→ {} {}", text(part, "name"), harmless(&arguments));
        output::line(&output::paint(&call, Paint::Dim))?;
        return Ok(());
    }
    let words = text(part, "text");
    match role {
        "toolResult" => {
            let shown = format!("← {}: {words}", text(message, "toolName"));
            output::line(&output::paint(shown.trim_end(), Paint::Dim))?;
        }
        "user" => output::line(&format!("{} {words}", output::paint("you:", Paint::Strong)))?,
        _ => output::line(&words)?,
    }
    Ok(())
}
