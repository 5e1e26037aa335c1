//! Anthropic Messages.

use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::draft::Draft;
use super::provider::Model;
use super::{Deltas, ModelError, Prompt, ToolSpec};

/// The version of the interface that this module speaks.
pub(super) const VERSION: &str = "2023-06-01";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
}

/// What one side says before the other speaks again: the interface wants the two to alternate.
#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
    ToolResult { tool_use_id: &'a str, is_error: bool, content: Vec<Block<'a>> },
    ToolUse { id: &'a str, name: &'a str, input: Value },
}

/// Writes a request.
pub(super) fn write(model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
    let mut messages: Vec<Turn<'_>> = Vec::new();
    for message in &prompt.messages {
        let (role, content) = blocks_of(message);
        match messages.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(content),
            Some(_) | None => messages.push(Turn { role, content }),
        }
    }
    // The instructions and tools are the same in every step of a turn: the provider may keep them.
    let cached = || json!({ "type": "ephemeral" });
    let system = json!({ "type": "text", "text": prompt.system, "cache_control": cached() });
    serde_json::to_vec(&Body {
        model: model.wire_id(),
        max_tokens: prompt.max_tokens.unwrap_or_else(|| model.max_tokens()),
        stream: true,
        system: if prompt.system.is_empty() { Vec::new() } else { vec![system] },
        messages,
        tools: tools.iter().map(wire_tool).collect(),
    })
}

fn wire_tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters })
}

fn blocks_of(message: &Message) -> (&'static str, Vec<Block<'_>>) {
    match message {
        Message::Assistant { content, .. } => ("assistant", content.iter().filter_map(block).collect()),
        Message::User { content, .. } => ("user", content.iter().filter_map(block).collect()),
        Message::ToolResult { tool_call_id, content, is_error, .. } => {
            let content = content.iter().filter_map(block).collect();
            ("user", vec![Block::ToolResult { tool_use_id: tool_call_id, is_error: *is_error, content }])
        }
    }
}

/// A part as a block; the interface refuses texts of white space.
fn block(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Text { text } if text.trim().is_empty() => None,
        Part::Text { text } => Some(Block::Text { text }),
        Part::ToolCall { id, name, arguments } => {
            let input = match arguments {
                Value::Object(_) => arguments.clone(),
                other => json!({ "invalid": other }),
            };
            Some(Block::ToolUse { id, name, input })
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    ContentBlockDelta {
        index: u64,
        delta: BlockDelta,
    },
    ContentBlockStart {
        index: u64,
        content_block: BlockStart,
    },
    Error {
        error: Value,
    },
    MessageDelta {
        delta: MessageDelta,
        #[serde(default)]
        usage: Value,
    },
    MessageStart {
        message: Value,
    },
    MessageStop,
    /// `ping`, `content_block_stop`, and what later versions add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockStart {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    InputJsonDelta {
        partial_json: String,
    },
    TextDelta {
        text: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageDelta {
    #[serde(default)]
    stop_reason: Option<String>,
}

/// Reads one event into the draft.
pub(super) fn read(data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    let event: Event = serde_json::from_str(data)
        .map_err(|error| draft.named().garbage(format!("an event that is not one of a message ({error})")))?;
    match event {
        Event::ContentBlockDelta { index, delta } => match delta {
            BlockDelta::InputJsonDelta { partial_json } => {
                draft.call(Some(index), "", "", &partial_json, events)?;
            }
            BlockDelta::TextDelta { text } => draft.text(&text, events),
            BlockDelta::Other => {}
        },
        Event::ContentBlockStart { index, content_block } => match content_block {
            BlockStart::Text { text } => draft.text(&text, events),
            BlockStart::ToolUse { id, name, input } => {
                let whole = input.as_object().filter(|input| !input.is_empty()).is_some();
                let arguments = if whole { input.to_string() } else { String::new() };
                draft.call(Some(index), &id, &name, &arguments, events)?;
            }
            BlockStart::Other => {}
        },
        Event::Error { error } => return Err(draft.named().event(&error)),
        Event::MessageDelta { delta, usage } => {
            read_usage(&usage, draft);
            if let Some(reason) = delta.stop_reason {
                draft.stop = Some(stop_reason(&reason, draft)?);
            }
        }
        Event::MessageStart { message } => read_usage(message.get("usage").unwrap_or(&Value::Null), draft),
        Event::MessageStop => draft.ended = true,
        Event::Other => {}
    }
    Ok(())
}

fn stop_reason(reason: &str, draft: &Draft<'_>) -> Result<StopReason, ModelError> {
    match reason {
        "max_tokens" => Ok(StopReason::Length),
        "model_context_window_exceeded" => {
            Err(ModelError::ContextTooLong { model: draft.named().model.into() })
        }
        "refusal" => Err(ModelError::Filtered { provider: draft.named().provider() }),
        "tool_use" => Ok(StopReason::ToolUse),
        _ => Ok(StopReason::Stop),
    }
}

/// Usage comes in two parts, and the second has the final counts of what it repeats.
fn read_usage(value: &Value, draft: &mut Draft<'_>) {
    let count = |name: &str, before: u64| value.get(name).and_then(Value::as_u64).unwrap_or(before);
    let before = draft.usage;
    let known = before.unwrap_or_default();
    let mut usage = Usage {
        input: count("input_tokens", known.input),
        output: count("output_tokens", known.output),
        cache_read: count("cache_read_input_tokens", known.cache_read),
        cache_write: count("cache_creation_input_tokens", known.cache_write),
        total_tokens: 0,
    };
    let read = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
    usage.total_tokens = read.saturating_add(usage.output);
    draft.usage = if usage.total_tokens == 0 { before } else { Some(usage) };
}
