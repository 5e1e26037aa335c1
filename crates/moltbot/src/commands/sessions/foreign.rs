//! Transcripts as other programs of this kind keep them, as far as they can be kept here.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use moltbot_protocol::principal::Principal;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest text of a tool's answer that is kept, in characters: an answer of a megabyte helps no model.
const RESULT_CHARS: usize = 50_000;
/// What stands for a picture.
const PICTURE: &str = "[a picture, which was not imported]";

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Transcript {
    /// What was said, oldest first, beginning with what somebody said.
    pub(crate) messages: Vec<Message>,
    /// What could not be kept: what it is, and how often it was there.
    pub(crate) left_out: BTreeMap<String, u64>,
}

/// One line but the first.
#[derive(Default)]
struct Entry {
    id: Option<String>,
    parent: Option<String>,
    message: Option<Message>,
}

/// Reads a transcript: a line about the session, then one for each message and each change of a setting, each naming the one
/// before it; or lines that are messages and nothing else. Of a conversation that was taken up again from an earlier message,
/// the branch is kept that was spoken in last.
///
/// # Errors
/// With the number of a line that is no such line. The last one may be cut, as a crash leaves it.
pub(crate) fn read(text: &str) -> Result<Transcript, String> {
    let mut transcript = Transcript::default();
    let mut entries = Vec::new();
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
    let mut last_ms = 0;
    for (at, (number, line)) in lines.iter().enumerate() {
        let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) else {
            if at > 0 && at.saturating_add(1) == lines.len() && !text.ends_with('\n') {
                transcript.leave_out("a last line that is cut");
                break;
            }
            return Err(format!("line {number} is no JSON object"));
        };
        let entry = transcript.entry(line, &mut last_ms).map_err(|why| format!("line {number}: {why}"))?;
        entries.extend(entry);
    }
    let path = path(&entries);
    for (entry, is_on_path) in entries.into_iter().zip(path) {
        match entry.message {
            Some(message) if is_on_path => transcript.add(message),
            Some(_) => transcript.leave_out("messages of branches that were left"),
            None => {}
        }
    }
    Ok(transcript)
}

/// Which entries lead to the last message. All of them, where they do not name each other.
fn path(entries: &[Entry]) -> Vec<bool> {
    let places: HashMap<&str, usize> =
        entries.iter().enumerate().filter_map(|(at, entry)| Some((entry.id.as_deref()?, at))).collect();
    let mut on_path = vec![false; entries.len()];
    let mut at = entries.iter().rposition(|entry| entry.message.is_some());
    while let Some(here) = at {
        // A name that was there before, or one that nobody has: they do not lead anywhere.
        let (Some(mark), Some(entry)) = (on_path.get_mut(here), entries.get(here)) else { break };
        if std::mem::replace(mark, true) {
            return vec![true; entries.len()];
        }
        at = match (&entry.id, &entry.parent) {
            (None, _) => return vec![true; entries.len()],
            (Some(_), None) => None,
            (Some(_), Some(parent)) => match places.get(parent.as_str()) {
                Some(place) => Some(*place),
                None => return vec![true; entries.len()],
            },
        };
    }
    on_path
}

impl Transcript {
    /// The messages by turns: each begins with what somebody said.
    pub(crate) fn turns(&self) -> impl Iterator<Item = &[Message]> {
        self.messages.chunk_by(|_, next| !matches!(next, Message::User { .. }))
    }

