//! Google Gemini: every event is a part of one candidate.

use serde_json::{Value, json};

use super::render::{End, Format};
use super::{Call, INPUT_TOKENS, MODEL, ModelRequest, OUTPUT_TOKENS};

/// An answer in this format. A call comes whole: its pieces are put together first.
#[derive(Default)]
pub(super) struct Gemini {
    call: Option<Call>,
}

impl Gemini {
    fn finish_call(&mut self) -> Vec<u8> {
        let Some(call) = self.call.take() else { return Vec::new() };
        event(&json!([part_of(&call)]), None)
    }
}

impl Format for Gemini {
    fn streams(&self, request: &ModelRequest) -> bool {
        request.path.ends_with(":streamGenerateContent?alt=sse")
    }

    fn begin(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn text(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = self.finish_call();
        bytes.extend(event(&json!([{"text": text}]), None));
        bytes
    }

    fn thought(&mut self, text: &str) -> Vec<u8> {
        event(&json!([{"text": text, "thought": true}]), None)
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
        bytes.extend(event(&json!([{"text": ""}]), Some(reason(end))));
        bytes
    }

    fn whole(&self, text: &str, calls: &[Call], end: End) -> Vec<u8> {
        let parts: Vec<Value> =
            [json!({"text": text})].into_iter().chain(calls.iter().map(part_of)).collect();
        answer(&json!(parts), Some(reason(end))).to_string().into_bytes()
    }
}

/// A call, with the signature that the newest models want to have back.
fn part_of(call: &Call) -> Value {
    let args = serde_json::from_str(&call.arguments).unwrap_or(Value::String(call.arguments.clone()));
    json!({"functionCall": {"name": call.name, "args": args, "id": call.id}, "thoughtSignature": "c2lnbmVk"})
}

fn answer(parts: &Value, finish: Option<&str>) -> Value {
    json!({
        "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
        "modelVersion": MODEL, "responseId": "scripted",
    })
}

fn event(parts: &Value, finish: Option<&str>) -> Vec<u8> {
    format!("data: {}\r\n\r\n", answer(parts, finish)).into_bytes()
}

fn reason(end: End) -> &'static str {
    match end {
        End::Length => "MAX_TOKENS",
        End::Stop | End::ToolUse => "STOP",
    }
}
