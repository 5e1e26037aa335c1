//! Anthropic Messages.

use serde_json::{Value, json};

use super::render::{End, Format};
use super::{Call, INPUT_TOKENS, MODEL, OUTPUT_TOKENS};

/// An answer in this format: blocks are numbered, and each is closed before the next begins.
#[derive(Default)]
pub(super) struct Anthropic {
    blocks: usize,
    open: Option<Block>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Block {
    Call,
    Text,
    Thought,
}

impl Anthropic {
    /// Opens a block, after closing the one that is open.
    fn open(&mut self, block: Block, start: &Value) -> Vec<u8> {
        let mut bytes = self.close();
        self.open = Some(block);
        let event = json!({"type": "content_block_start", "index": self.blocks, "content_block": start});
        bytes.extend(write("content_block_start", &event));
        bytes
    }

    fn close(&mut self) -> Vec<u8> {
        if self.open.take().is_none() {
            return Vec::new();
        }
        self.blocks += 1;
        write("content_block_stop", &json!({"type": "content_block_stop", "index": self.blocks - 1}))
    }

    fn delta(&self, delta: &Value) -> Vec<u8> {
        let event = json!({"type": "content_block_delta", "index": self.blocks, "delta": delta});
        write("content_block_delta", &event)
    }
}

impl Format for Anthropic {
    fn begin(&mut self) -> Vec<u8> {
        let message = json!({
            "id": "msg_scripted", "type": "message", "role": "assistant", "model": MODEL, "content": [],
            "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1,
                      "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0},
        });
        let mut bytes = write("message_start", &json!({"type": "message_start", "message": message}));
        bytes.extend(write("ping", &json!({"type": "ping"})));
        bytes
    }

    fn text(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = match self.open {
            Some(Block::Text) => Vec::new(),
            Some(Block::Call | Block::Thought) | None => {
                self.open(Block::Text, &json!({"type": "text", "text": ""}))
            }
        };
        bytes.extend(self.delta(&json!({"type": "text_delta", "text": text})));
        bytes
    }

    fn thought(&mut self, text: &str) -> Vec<u8> {
        let start = json!({"type": "thinking", "thinking": "", "signature": ""});
        let mut bytes = self.open(Block::Thought, &start);
        bytes.extend(self.delta(&json!({"type": "thinking_delta", "thinking": text})));
        bytes.extend(self.delta(&json!({"type": "signature_delta", "signature": "c2lnbmVk"})));
        bytes
    }

    fn call(&mut self, call: &Call) -> Vec<u8> {
        self.open(Block::Call, &json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}))
    }

    fn arguments(&mut self, piece: &str) -> Vec<u8> {
        self.delta(&json!({"type": "input_json_delta", "partial_json": piece}))
    }

    fn end(&mut self, end: End) -> Vec<u8> {
        let mut bytes = self.close();
        let delta = json!({"stop_reason": reason(end), "stop_sequence": null});
        let event =
            json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUTPUT_TOKENS}});
        bytes.extend(write("message_delta", &event));
        bytes.extend(write("message_stop", &json!({"type": "message_stop"})));
        bytes
    }

    fn whole(&self, text: &str, calls: &[Call], end: End) -> Vec<u8> {
        let said = Some(json!({"type": "text", "text": text})).filter(|_| !text.is_empty());
        let calls = calls.iter().map(|call| {
            let input =
                serde_json::from_str(&call.arguments).unwrap_or(Value::String(call.arguments.clone()));
            json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
        });
        let answer = json!({
            "id": "msg_scripted", "type": "message", "role": "assistant", "model": MODEL,
            "content": said.into_iter().chain(calls).collect::<Vec<_>>(),
            "stop_reason": reason(end), "stop_sequence": null,
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        });
        answer.to_string().into_bytes()
    }
}

fn write(name: &str, event: &Value) -> Vec<u8> {
    format!("event: {name}\ndata: {event}\n\n").into_bytes()
}

fn reason(end: End) -> &'static str {
    match end {
        End::Length => "max_tokens",
        End::Stop => "end_turn",
        End::ToolUse => "tool_use",
    }
}