    fn leave_out(&mut self, what: &str) {
        let count = self.left_out.entry(what.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    fn add(&mut self, message: Message) {
        let is_said = matches!(message, Message::User { .. });
        if self.messages.is_empty() && !is_said {
            self.leave_out("messages before the first that somebody said");
        } else {
            self.messages.push(message);
        }
    }

    fn entry(&mut self, mut line: Map<String, Value>, last_ms: &mut u64) -> Result<Option<Entry>, String> {
        if line.contains_key("role") {
            let message = self.message(Value::Object(line), last_ms)?;
            return Ok(Some(Entry { message: Some(message), ..Entry::default() }));
        }
        let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let (kind, id, parent) = (text("type"), text("id"), text("parentId"));
        let at = text("timestamp").and_then(|at| at.parse::<Timestamp>().ok());
        if let Some(at) = at.and_then(|at| u64::try_from(at.as_millisecond()).ok()) {
            *last_ms = at;
        }
        match kind.as_deref() {
            Some("session") => return Ok(None),
            Some("message") => {
                let message = line.remove("message").ok_or("it has no message")?;
                let message = Some(self.message(message, last_ms)?);
                return Ok(Some(Entry { id, parent, message }));
            }
            Some("compaction" | "branch_summary") => self.leave_out("summaries of what is there in full"),
            Some(kind) => self.leave_out(&format!("entries {:?}", kind.chars().take(40).collect::<String>())),
            None => return Err("it has neither a role nor a type".into()),
        }
        Ok(Some(Entry { id, parent, message: None }))
    }

    fn message(&mut self, message: Value, last_ms: &mut u64) -> Result<Message, String> {
        let said: Said = serde_json::from_value(message).map_err(|error| error.to_string())?;
        *last_ms = said.timestamp.unwrap_or(*last_ms);
        let timestamp = *last_ms;
        let mut content = self.content(said.content);
        match said.role.as_str() {
            "user" => {
                let principal = said.principal.map_or(Ok(Principal::Owner), |name| Principal::parse(&name));
                let principal = principal.map_err(|error| error.to_string())?;
                Ok(Message::User { content, timestamp, principal })
            }
            "assistant" => Ok(Message::Assistant {
                content,
                timestamp,
                provider: said.provider.unwrap_or_else(|| "unknown".into()),
                model: said.model.unwrap_or_else(|| "unknown".into()),
                usage: said.usage.unwrap_or_default().into(),
                stop_reason: serde_json::from_value(said.stop_reason).unwrap_or(StopReason::Stop),
                error_message: said.error_message,
            }),
            "toolResult" => {
                content.iter_mut().for_each(|part| self.cut(part));
                Ok(Message::ToolResult {
                    tool_call_id: said.tool_call_id.ok_or("an answer of a tool has no toolCallId")?,
                    tool_name: said.tool_name.unwrap_or_default(),
                    content,
                    is_error: said.is_error,
                    timestamp,
                })
            }
            other => Err(format!("a message of the role {other:?} is not known")),
        }
    }

    fn content(&mut self, content: Value) -> Vec<Part> {
        match content {
            Value::String(text) => vec![Part::text(text)],
            Value::Array(parts) => parts.into_iter().filter_map(|part| self.part(&part)).collect(),
            _ => Vec::new(),
        }
    }

    fn part(&mut self, part: &Value) -> Option<Part> {
        let text = |name: &str| part.get(name).and_then(Value::as_str).map(str::to_owned);
        match text("type").as_deref() {
            Some("text") => Some(Part::Text { text: text("text")? }),
            // The provider's signature is for the conversation as it was had there.
            Some("thinking") => {
                Some(Part::Thinking { thinking: text("thinking")?, thinking_signature: None })
            }
            Some("toolCall") => Some(Part::ToolCall {
                id: text("id")?,
                name: text("name")?,
                arguments: part.get("arguments").cloned().unwrap_or_default(),
            }),
            Some("image") => {
                self.leave_out("pictures");
                Some(Part::text(PICTURE))
            }
            _ => {
                self.leave_out("parts of messages that are not known");
                None
            }
        }
    }

    fn cut(&mut self, part: &mut Part) {
        if let Part::Text { text } = part
            && let Some((end, _)) = text.char_indices().nth(RESULT_CHARS)
        {
            text.truncate(end);
            text.push_str("\n[the rest was not imported]");
            self.leave_out("ends of long answers of tools");
        }
    }
}

/// A message as it stands in a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(default)]
    principal: Option<String>,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Used>,
    #[serde(default)]
    stop_reason: Value,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    tool_name: Option<String>,
    #[serde(default)]
    is_error: bool,
}

/// What a message used, as far as it says so.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Used {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    total_tokens: u64,
}

