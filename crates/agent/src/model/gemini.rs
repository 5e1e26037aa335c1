//! Google Gemini: `generateContent`, streamed.

use moltbot_net::Url;
use moltbot_protocol::message::{Message, Part, StopReason, ThinkingLevel, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::provider::Model;
use super::wire::{Wire, with_path};
use super::{Deltas, ModelError, Prompt, ToolSpec, thoughts};

/// The format.
pub(super) struct Gemini;

impl Wire for Gemini {
    fn endpoint(&self, base: &Url, model: &Model) -> Url {
        let name = model.wire_id();
        let name = name.strip_prefix("models/").unwrap_or(name);
        let mut url = with_path(base, &["models", &format!("{name}:streamGenerateContent")]);
        url.set_query(Some("alt=sse"));
        url
    }

    /// Never in the URL, as the provider's own examples have it: URLs are logged on the way.
    fn key_header(&self) -> (&'static str, &'static str) {
        ("x-goog-api-key", "")
    }

    fn write(&self, model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
        let mut contents: Vec<Value> = Vec::new();
        for message in &prompt.messages {
            let (role, mut parts) = parts_of(model, prompt, message);
            match contents.last_mut() {
                _ if parts.is_empty() => {}
                Some(last) if last.get("role").is_some_and(|known| known == role) => {
                    if let Some(known) = last.get_mut("parts").and_then(Value::as_array_mut) {
                        known.append(&mut parts);
                    }
                }
                Some(_) | None => contents.push(json!({ "role": role, "parts": parts })),
            }
        }
        let mut generation = json!({ "maxOutputTokens": model.answer_tokens(prompt) });
        if let (Some(thinking), Some(members)) = (thinking(model, prompt), generation.as_object_mut()) {
            members.insert("thinkingConfig".into(), thinking);
        }
        let mut body = Map::new();
        body.insert("contents".into(), contents.into());
        body.insert("generationConfig".into(), generation);
        if !prompt.system.is_empty() {
            body.insert("systemInstruction".into(), json!({ "parts": [{ "text": prompt.system }] }));
        }
        if !tools.is_empty() {
            let tools: Vec<Value> = tools.iter().map(wire_tool).collect();
            body.insert("tools".into(), json!([{ "functionDeclarations": tools }]));
        }
        serde_json::to_vec(&body)
    }

    fn read(&self, data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| {
            draft.named().garbage(format!("an event that is not a part of a Gemini answer ({error})"))
        })?;
        if let Some(error) = chunk.error {
            return Err(draft.named().event(&error));
        }
        if chunk.prompt_feedback.is_some_and(|feedback| feedback.get("blockReason").is_some()) {
            return Err(ModelError::Filtered { provider: draft.named().provider() });
        }
        if let Some(usage) = chunk.usage_metadata.as_ref().and_then(usage) {
            draft.usage = Some(usage);
        }
        for candidate in chunk.candidates.into_iter().filter(|candidate| candidate.index == 0) {
            for part in candidate.content.unwrap_or_default().parts {
                read_part(part, draft, events)?;
            }
            if let Some(reason) = candidate.finish_reason {
                draft.stop = Some(stop_reason(&reason, draft)?);
            }
        }
        Ok(())
    }
}

/// How much to think: newer models are told a level, older ones a number of tokens.
fn thinking(model: &Model, prompt: &Prompt) -> Option<Value> {
    let level = prompt.thinking.filter(|_| model.thinks())?;
    if model.wire_id().contains("gemini-3") {
        let level = if level <= ThinkingLevel::Low { "low" } else { "high" };
        return Some(json!({ "thinkingLevel": level }));
    }
    let tokens = match level {
        ThinkingLevel::Off => 0,
        ThinkingLevel::Minimal => 512,
        ThinkingLevel::Low => 2048,
        ThinkingLevel::Medium => 8192,
        ThinkingLevel::High | ThinkingLevel::Xhigh => 24_576,
    };
    Some(json!({ "thinkingBudget": tokens }))
}

fn wire_tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters })
}

