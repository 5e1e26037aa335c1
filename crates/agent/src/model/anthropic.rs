//! Anthropic Messages.

use moltbot_net::Url;
use moltbot_protocol::message::{Message, Part, StopReason, ThinkingLevel, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::draft::Draft;
use super::provider::Model;
use super::wire::{Wire, last_segment, with_path};
use super::{Deltas, ModelError, Prompt, ToolSpec, thoughts};

/// The version of the interface that this module speaks.
const VERSION: &str = "2023-06-01";
/// The fewest tokens of thoughts that the interface takes.
const THOUGHTS_MIN: u64 = 1024;

/// The format.
pub(super) struct Anthropic;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
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
    Image {
        source: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Kept>,
    },
    RedactedThinking {
        data: Value,
    },
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Kept>,
    },
    Thinking {
        thinking: &'a str,
        signature: Value,
    },
    ToolResult {
        tool_use_id: String,
        is_error: bool,
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Kept>,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Value,
    },
}

/// What asks the provider to keep everything up to here for a while: what stays the same is cheaper then.
#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename = "ephemeral")]
struct Kept {}

impl Block<'_> {
    /// Asks for everything up to this block to be kept.
    fn keep(&mut self) {
        match self {
            Self::Image { cache_control, .. }
            | Self::Text { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => *cache_control = Some(Kept {}),
            Self::RedactedThinking { .. } | Self::Thinking { .. } | Self::ToolUse { .. } => {}
        }
    }
}

impl Wire for Anthropic {
    /// The base URL is given with and without its version.
    fn endpoint(&self, base: &Url, _: &Model) -> Url {
        let path: &[&str] = if last_segment(base) == "v1" { &["messages"] } else { &["v1", "messages"] };
        with_path(base, path)
    }

    fn list(&self, base: &Url) -> Url {
        let path: &[&str] = if last_segment(base) == "v1" { &["models"] } else { &["v1", "models"] };
        with_path(base, path)
    }

    fn key_header(&self) -> (&'static str, &'static str) {
        ("x-api-key", "")
    }

    fn headers(&self, _: &Model) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", VERSION)]
    }

    fn write(&self, model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
        write(model, prompt, tools)
    }

    fn read(&self, data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
        read(data, draft, events)
    }
}

fn write(model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>> {
    let mut messages: Vec<Turn<'_>> = Vec::new();
    for message in &prompt.messages {
        let (role, content) = blocks_of(model, prompt, message);
        match messages.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(content),
            Some(_) | None => messages.push(Turn { role, content }),
        }
    }
    // The instructions and tools are the same in every step of a turn, and the conversation up to here in the next one.
    let system = json!({ "type": "text", "text": prompt.system, "cache_control": Kept {} });
    if let Some(last) = messages.last_mut().and_then(|turn| turn.content.last_mut()) {
        last.keep();
    }
    let max_tokens = model.answer_tokens(prompt);
    serde_json::to_vec(&Body {
        model: model.wire_id(),
        max_tokens,
        stream: true,
        system: if prompt.system.is_empty() { Vec::new() } else { vec![system] },
        messages,
        thinking: thinking(model, prompt, max_tokens),
        tools: tools.iter().map(wire_tool).collect(),
    })
}

/// How many tokens of thoughts there may be. They count as answer, of which three quarters at most are theirs.
fn thinking(model: &Model, prompt: &Prompt, max_tokens: u64) -> Option<Value> {
    let wanted = match prompt.thinking.filter(|_| model.thinks())? {
        ThinkingLevel::Off => return None,
        ThinkingLevel::Minimal => THOUGHTS_MIN,
        ThinkingLevel::Low => 4096,
        ThinkingLevel::Medium => 8192,
        ThinkingLevel::High => 16_384,
        ThinkingLevel::Xhigh => 32_768,
    };
    let tokens = wanted.min(max_tokens / 4 * 3);
    (tokens >= THOUGHTS_MIN).then(|| json!({ "type": "enabled", "budget_tokens": tokens }))
}

fn wire_tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters })
}

fn blocks_of<'a>(model: &Model, prompt: &Prompt, message: &'a Message) -> (&'static str, Vec<Block<'a>>) {
    let own = model.said(message);
    let blocks = |content: &'a [Part]| {
        content.iter().filter_map(|part| block(part, model, prompt, own)).collect::<Vec<_>>()
    };
    match message {
        Message::Assistant { content, .. } => ("assistant", blocks(content)),
        Message::User { content, .. } => ("user", blocks(content)),
        Message::ToolResult { tool_call_id, content, is_error, .. } => {
            let (tool_use_id, content) = (plain_id(tool_call_id), blocks(content));
            let result = Block::ToolResult { tool_use_id, is_error: *is_error, content, cache_control: None };
            ("user", vec![result])
        }
    }
}

/// A part as a block; the interface refuses texts of white space, and thoughts of another model.
fn block<'a>(part: &'a Part, model: &Model, prompt: &Prompt, own: bool) -> Option<Block<'a>> {
    match part {
        Part::Image { path, .. } => {
            let picture = prompt.picture(model, path)?;
            let source = json!({ "type": "base64", "media_type": picture.mime_type, "data": picture.base64 });
            Some(Block::Image { source, cache_control: None })
        }
        Part::Text { text } if text.trim().is_empty() => None,
        Part::Text { text } => Some(Block::Text { text, cache_control: None }),
        Part::Thinking { thinking, thinking_signature } => {
            let packed = thinking_signature.as_deref().filter(|_| own)?;
            if let Some(data) = thoughts::unpack(thoughts::ANTHROPIC_HIDDEN, packed) {
                return Some(Block::RedactedThinking { data });
            }
            let signature = thoughts::unpack(thoughts::ANTHROPIC, packed)?;
            Some(Block::Thinking { thinking, signature })
        }
        Part::ToolCall { id, name, arguments } => {
            Some(Block::ToolUse { id: plain_id(id), name, input: super::object_of(arguments) })
        }
    }
}

/// The id of a call as the interface takes it: those of other providers have other characters.
fn plain_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
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
    RedactedThinking {
        data: String,
    },
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
    SignatureDelta {
        signature: String,
    },
    TextDelta {
        text: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageDelta {
    #[serde(default)]
    stop_reason: Option<String>,
}

fn read(data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    let event: Event = serde_json::from_str(data)
        .map_err(|error| draft.named().garbage(format!("an event that is not one of a message ({error})")))?;
    match event {
        Event::ContentBlockDelta { index, delta } => match delta {
            BlockDelta::InputJsonDelta { partial_json } => {
                draft.call(Some(index), "", "", &partial_json, events)?;
            }
            BlockDelta::SignatureDelta { signature } => {
                draft.sign(&thoughts::pack(thoughts::ANTHROPIC, &Value::String(signature)));
            }
            BlockDelta::TextDelta { text } => draft.text(&text, events),
            BlockDelta::ThinkingDelta { thinking } => draft.thought(&thinking, events),
            BlockDelta::Other => {}
        },
        Event::ContentBlockStart { index, content_block } => match content_block {
            BlockStart::RedactedThinking { data } => {
                draft.sign(&thoughts::pack(thoughts::ANTHROPIC_HIDDEN, &Value::String(data)));
            }
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
        ..Usage::default()
    };
    let read = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
    usage.total_tokens = read.saturating_add(usage.output);
    draft.usage = if usage.total_tokens == 0 { before } else { Some(usage) };
}
