//! Ollama's own chat: one document a line, and calls of tools come whole.

use serde_json::{Value, json};

use super::render::{End, Format};
use super::{Call, INPUT_TOKENS, MODEL, OUTPUT_TOKENS};

/// An answer in this format.
#[derive(Default)]
pub(super) struct Ollama {
    call: Option<Call>,
}

impl Ollama {
    fn finish_call(&mut self) -> Vec<u8> {
        let Some(call) = self.call.take() else { return Vec::new() };
        line(&json!({"role": "assistant", "content": "", "tool_calls": [wire_call(&call)]}))
    }
}

impl Format for Ollama {
    fn kind(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn begin(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn text(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = self.finish_call();
        bytes.extend(line(&json!({"role": "assistant", "content": text})));
        bytes
    }

    fn thought(&mut self, text: &str) -> Vec<u8> {
        line(&json!({"role": "assistant", "content": "", "thinking": text}))
    }

    fn call(&mut self, call: &Call) -> Vec<u8> {
        let bytes = self.finish_call();
        self.call = Some(Call { arguments: String::new(), ..call.clone() });
        bytes
    }

    fn arguments(&mut self, piece: &str) -> Vec<u8> {
        if let Some(call) = &mut self.call {
            call.arguments.push_str(piece);
        }
        Vec::new()
    }

    fn end(&mut self, end: End) -> Vec<u8> {
        let mut bytes = self.finish_call();
        bytes.extend(format!("{}\n", last(&json!({"role": "assistant", "content": ""}), end)).into_bytes());
        bytes
    }

    fn whole(&self, text: &str, calls: &[Call], end: End) -> Vec<u8> {
        let calls: Vec<Value> = calls.iter().map(wire_call).collect();
        let message = json!({"role": "assistant", "content": text, "tool_calls": calls});
        last(&message, end).to_string().into_bytes()
    }
}

fn wire_call(call: &Call) -> Value {
    let arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::String(call.arguments.clone()));
    json!({"function": {"name": call.name, "arguments": arguments}})
}

fn line(message: &Value) -> Vec<u8> {
    let line =
        json!({"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": false});
    format!("{line}\n").into_bytes()
}

fn last(message: &Value, end: End) -> Value {
    let reason = if matches!(end, End::Length) { "length" } else { "stop" };
    json!({
        "model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": true,
        "done_reason": reason, "total_duration": 1_000_000, "prompt_eval_count": INPUT_TOKENS,
        "eval_count": OUTPUT_TOKENS,
    })
}
