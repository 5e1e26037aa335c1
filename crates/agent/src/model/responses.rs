//! OpenAI Responses.

use moltbot_net::Url;
use moltbot_protocol::message::{Message, Part, StopReason, ThinkingLevel, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::draft::Draft;
use super::openai::effort;
use super::provider::Model;
use super::wire::{Wire, with_path};
use super::{Deltas, ModelError, Prompt, ToolSpec, thoughts};

/// The format.
pub(super) struct Responses;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    input: Vec<Value>,
    stream: bool,
    /// The provider keeps nothing: the conversation is ours.
    store: bool,
    max_output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    /// Thoughts come back sealed, because the provider does not keep them.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
}

impl Wire for Responses {
    fn endpoint(&self, base: &Url, _: &Model) -> Url {
        with_path(base, &["responses"])
    }

    fn write(&self, model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
        let level = prompt.thinking.filter(|level| model.thinks() && *level != ThinkingLevel::Off);
        serde_json::to_vec(&Body {
            model: model.wire_id(),
            instructions: &prompt.system,
            input: prompt.messages.iter().flat_map(|message| items(model, prompt, message)).collect(),
            stream: true,
            store: false,
            max_output_tokens: model.answer_tokens(prompt),
            reasoning: level.map(|level| json!({ "effort": effort(level), "summary": "auto" })),
            include: if model.thinks() { &["reasoning.encrypted_content"] } else { &[] },
            tools: tools.iter().map(wire_tool).collect(),
        })
    }

    fn read(&self, data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
        if data.trim() == "[DONE]" {
            draft.ended = true;
            return Ok(());
        }
        let event: Event = serde_json::from_str(data).map_err(|error| {
            draft.named().garbage(format!("an event that is not one of a response ({error})"))
        })?;
        read(event, draft, events)
    }
}

fn wire_tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function", "name": tool.name, "description": tool.description,
        "parameters": tool.parameters, "strict": false,
    })
}

/// A message as items of the input, in order.
fn items(model: &Model, prompt: &Prompt, message: &Message) -> Vec<Value> {
    match message {
        Message::Assistant { content, .. } => {
            let own = model.said(message);
            content.iter().filter_map(|part| said_item(part, own)).collect()
        }
        Message::ToolResult { tool_call_id, .. } => {
            vec![json!({
                "type": "function_call_output", "call_id": tool_call_id, "output": message.text(),
            })]
        }
        Message::User { content, .. } => {
            let parts: Vec<Value> =
                content.iter().filter_map(|part| user_part(model, prompt, part)).collect();
            if parts.is_empty() { Vec::new() } else { vec![json!({ "role": "user", "content": parts })] }
        }
    }
}

/// What this model, or another one, said.
fn said_item(part: &Part, own: bool) -> Option<Value> {
    match part {
        Part::Text { text } => Some(json!({
            "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text }],
        })),
        // Only the model that thought them can read them.
        Part::Thinking { thinking_signature: Some(signature), .. } if own => {
            thoughts::unpack(thoughts::RESPONSES, signature)
        }
        Part::ToolCall { id, name, arguments } => Some(json!({
            "type": "function_call", "call_id": id, "name": name,
            "arguments": super::object_of(arguments).to_string(),
        })),
        Part::Image { .. } | Part::Thinking { .. } => None,
    }
}

fn user_part(model: &Model, prompt: &Prompt, part: &Part) -> Option<Value> {
    match part {
        Part::Text { text } => Some(json!({ "type": "input_text", "text": text })),
        Part::Image { path, .. } => {
            let picture = prompt.picture(model, path)?;
            Some(json!({ "type": "input_image", "image_url": picture.data_url() }))
        }
        Part::Thinking { .. } | Part::ToolCall { .. } => None,
    }
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "response.completed")]
    Completed { response: Value },
    #[serde(rename = "error")]
    Error(Value),
    #[serde(rename = "response.failed")]
    Failed { response: Value },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Value },
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        #[serde(default)]
        output_index: u64,
        item: Item,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    Arguments {
        #[serde(default)]
        output_index: u64,
        delta: String,
    },
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        #[serde(default)]
        output_index: u64,
        item: Value,
    },
    #[serde(rename = "response.output_text.delta", alias = "response.refusal.delta")]
    Text { delta: String },
    #[serde(rename = "response.reasoning_summary_text.delta", alias = "response.reasoning_text.delta")]
    Thought { delta: String },
    /// What tells nothing new, and what later versions add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    call_id: String,
    #[serde(default)]
    name: String,
}

fn read(event: Event, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    match event {
        Event::Arguments { output_index, delta } => draft.call(Some(output_index), "", "", &delta, events)?,
        Event::Completed { response } => {
            take_usage(&response, draft);
            draft.stop = Some(StopReason::Stop);
            draft.ended = true;
        }
        Event::Error(error) => return Err(draft.named().event(error.get("error").unwrap_or(&error))),
        Event::Failed { response } => {
            return Err(draft.named().event(response.get("error").unwrap_or(&Value::Null)));
        }
        Event::Incomplete { response } => {
            take_usage(&response, draft);
            let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
            if reason == Some("content_filter") {
                return Err(ModelError::Filtered { provider: draft.named().provider() });
            }
            draft.stop = Some(StopReason::Length);
            draft.ended = true;
        }
        Event::ItemAdded { output_index, item } if item.kind == "function_call" => {
            draft.call(Some(output_index), &item.call_id, &item.name, "", events)?;
        }
        Event::ItemDone { output_index, item } => finish_item(output_index, &item, draft),
        Event::Text { delta } => draft.text(&delta, events),
        Event::Thought { delta } => draft.thought(&delta, events),
        Event::ItemAdded { .. } | Event::Other => {}
    }
    Ok(())
}

/// Takes what an item has that did not come in pieces.
fn finish_item(place: u64, item: &Value, draft: &mut Draft<'_>) {
    match item.get("type").and_then(Value::as_str) {
        Some("function_call") => {
            let arguments = item.get("arguments").and_then(Value::as_str).unwrap_or_default();
            draft.fill_arguments(place, arguments);
        }
        Some("reasoning") if item.get("encrypted_content").is_some_and(Value::is_string) => {
            draft.sign(&thoughts::pack(thoughts::RESPONSES, item));
        }
        _ => {}
    }
}

fn take_usage(response: &Value, draft: &mut Draft<'_>) {
    let count = |pointer| response.pointer(pointer).and_then(Value::as_u64);
    let Some(read) = count("/usage/input_tokens") else { return };
    let output = count("/usage/output_tokens").unwrap_or(0);
    let cache_read = count("/usage/input_tokens_details/cached_tokens").unwrap_or(0);
    draft.usage = Some(Usage {
        input: read.saturating_sub(cache_read),
        output,
        cache_read,
        total_tokens: count("/usage/total_tokens").unwrap_or(read.saturating_add(output)),
        ..Usage::default()
    });
}
