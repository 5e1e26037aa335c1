//! Ollama's own chat: one JSON document a line.
//!
//! Its compatible interface cuts a long prompt without a word; here the window is set with every question.

use moltbot_net::Url;
use moltbot_protocol::message::{Message, Part, StopReason, ThinkingLevel, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::provider::Model;
use super::wire::{Framing, Wire, last_segment, with_path};
use super::{Deltas, ModelError, Prompt, ToolSpec};

/// The format.
pub(super) struct Ollama;

impl Wire for Ollama {
    fn endpoint(&self, base: &Url, _: &Model) -> Url {
        let path: &[&str] = if last_segment(base) == "api" { &["chat"] } else { &["api", "chat"] };
        with_path(base, path)
    }

    fn list(&self, base: &Url) -> Url {
        let path: &[&str] = if last_segment(base) == "api" { &["tags"] } else { &["api", "tags"] };
        with_path(base, path)
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn write(&self, model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
        let mut messages = Vec::with_capacity(prompt.messages.len().saturating_add(1));
        if !prompt.system.is_empty() {
            messages.push(json!({ "role": "system", "content": prompt.system }));
        }
        messages.extend(prompt.messages.iter().filter_map(|message| wire_message(model, prompt, message)));
        let mut body = Map::new();
        body.insert("model".into(), model.wire_id().into());
        body.insert("messages".into(), messages.into());
        body.insert("stream".into(), true.into());
        let (window, answer) = (model.context_tokens(), model.answer_tokens(prompt));
        body.insert("options".into(), json!({ "num_ctx": window, "num_predict": answer }));
        if let Some(level) = prompt.thinking.filter(|_| model.thinks()) {
            body.insert("think".into(), think(model, level));
        }
        if !tools.is_empty() {
            body.insert("tools".into(), tools.iter().map(super::openai::wire_tool).collect());
        }
        serde_json::to_vec(&body)
    }

    fn read(&self, data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
        let line: Line = serde_json::from_str(data).map_err(|error| {
            draft.named().garbage(format!("a line that is not a part of a chat ({error})"))
        })?;
        if let Some(error) = line.error {
            return Err(draft.named().event(&error));
        }
        if let Some(message) = line.message {
            draft.thought(message.thinking.as_deref().unwrap_or_default(), events);
            draft.text(message.content.as_deref().unwrap_or_default(), events);
            for call in message.tool_calls.into_iter().flatten() {
                let Function { name, arguments } = call.function;
                let arguments = match arguments {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text,
                    Some(other) => other.to_string(),
                };
                draft.call(None, "", &name, &arguments, events)?;
            }
        }
        if line.done {
            let cut = line.done_reason.as_deref() == Some("length");
            draft.stop = Some(if cut { StopReason::Length } else { StopReason::Stop });
            draft.ended = true;
            let (input, output) = (line.prompt_eval_count, line.eval_count.unwrap_or(0));
            draft.usage = input.map(|input| Usage {
                input,
                output,
                total_tokens: input.saturating_add(output),
                ..Usage::default()
            });
        }
        Ok(())
    }
}

/// Most models know yes and no; `gpt-oss` knows levels, and no no.
fn think(model: &Model, level: ThinkingLevel) -> Value {
    if !model.wire_id().starts_with("gpt-oss") {
        return (level != ThinkingLevel::Off).into();
    }
    match level {
        ThinkingLevel::Off | ThinkingLevel::Minimal | ThinkingLevel::Low => "low".into(),
        ThinkingLevel::Medium => "medium".into(),
        ThinkingLevel::High | ThinkingLevel::Xhigh => "high".into(),
    }
}

fn wire_message(model: &Model, prompt: &Prompt, message: &Message) -> Option<Value> {
    let text = message.text();
    match message {
        Message::Assistant { content, .. } => {
            let calls: Vec<Value> = content.iter().filter_map(wire_call).collect();
            if text.is_empty() && calls.is_empty() {
                return None;
            }
            let said = json!({ "role": "assistant", "content": text });
            Some(with_member(said, "tool_calls", calls))
        }
        Message::ToolResult { tool_name, .. } => {
            Some(json!({ "role": "tool", "content": text, "tool_name": tool_name }))
        }
        Message::User { content, .. } => {
            let pictures = content.iter().filter_map(|part| match part {
                Part::Image { path, .. } => Some(Value::from(prompt.picture(model, path)?.base64.as_str())),
                _ => None,
            });
            let said = json!({ "role": "user", "content": text });
            Some(with_member(said, "images", pictures.collect()))
        }
    }
}

/// An object with one more member, unless that is empty.
fn with_member(mut object: Value, name: &str, values: Vec<Value>) -> Value {
    if let (false, Some(members)) = (values.is_empty(), object.as_object_mut()) {
        members.insert(name.into(), values.into());
    }
    object
}

fn wire_call(part: &Part) -> Option<Value> {
    let Part::ToolCall { name, arguments, .. } = part else { return None };
    Some(json!({ "function": { "name": name, "arguments": super::object_of(arguments) } }))
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    done: bool,
    #[serde(default)]
    done_reason: Option<String>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Option<Value>,
}
