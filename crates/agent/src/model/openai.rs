//! OpenAI Chat Completions, and the many servers that speak it with an accent.

use std::borrow::Cow;

use moltbot_config::settings::{Dollars, MaxTokensField};
use moltbot_net::Url;
use moltbot_protocol::message::{Message, Part, StopReason, ThinkingLevel, Usage, text_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::draft::Draft;
use super::provider::Model;
use super::wire::{Wire, with_path};
use super::{Deltas, ModelError, Prompt, ToolSpec};

/// The format.
pub(super) struct OpenAi;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    /// OpenRouter's way to say the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    /// Asks OpenRouter what it charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
}

#[derive(Default, Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

/// Words alone are a text: not every server takes a list of parts.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Parts(Vec<Value>),
    Text(Cow<'a, str>),
}

impl Wire for OpenAi {
    fn endpoint(&self, base: &Url, _: &Model) -> Url {
        with_path(base, &["chat", "completions"])
    }

    /// OpenRouter tells its owner by this which program asked.
    fn headers(&self, model: &Model) -> &'static [(&'static str, &'static str)] {
        if model.is_routed() { &[("x-title", "moltbot")] } else { &[] }
    }

    fn reads_documents(&self) -> bool {
        true
    }

    fn write(&self, model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
        write(model, prompt, tools)
    }

    fn read(&self, data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
        read(data, draft, events)
    }
}

/// The effort of a level, as OpenAI calls it.
pub(super) const fn effort(level: ThinkingLevel) -> &'static str {
    match level {
        ThinkingLevel::Off => "none",
        ThinkingLevel::Minimal => "minimal",
        ThinkingLevel::Low => "low",
        ThinkingLevel::Medium => "medium",
        ThinkingLevel::High => "high",
        ThinkingLevel::Xhigh => "xhigh",
    }
}

fn write(model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
    let mut messages = Vec::with_capacity(prompt.messages.len() + 1);
    if !prompt.system.is_empty() {
        let content = Some(Content::Text(Cow::Borrowed(prompt.system.as_str())));
        let role =
            if model.facts.compat.supports_developer_role == Some(true) { "developer" } else { "system" };
        messages.push(WireMessage { role, content, ..WireMessage::default() });
    }
    messages.extend(prompt.messages.iter().filter_map(|message| wire_message(model, prompt, message)));
    let longest = Some(model.answer_tokens(prompt));
    // OpenAI's newer models take only the new name of the limit, most other servers only the old one.
    let renamed = match model.facts.compat.max_tokens_field {
        Some(MaxTokensField::MaxCompletionTokens) => true,
        Some(MaxTokensField::MaxTokens) => false,
        None => model.provider() == "openai",
    };
    let takes_effort = model.thinks() && model.facts.compat.supports_reasoning_effort != Some(false);
    let level = prompt.thinking.filter(|_| takes_effort);
    let routed = model.is_routed();
    serde_json::to_vec(&Body {
        model: model.wire_id(),
        messages,
        stream: true,
        stream_options: json!({ "include_usage": true }),
        max_tokens: longest.filter(|_| !renamed),
        max_completion_tokens: longest.filter(|_| renamed),
        // Only OpenRouter knows how to switch thoughts off everywhere.
        reasoning_effort: level.filter(|level| !routed && *level != ThinkingLevel::Off).map(effort),
        reasoning: level.filter(|_| routed).map(routed_effort),
        store: model.facts.compat.supports_store.filter(|supported| *supported).map(|_| false),
        usage: routed.then(|| json!({ "include": true })),
        tools: tools.iter().map(wire_tool).collect(),
    })
}

/// The effort of a level, as OpenRouter takes it.
fn routed_effort(level: ThinkingLevel) -> Value {
    match level {
        ThinkingLevel::Off => json!({ "enabled": false }),
        level => json!({ "effort": effort(level) }),
    }
}

pub(super) fn wire_tool(tool: &ToolSpec) -> Value {
    let function = json!({
        "name": tool.name, "description": tool.description, "parameters": tool.parameters,
    });
    json!({ "type": "function", "function": function })
}

fn wire_message<'a>(model: &Model, prompt: &Prompt, message: &'a Message) -> Option<WireMessage<'a>> {
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
    let empty = text.is_empty();
    if role == "assistant" && empty && tool_calls.is_empty() {
        return None;
    }
    let pictures: Vec<Value> = content.iter().filter_map(|part| picture(model, prompt, part)).collect();
    let content = if pictures.is_empty() {
        Some(Content::Text(text)).filter(|_| !empty || role != "assistant")
    } else {
        let words = (!empty).then(|| json!({ "type": "text", "text": text }));
        Some(Content::Parts(words.into_iter().chain(pictures).collect()))
    };
    Some(WireMessage { role, content, tool_calls, tool_call_id })
}

fn picture(model: &Model, prompt: &Prompt, part: &Part) -> Option<Value> {
    let Part::Image { path, .. } = part else { return None };
    let picture = prompt.picture(model, path)?;
    Some(json!({ "type": "image_url", "image_url": { "url": picture.data_url() } }))
}

fn wire_call(part: &Part) -> Option<Value> {
    let Part::ToolCall { id, name, arguments } = part else { return None };
    // Servers parse these arguments again and fail on text that is not an object.
    let arguments = super::object_of(arguments).to_string();
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
    /// What the model thinks, as OpenRouter calls it.
    #[serde(default)]
    reasoning: Option<String>,
    /// The same, as most other servers call it.
    #[serde(default)]
    reasoning_content: Option<String>,
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

fn read(data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
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
        draft.thought(&delta.reasoning_content.or(delta.reasoning).unwrap_or_default(), events);
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
        Some("error") => return Err(draft.named().garbage("an answer that ended with an error")),
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
        charged: value.get("cost").and_then(Value::as_f64).and_then(Dollars::parse).map(Dollars::millionths),
    })
}
