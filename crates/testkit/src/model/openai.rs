//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::render::{End, Format};
use super::{Call, INPUT_TOKENS, MODEL, ModelRequest, OUTPUT_TOKENS};

/// An answer in this format.
pub(super) struct OpenAi {
    usage: bool,
    calls: usize,
}

impl OpenAi {
    /// The usage chunk comes only when it was asked for, as the real service does.
    pub(super) fn to(request: &ModelRequest) -> Self {
        let usage = request.body.pointer("/stream_options/include_usage").is_some_and(|asked| asked == true);
        Self { usage, calls: 0 }
    }

    fn chunk(&self, choices: &Value, usage: &Value) -> Vec<u8> {
        let mut chunk = json!({
            "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": MODEL, "choices": choices,
        });
        if self.usage
            && let Some(members) = chunk.as_object_mut()
        {
            members.insert("usage".into(), usage.clone());
        }
        format!("data: {chunk}\n\n").into_bytes()
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> Vec<u8> {
        self.chunk(&json!([{"index": 0, "delta": delta, "finish_reason": finish}]), &Value::Null)
    }
}

impl Format for OpenAi {
    fn begin(&mut self) -> Vec<u8> {
        self.delta(&json!({"role": "assistant", "content": ""}), None)
    }

    fn text(&mut self, text: &str) -> Vec<u8> {
        self.delta(&json!({"content": text}), None)
    }

    fn thought(&mut self, text: &str) -> Vec<u8> {
        self.delta(&json!({"reasoning_content": text}), None)
    }

    fn call(&mut self, call: &Call) -> Vec<u8> {
        self.calls += 1;
        let function = json!({"name": call.name, "arguments": ""});
        let call = json!({"index": self.calls - 1, "id": call.id, "type": "function", "function": function});
        self.delta(&json!({"tool_calls": [call]}), None)
    }

    fn arguments(&mut self, piece: &str) -> Vec<u8> {
        let call = json!({"index": self.calls.saturating_sub(1), "function": {"arguments": piece}});
        self.delta(&json!({"tool_calls": [call]}), None)
    }

    fn end(&mut self, end: End) -> Vec<u8> {
        let mut bytes = self.delta(&json!({}), Some(reason(end)));
        if self.usage {
            bytes.extend(self.chunk(&json!([]), &usage()));
        }
        bytes.extend(b"data: [DONE]\n\n");
        bytes
    }

    fn whole(&self, text: &str, calls: &[Call], end: End) -> Vec<u8> {
        let mut message = json!({"role": "assistant", "content": text});
        if !calls.is_empty()
            && let Some(members) = message.as_object_mut()
        {
            let calls = calls.iter().map(|call| {
                json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
            });
            members.insert("tool_calls".into(), calls.collect());
        }
        let answer = json!({
            "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": reason(end)}], "usage": usage(),
        });
        answer.to_string().into_bytes()
    }
}

fn reason(end: End) -> &'static str {
    match end {
        End::Length => "length",
        End::Stop => "stop",
        End::ToolUse => "tool_calls",
    }
}

fn usage() -> Value {
    json!({
        "prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    })
}

/// The answer to `/v1/models`.
pub(super) fn models() -> String {
    let model = json!({"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "testkit"});
    json!({"object": "list", "data": [model]}).to_string()
}
