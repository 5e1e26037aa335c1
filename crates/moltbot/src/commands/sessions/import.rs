//! A transcript of another program, or of another gateway, brought back.

use std::path::Path;

use moltbot_config::limits;
use moltbot_protocol::message::Message;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use super::foreign::{self, Transcript};
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, harmless};

/// The largest file that is read, in bytes.
const BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of messages in one request, unless one turn alone is larger.
const REQUEST: usize = 256 * 1024;
/// Bytes of the largest turn: a frame, without what stands around the messages.
const TURN: usize = limits::MESSAGE_BYTES - 4096;

/// Adds what a file holds as a conversation under that key, which must not be there yet.
pub(super) async fn run(home: &Home, key: &str, file: &Path, as_json: bool) -> anyhow::Result<Exit> {
    let file = std::path::absolute(file)?;
    let bytes = moltbot_vault::read_public(&file, BYTES).map_err(|error| home::failed(&error))?;
    let unlike = |why: String| Exit::Failed.because(format!("{} is no transcript: {why}", file.display()));
    let text = String::from_utf8(bytes).map_err(|error| unlike(error.to_string()))?;
    let transcript = foreign::read(&text).map_err(unlike)?;
    if transcript.messages.is_empty() {
        return Err(Exit::Failed.because(format!("{} has nothing that somebody said", file.display())));
    }
    let mut connection = Connection::open(home, &[Scope::Admin, Scope::Read]).await?;
    let mut done: usize = 0;
    let mut answer = Value::Null;
    for part in parts(&transcript)? {
        let params = json!({"key": key, "skip": done, "messages": part});
        answer = connection.ask(Method::SessionsImport.name(), params).await?;
        done = done.saturating_add(part.len());
        output::progress(&format!("{done} of {} messages", transcript.messages.len()));
    }
    output::progress("");
    connection.close().await;
    tell(&answer, &transcript, as_json)?;
    Ok(Exit::Done)
}

/// The messages in whole turns, as many as fit into one request.
fn parts(transcript: &Transcript) -> anyhow::Result<Vec<Vec<&Message>>> {
    let mut parts: Vec<Vec<&Message>> = Vec::new();
    let mut bytes = REQUEST;
    for turn in transcript.turns() {
        let size = serde_json::to_vec(turn)?.len();
        if size > TURN {
            let at = parts.iter().map(Vec::len).sum::<usize>().saturating_add(1);
            let told = format!(
                "the turn that begins with message {at} takes {size} bytes, and at most {TURN} can be imported"
            );
            return Err(Exit::Failed.because(told));
        }
        bytes = bytes.saturating_add(size);
        if bytes > REQUEST {
            parts.push(Vec::new());
            bytes = size;
        }
        parts.last_mut().into_iter().for_each(|part| part.extend(turn));
    }
    Ok(parts)
}

fn tell(answer: &Value, transcript: &Transcript, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let mut told = answer.clone();
        if let Some(members) = told.as_object_mut() {
            members.insert("leftOut".into(), json!(transcript.left_out));
        }
        return Ok(output::json(&told)?);
    }
    let key = harmless(answer.get("key").and_then(Value::as_str).unwrap_or_default());
    output::line(&format!("{key} has {} messages", transcript.messages.len()))?;
    for (what, count) in &transcript.left_out {
        output::line(&format!("  left out: {} ({count})", harmless(what)))?;
    }
    Ok(())
}
