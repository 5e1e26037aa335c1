//! Whole transcripts: one as JSON lines, and a text in all of them.

use jiff::Timestamp;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::client::Connection;
use crate::clock;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Messages of one page.
const PAGE: usize = 500;
/// The version of the format that is written.
const VERSION: u32 = 3;
/// Characters around what was found.
const AROUND: usize = 60;

/// Writes a conversation as other programs of this kind keep it: a line about the session, then one for each message, each
/// naming the one before it.
pub(super) async fn export(home: &Home, name: &str) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let found = [json!({"sessionId": name}), json!({"key": name})];
    let mut key = None;
    for params in found {
        if let Ok(answer) = connection.ask(Method::SessionsResolve.name(), params).await {
            key = answer.get("key").and_then(Value::as_str).map(str::to_owned);
            break;
        }
    }
    let Some(key) = key else {
        output::note(&format!(
            "there is no conversation {name:?}; `moltbot sessions list` shows those there are"
        ));
        return Ok(Exit::Failed);
    };
    let (session_id, pages) = pages(&mut connection, &key).await?;
    connection.close().await;
    let messages: Vec<Value> = pages.into_iter().rev().flatten().collect();
    let began = messages.first().map_or(Value::Null, time_of);
    output::line(
        &json!({"type": "session", "version": VERSION, "id": session_id, "timestamp": began, "cwd": "/workspace"})
            .to_string(),
    )?;
    let mut parent = Value::Null;
    for (number, message) in messages.into_iter().enumerate() {
        let (id, timestamp) = (json!(format!("{:08x}", number.saturating_add(1))), time_of(&message));
        let entry = json!({
            "type": "message", "id": id, "parentId": parent, "timestamp": timestamp, "message": message,
        });
        output::line(&entry.to_string())?;
        parent = id;
    }
    Ok(Exit::Done)
}

/// Looks for a text in every conversation, the one that changed last first.
pub(super) async fn search(home: &Home, text: &str, as_json: bool) -> anyhow::Result<Exit> {
    let wanted = text.to_lowercase();
    if wanted.trim().is_empty() {
        output::note("say what to look for");
        return Ok(Exit::Usage);
    }
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let sessions = connection.ask(Method::SessionsList.name(), json!({})).await?;
    let rows = sessions.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut has_found = false;
    for key in rows.iter().filter_map(|row| row.get("key").and_then(Value::as_str)) {
        let (_, pages) = pages(&mut connection, key).await?;
        for message in pages.iter().rev().flatten() {
            for said in texts(message) {
                let Some(around) = around(said, &wanted) else { continue };
                has_found = true;
                tell(key, message, &around, as_json)?;
            }
        }
    }
    connection.close().await;
    if !has_found && !as_json {
        output::note("nothing was found");
    }
    Ok(if has_found { Exit::Done } else { Exit::Failed })
}

fn tell(key: &str, message: &Value, around: &str, as_json: bool) -> anyhow::Result<()> {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    let when = message.get("timestamp").and_then(Value::as_u64).unwrap_or_default();
    if as_json {
        let found = json!({"key": key, "role": role, "timestamp": when, "text": around});
        return Ok(output::line(&found.to_string())?);
    }
    let said = harmless(around).replace('\n', " ");
    Ok(output::line(&format!("{}  {}  {role}: {said}", clock::readable(when), harmless(key)))?)
}

/// The id of a session, and its messages in pages: the newest page first, each with its oldest message first.
async fn pages(connection: &mut Connection, key: &str) -> anyhow::Result<(Value, Vec<Vec<Value>>)> {
    let (mut pages, mut skip) = (Vec::new(), 0_usize);
    loop {
        let params = json!({"sessionKey": key, "limit": PAGE, "skip": skip});
        let mut answer = connection.ask(Method::ChatHistory.name(), params).await?;
        let session_id = answer.get("sessionId").cloned().unwrap_or(Value::Null);
        let messages = answer.get_mut("messages").map(Value::take);
        let Some(Value::Array(messages)) =
            messages.filter(|page| page.as_array().is_some_and(|page| !page.is_empty()))
        else {
            return Ok((session_id, pages));
        };
        skip = skip.saturating_add(messages.len());
        pages.push(messages);
    }
}

/// When a message was said, as RFC 3339.
fn time_of(message: &Value) -> Value {
    let millis = message.get("timestamp").and_then(Value::as_i64).unwrap_or_default();
    Timestamp::from_millisecond(millis).map_or(Value::Null, |time| json!(time.to_string()))
}

/// The texts of a message.
fn texts(message: &Value) -> impl Iterator<Item = &str> {
    let parts = message.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str))
}

/// What stands around a text where it is found first. `wanted` is in lower case.
fn around(said: &str, wanted: &str) -> Option<String> {
    let lower = said.to_lowercase();
    let before = lower.get(..lower.find(wanted)?)?.chars().count();
    let from = before.saturating_sub(AROUND);
    let most = AROUND.saturating_mul(2).saturating_add(wanted.chars().count());
    Some(said.chars().skip(from).take(most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_shown_with_what_stands_around_it() {
        let long = format!("{} The Blue Door {}", "a".repeat(200), "b".repeat(200));
        let found = around(&long, "blue door").unwrap();
        assert!(found.contains("The Blue Door") && found.chars().count() <= 129, "{found}");
        assert_eq!(around("ÄÖ x", "äö").as_deref(), Some("ÄÖ x"));
        assert_eq!(around("nothing", "blue"), None);
    }
}
