//! OpenAI Chat Completions, and the many servers that speak it with an accent.

use std::borrow::Cow;

use moltbot_protocol::message::{Message, Part, StopReason, Usage, text_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::draft::Draft;
use super::provider::Model;
use super::{Deltas, ModelError, Prompt, ToolSpec};

/// The body of a request.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    stream_options: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
}

#[derive(Default, Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

/// Writes a request.
pub(super) fn write(model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
    let mut messages = Vec::with_capacity(prompt.messages.len() + 1);
    if !prompt.system.is_empty() {
        let content = Some(Cow::Borrowed(prompt.system.as_str()));
        messages.push(WireMessage { role: "system", content, ..WireMessage::default() });
    }
    messages.extend(prompt.messages.iter().filter_map(wire_message));
    let longest = Some(prompt.max_tokens.unwrap_or_else(|| model.max_tokens()));
    // OpenAI's newer models take only the new name of the limit, most other servers only the old one.
    let renamed = model.provider() == "openai";
    serde_json::to_vec(&Body {
        model: model.wire_id(),
        messages,
        stream: true,
        stream_options: json!({ "include_usage": true }),
        max_tokens: longest.filter(|_| !renamed),
        max_completion_tokens: longest.filter(|_| renamed),
        tools: tools.iter().map(wire_tool).collect(),
    })
}

fn wire_tool(tool: &ToolSpec) -> Value {
    let function = json!({
        "name": tool.name, "description": tool.description, "parameters": tool.parameters,
    });
    json!({ "type": "function", "function": function })
}

fn wire_message(message: &Message) -> Option<WireMessage<'_>> {
    let (role, content, tool_call_id) = match message {
        Message::Assistant { content, .. } => ("assistant", content, None),
        Message::ToolResult { content, tool_call_id, .. } => ("tool", content, Some(tool_call_id.as_str())),
        Message::User { content, .. } => ("user", content, None),
    };
    let text = match content.as_slice() {
        [Part::Text { text }] => Cow::Borrowed(text.as_str()),
        parts => Cow::Owned(text_of(parts)),
    };
    let tool_calls: Vec<Value> = content.iter().filter_map(wire_call).collect();
    if role == "assistant" && text.is_empty() && tool_calls.is_empty() {
        return None;
    }
    let content = Some(text).filter(|text| !text.is_empty() || role != "assistant");
    Some(WireMessage { role, content, tool_calls, tool_call_id })
}

fn wire_call(part: &Part) -> Option<Value> {
    let Part::ToolCall { id, name, arguments } = part else { return None };
    // Servers parse these arguments again and fail on text that is not an object.
    let arguments = match arguments {
        Value::Object(_) => arguments.to_string(),
        other => json!({ "invalid": other }).to_string(),
    };
    Some(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }))
}

/// One event of the stream, or a whole answer of a server that does not stream.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    /// A text, or an object from servers that do not stream arguments.
    #[serde(default)]
    arguments: Option<Value>,
}

/// Reads one event into the draft.
pub(super) fn read(data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    if data.trim() == "[DONE]" {
        draft.ended = true;
        return Ok(());
    }
    let chunk: Chunk = serde_json::from_str(data).map_err(|error| {
        draft.named().garbage(format!("an event that is not a completion chunk ({error})"))
    })?;
    if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
        return Err(draft.named().event(&error));
    }
    if let Some(usage) = chunk.usage.as_ref().and_then(usage) {
        draft.usage = Some(usage);
    }
    for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index.unwrap_or(0) == 0) {
        read_choice(choice, draft, events)?;
    }
    Ok(())
}

fn read_choice(choice: Choice, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    if let Some(delta) = choice.delta {
        for words in [delta.content, delta.refusal].into_iter().flatten() {
            draft.text(&words, events);
        }
        for call in delta.tool_calls.into_iter().flatten() {
            let (name, arguments) = call.function.map_or((None, None), |it| (it.name, it.arguments));
            let arguments = match arguments {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text,
                Some(other) => other.to_string(),
            };
            let (id, name) = (call.id.unwrap_or_default(), name.unwrap_or_default());
            draft.call(call.index, &id, &name, &arguments, events)?;
        }
    }
    match choice.finish_reason.as_deref() {
        None | Some("") => {}
        Some("content_filter") => {
            return Err(ModelError::Filtered { provider: draft.named().provider() });
        }
        Some("length") => draft.stop = Some(StopReason::Length),
        Some("tool_calls" | "function_call") => draft.stop = Some(StopReason::ToolUse),
        Some(_) => draft.stop = Some(StopReason::Stop),
    }
    Ok(())
}

fn usage(value: &Value) -> Option<Usage> {
    let count = |pointer| value.pointer(pointer).and_then(Value::as_u64);
    let (prompt, output) = (count("/prompt_tokens")?, count("/completion_tokens").unwrap_or(0));
    let cache_read = count("/prompt_tokens_details/cached_tokens").unwrap_or(0);
    Some(Usage {
        input: prompt.saturating_sub(cache_read),
        output,
        cache_read,
        cache_write: 0,
        total_tokens: count("/total_tokens").unwrap_or(prompt.saturating_add(output)),
    })
}