impl From<Used> for Usage {
    fn from(used: Used) -> Self {
        let Used { input, output, cache_read, cache_write, total_tokens } = used;
        Self { input, output, cache_read, cache_write, total_tokens, charged: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        r#"{"type":"session","version":3,"id":"x","timestamp":"2026-01-02T03:04:05.000Z","cwd":"/tmp"}"#;

    fn user(text: &str, timestamp: u64) -> Message {
        Message::User { content: vec![Part::text(text)], timestamp, principal: Principal::Owner }
    }

    #[test]
    fn the_branch_is_kept_that_was_spoken_in_last() {
        let text = format!(
            "{FIRST}\n{}\n{}\n{}\n{}\n",
            r#"{"type":"message","id":"1","parentId":null,"message":{"role":"user","content":"a","timestamp":7}}"#,
            r#"{"type":"message","id":"2","parentId":"1","message":{"role":"user","content":"left","timestamp":8}}"#,
            r#"{"type":"model_change","id":"3","parentId":"1","provider":"p","modelId":"m"}"#,
            r#"{"type":"message","id":"4","parentId":"3","timestamp":"2026-01-02T03:04:05Z","message":{"role":"user","content":[{"type":"text","text":"b"}]}}"#,
        );
        let read = read(&text).unwrap();
        assert_eq!(read.messages, [user("a", 7), user("b", 1_767_323_045_000)]);
        let left: Vec<_> = read.left_out.iter().map(|(what, count)| (what.as_str(), *count)).collect();
        assert_eq!(left, [("entries \"model_change\"", 1), ("messages of branches that were left", 1)]);
    }

    #[test]
    fn lines_that_do_not_name_each_other_are_all_kept_and_rings_end() {
        let ring = [("1", "\"2\""), ("2", "\"1\"")];
        let unknown = [("1", "\"9\""), ("2", "\"1\"")];
        for pairs in [ring, unknown] {
            let lines = pairs.map(|(id, parent)| {
                format!(r#"{{"type":"message","id":"{id}","parentId":{parent},"message":{{"role":"user","content":"a","timestamp":1}}}}"#)
            });
            assert_eq!(read(&lines.join("\n")).unwrap().messages.len(), 2, "{lines:?}");
        }
        let bare = r#"{"role":"user","content":"a","timestamp":1}"#;
        assert_eq!(read(&format!("{bare}\n\n{bare}")).unwrap().messages.len(), 2);
    }

    #[test]
    fn what_cannot_be_kept_is_counted_and_what_is_no_transcript_is_refused_with_its_line() {
        let long = "x".repeat(RESULT_CHARS + 1);
        let text = format!(
            "{FIRST}\n{}\n{}\n{}\n{{\"type\":\"mess",
            r#"{"role":"assistant","content":"too early"}"#,
            r#"{"role":"user","content":[{"type":"image","data":"AAAA","mimeType":"image/png"},{"type":"odd"}]}"#,
            format_args!(
                r#"{{"role":"toolResult","toolCallId":"c","toolName":"exec","content":[{{"type":"text","text":"{long}"}}]}}"#
            ),
        );
        let read_ = read(&text).unwrap();
        assert_eq!(read_.messages.len(), 2);
        assert_eq!(read_.messages[0].text(), PICTURE);
        assert_eq!(read_.left_out.len(), 5, "{:?}", read_.left_out);
        for (text, expected) in [
            ("[]", "line 1 is no JSON object"),
            ("{\"role\":\"user\",\"content\":\"a\"}\nnot JSON\n", "line 2 is no JSON object"),
            (
                "\n{\"role\":\"system\",\"content\":\"a\"}",
                "line 2: a message of the role \"system\" is not known",
            ),
            ("{}", "line 1: it has neither a role nor a type"),
            ("{\"type\":\"message\"}", "line 1: it has no message"),
            (
                "{\"role\":\"user\",\"content\":\"a\",\"principal\":\"root\"}",
                "line 1: \"root\" names nobody who can cause a turn",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }
}