fn parts_of(model: &Model, prompt: &Prompt, message: &Message) -> (&'static str, Vec<Value>) {
    match message {
        Message::Assistant { content, .. } => ("model", said_parts(content, model.said(message))),
        Message::ToolResult { tool_name, is_error, .. } => {
            let name = if *is_error { "error" } else { "output" };
            let response = json!({ name: message.text() });
            ("user", vec![json!({ "functionResponse": { "name": tool_name, "response": response } })])
        }
        Message::User { content, .. } => {
            ("user", content.iter().filter_map(|part| user_part(model, prompt, part)).collect())
        }
    }
}

/// What this model, or another one, said. A signature belongs to the part behind it.
fn said_parts(content: &[Part], own: bool) -> Vec<Value> {
    let mut parts = Vec::new();
    let mut signature = None;
    for part in content {
        let mut wired = match part {
            Part::Text { text } if !text.is_empty() => json!({ "text": text }),
            Part::Thinking { thinking_signature: Some(packed), .. } if own => {
                signature = thoughts::unpack(thoughts::GEMINI, packed);
                continue;
            }
            Part::ToolCall { name, arguments, .. } => {
                json!({ "functionCall": { "name": name, "args": super::object_of(arguments) } })
            }
            Part::Image { .. } | Part::Text { .. } | Part::Thinking { .. } => continue,
        };
        if let (Some(signature), Some(members)) = (signature.take(), wired.as_object_mut()) {
            members.insert("thoughtSignature".into(), signature);
        }
        parts.push(wired);
    }
    parts
}

fn user_part(model: &Model, prompt: &Prompt, part: &Part) -> Option<Value> {
    match part {
        Part::Text { text } if text.is_empty() => None,
        Part::Text { text } => Some(json!({ "text": text })),
        Part::Image { path, .. } => {
            let picture = prompt.picture(model, path)?;
            Some(json!({ "inlineData": { "mimeType": picture.mime_type, "data": picture.base64 } }))
        }
        Part::Thinking { .. } | Part::ToolCall { .. } => None,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    prompt_feedback: Option<Value>,
    #[serde(default)]
    usage_metadata: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    index: u64,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<WirePart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePart {
    #[serde(default)]
    function_call: Option<FunctionCall>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    #[serde(default)]
    thought_signature: Option<String>,
}

#[derive(Deserialize)]
struct FunctionCall {
    name: String,
    #[serde(default)]
    args: Option<Value>,
    #[serde(default)]
    id: Option<String>,
}

fn read_part(part: WirePart, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    if let Some(signature) = part.thought_signature {
        draft.sign(&thoughts::pack(thoughts::GEMINI, &Value::String(signature)));
    }
    match part.text {
        Some(text) if part.thought => draft.thought(&text, events),
        Some(text) => draft.text(&text, events),
        None => {}
    }
    let Some(call) = part.function_call else { return Ok(()) };
    let arguments = call.args.filter(|args| !args.is_null()).map(|args| args.to_string());
    draft.call(None, &call.id.unwrap_or_default(), &call.name, &arguments.unwrap_or_default(), events)
}

fn stop_reason(reason: &str, draft: &Draft<'_>) -> Result<StopReason, ModelError> {
    match reason {
        "BLOCKLIST" | "IMAGE_SAFETY" | "PROHIBITED_CONTENT" | "RECITATION" | "SAFETY" | "SPII" => {
            Err(ModelError::Filtered { provider: draft.named().provider() })
        }
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => {
            Err(draft.named().garbage("a tool call that its own provider could not read"))
        }
        "MAX_TOKENS" => Ok(StopReason::Length),
        _ => Ok(StopReason::Stop),
    }
}

/// Usage comes with every chunk, and the last one has the final counts.
fn usage(value: &Value) -> Option<Usage> {
    let count = |name: &str| value.get(name).and_then(Value::as_u64);
    let read = count("promptTokenCount")?;
    let said = count("candidatesTokenCount").unwrap_or(0);
    let output = said.saturating_add(count("thoughtsTokenCount").unwrap_or(0));
    let cache_read = count("cachedContentTokenCount").unwrap_or(0);
    Some(Usage {
        input: read.saturating_sub(cache_read),
        output,
        cache_read,
        total_tokens: read.saturating_add(output),
        ..Usage::default()
    })
}
