//! OpenAI Responses: items are numbered, and each is closed before the next begins.

use serde_json::{Value, json};

use super::render::{End, Format};
use super::{Call, INPUT_TOKENS, MODEL, OUTPUT_TOKENS};

/// An answer in this format.
#[derive(Default)]
pub(super) struct Responses {
    items: usize,
    sequence: usize,
    open: Option<Item>,
}

enum Item {
    Call(Call),
    Text(String),
}

impl Responses {
    fn event(&mut self, kind: &str, mut event: Value) -> Vec<u8> {
        if let Some(members) = event.as_object_mut() {
            members.insert("type".into(), kind.into());
            members.insert("sequence_number".into(), self.sequence.into());
        }
        self.sequence += 1;
        format!("event: {kind}\ndata: {event}\n\n").into_bytes()
    }

    fn open(&mut self, item: Item) -> Vec<u8> {
        let mut bytes = self.close();
        let place = self.items;
        let wire = match &item {
            Item::Call(call) => json!({
                "type": "function_call", "id": "fc_scripted", "call_id": call.id, "name": call.name,
                "arguments": "", "status": "in_progress",
            }),
            Item::Text(_) => {
                json!({"type": "message", "id": "msg_scripted", "role": "assistant", "content": []})
            }
        };
        bytes.extend(self.event("response.output_item.added", json!({"output_index": place, "item": wire})));
        self.open = Some(item);
        bytes
    }

    fn close(&mut self) -> Vec<u8> {
        let Some(item) = self.open.take() else { return Vec::new() };
        let place = self.items;
        self.items += 1;
        let wire = match item {
            Item::Call(call) => json!({
                "type": "function_call", "id": "fc_scripted", "call_id": call.id, "name": call.name,
                "arguments": call.arguments, "status": "completed",
            }),
            Item::Text(text) => json!({
                "type": "message", "id": "msg_scripted", "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }),
        };
        self.event("response.output_item.done", json!({"output_index": place, "item": wire}))
    }
}

impl Format for Responses {
    fn begin(&mut self) -> Vec<u8> {
        let response =
            json!({"id": "resp_scripted", "object": "response", "status": "in_progress", "model": MODEL});
        self.event("response.created", json!({"response": response}))
    }

    fn text(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = match self.open {
            Some(Item::Text(_)) => Vec::new(),
            Some(Item::Call(_)) | None => self.open(Item::Text(String::new())),
        };
        if let Some(Item::Text(whole)) = &mut self.open {
            whole.push_str(text);
        }
        let place = self.items;
        bytes.extend(self.event(
            "response.output_text.delta",
            json!({"output_index": place, "content_index": 0, "item_id": "msg_scripted", "delta": text}),
        ));
        bytes
    }

    /// Thoughts come as a summary, and sealed when they are asked for.
    fn thought(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = self.close();
        let place = self.items;
        self.items += 1;
        bytes.extend(self.event(
            "response.reasoning_summary_text.delta",
            json!({"output_index": place, "summary_index": 0, "delta": text}),
        ));
        let item = json!({
            "type": "reasoning", "id": "rs_scripted", "summary": [{"type": "summary_text", "text": text}],
            "encrypted_content": "c2VhbGVk",
        });
        bytes.extend(self.event("response.output_item.done", json!({"output_index": place, "item": item})));
        bytes
    }

    fn call(&mut self, call: &Call) -> Vec<u8> {
        self.open(Item::Call(Call { arguments: String::new(), ..call.clone() }))
    }

    fn arguments(&mut self, piece: &str) -> Vec<u8> {
        if let Some(Item::Call(call)) = &mut self.open {
            call.arguments.push_str(piece);
        }
        let place = self.items;
        self.event(
            "response.function_call_arguments.delta",
            json!({"output_index": place, "item_id": "fc_scripted", "delta": piece}),
        )
    }

    fn end(&mut self, end: End) -> Vec<u8> {
        let mut bytes = self.close();
        let (kind, response) = finished(end, &json!([]));
        bytes.extend(self.event(kind, json!({"response": response})));
        bytes
    }

    fn whole(&self, text: &str, calls: &[Call], end: End) -> Vec<u8> {
        let said = json!({
            "type": "message", "id": "msg_scripted", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        });
        let calls = calls.iter().map(|call| {
            json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments})
        });
        let output: Vec<Value> = [said].into_iter().chain(calls).collect();
        finished(end, &json!(output)).1.to_string().into_bytes()
    }
}

fn finished(end: End, output: &Value) -> (&'static str, Value) {
    let usage = json!({
        "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    });
    let response = |status: &str, why: Value| {
        json!({
            "id": "resp_scripted", "object": "response", "status": status, "model": MODEL, "output": output,
            "incomplete_details": why, "usage": usage,
        })
    };
    match end {
        End::Length => {
            ("response.incomplete", response("incomplete", json!({"reason": "max_output_tokens"})))
        }
        End::Stop | End::ToolUse => ("response.completed", response("completed", Value::Null)),
    }
}
