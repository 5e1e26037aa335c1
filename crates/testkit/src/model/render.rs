//! A reply as the pieces that go over the wire, and what both formats need for that.

use std::time::Duration;

use super::{Call, ModelRequest, Reply, echo_of};

/// A piece of an HTTP answer.
pub(super) enum Piece {
    /// The status, the content type and `Retry-After`; always first.
    Head(u16, &'static str, Option<u64>),
    /// A part of the body, sent at once.
    Bytes(Vec<u8>),
    /// A pause.
    Pause(Duration),
    /// Nothing more, with the connection open, until the client closes it.
    Stall,
    /// The connection is closed before the body's end.
    Cut,
}

/// What a model says, apart from how a format writes it.
pub(super) enum Spoken {
    Text(String),
    Thought(String),
    Pause(Duration),
    Call(Call),
    /// A call that stops in the middle of its arguments.
    HalfCall(String),
    Stall,
    Cut,
    End(End),
}

/// Why the model ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    Length,
    Stop,
    ToolUse,
}

/// How a format writes what is said.
pub(super) trait Format {
    /// Whether the request asks for a stream.
    fn streams(&self, request: &ModelRequest) -> bool {
        request.body.get("stream").is_some_and(|stream| stream == true)
    }
    /// What a stream is, as its head says.
    fn kind(&self) -> &'static str {
        EVENTS
    }
    /// What comes before the first word.
    fn begin(&mut self) -> Vec<u8>;
    /// A piece of text.
    fn text(&mut self, text: &str) -> Vec<u8>;
    /// Thoughts.
    fn thought(&mut self, text: &str) -> Vec<u8>;
    /// The beginning of a call.
    fn call(&mut self, call: &Call) -> Vec<u8>;
    /// A piece of the arguments of the last call.
    fn arguments(&mut self, piece: &str) -> Vec<u8>;
    /// The end.
    fn end(&mut self, end: End) -> Vec<u8>;
    /// The whole answer of a request that does not stream.
    fn whole(&self, text: &str, calls: &[Call], end: End) -> Vec<u8>;
}

/// The bytes of the chunks of [`Reply::Huge`].
const HUGE_CHUNK: usize = 64 * 1024;

/// The pieces of a reply to `request`, written in `format`.
pub(super) fn pieces(reply: Reply, request: &ModelRequest, format: &mut dyn Format) -> Vec<Piece> {
    match reply {
        Reply::Hang => return vec![Piece::Stall],
        Reply::Status { code, body, retry_after } => {
            let head = Piece::Head(code, "application/json", retry_after);
            return vec![head, Piece::Bytes(body.into_bytes())];
        }
        Reply::Garbage(bytes) => return vec![Piece::Head(200, format.kind(), None), Piece::Bytes(bytes)],
        _ => {}
    }
    let spoken = spoken_of(reply, request);
    if format.streams(request) { streamed(&spoken, format) } else { whole(&spoken, format) }
}

const EVENTS: &str = "text/event-stream";

fn spoken_of(reply: Reply, request: &ModelRequest) -> Vec<Spoken> {
    let texts = |chunks: Vec<String>| chunks.into_iter().map(Spoken::Text);
    match reply {
        Reply::Drop(chunks) => texts(chunks).chain([Spoken::Cut]).collect(),
        Reply::Echo => vec![Spoken::Text(echo_of(&request.last_user_text())), Spoken::End(End::Stop)],
        Reply::HalfToolCall { name } => vec![Spoken::HalfCall(name), Spoken::Cut],
        Reply::Huge(bytes) => {
            let full = std::iter::repeat_with(|| "m".repeat(HUGE_CHUNK)).take(bytes / HUGE_CHUNK);
            let rest = "m".repeat(bytes % HUGE_CHUNK);
            texts(full.chain([rest]).collect()).chain([Spoken::End(End::Stop)]).collect()
        }
        Reply::Slow { chunks, delay } => {
            let chunks = chunks.into_iter().flat_map(|chunk| [Spoken::Pause(delay), Spoken::Text(chunk)]);
            chunks.chain([Spoken::End(End::Stop)]).collect()
        }
        Reply::Stall(chunks) => texts(chunks).chain([Spoken::Stall]).collect(),
        Reply::Text(chunks) => texts(chunks).chain([Spoken::End(End::Stop)]).collect(),
        Reply::Thoughtful { thoughts, then } => {
            [Spoken::Thought(thoughts)].into_iter().chain(spoken_of(*then, request)).collect()
        }
        Reply::TextCut(chunks) => texts(chunks).chain([Spoken::End(End::Length)]).collect(),
        Reply::ToolCalls { text, calls } => {
            let said = Some(text).filter(|text| !text.is_empty()).map(Spoken::Text);
            let calls = calls.into_iter().map(Spoken::Call);
            said.into_iter().chain(calls).chain([Spoken::End(End::ToolUse)]).collect()
        }
        Reply::Garbage(_) | Reply::Hang | Reply::Status { .. } => Vec::new(),
    }
}

fn streamed(spoken: &[Spoken], format: &mut dyn Format) -> Vec<Piece> {
    let mut pieces = vec![Piece::Head(200, format.kind(), None), Piece::Bytes(format.begin())];
    for said in spoken {
        match said {
            Spoken::Text(text) => pieces.push(Piece::Bytes(format.text(text))),
            Spoken::Thought(text) => pieces.push(Piece::Bytes(format.thought(text))),
            Spoken::Pause(delay) => pieces.push(Piece::Pause(*delay)),
            Spoken::Call(call) => {
                pieces.push(Piece::Bytes(format.call(call)));
                let split = split(&call.arguments);
                pieces.extend(split.into_iter().map(|piece| Piece::Bytes(format.arguments(&piece))));
            }
            Spoken::HalfCall(name) => {
                let call = Call { id: "call_half".into(), name: name.clone(), arguments: String::new() };
                pieces.push(Piece::Bytes(format.call(&call)));
                pieces.push(Piece::Bytes(format.arguments(r#"{"path": "no"#)));
            }
            Spoken::Stall => pieces.push(Piece::Stall),
            Spoken::Cut => pieces.push(Piece::Cut),
            Spoken::End(end) => pieces.push(Piece::Bytes(format.end(*end))),
        }
    }
    pieces
}

/// The same without streaming: what ends early ends in the middle of the body.
fn whole(spoken: &[Spoken], format: &dyn Format) -> Vec<Piece> {
    let (mut text, mut calls, mut pieces) = (String::new(), Vec::new(), Vec::new());
    let mut end = End::Stop;
    let mut last = None;
    for said in spoken {
        match said {
            Spoken::Text(chunk) => text.push_str(chunk),
            Spoken::Thought(_) => {}
            Spoken::Pause(delay) => pieces.push(Piece::Pause(*delay)),
            Spoken::Call(call) => calls.push(call.clone()),
            Spoken::HalfCall(name) => {
                calls.push(Call {
                    id: "call_half".into(),
                    name: name.clone(),
                    arguments: r#"{"path": "no"#.into(),
                });
            }
            Spoken::Stall => last = Some(Piece::Stall),
            Spoken::Cut => last = Some(Piece::Cut),
            Spoken::End(reason) => end = *reason,
        }
    }
    let mut body = format.whole(&text, &calls, end);
    if last.is_some() {
        body.truncate(body.len() / 2);
    }
    pieces.push(Piece::Head(200, "application/json", None));
    pieces.push(Piece::Bytes(body));
    pieces.extend(last);
    pieces
}

/// Cuts a text into pieces of five characters: a client that parses each by itself will fail.
fn split(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(5).map(|piece| piece.iter().collect()).collect()
}
