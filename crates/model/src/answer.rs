//! An answer in the forms of OpenAI's interface: whole, or told in events.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::calls::{self, Called, Reading};
use crate::refusal::Refusal;
use crate::work::{Ending, Word};

/// What an answer is headed with.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    pub(crate) id: String,
    /// When it was asked for, in seconds since 1970.
    pub(crate) created: i64,
    pub(crate) model: String,
}

/// An answer that is being said.
#[derive(Debug)]
pub(crate) struct Answer {
    heading: Heading,
    /// The tools that may be called.
    offered: Vec<String>,
    words: UnboundedReceiver<Word>,
}

impl Answer {
    /// Waits until the question was read.
    pub(crate) async fn begin(
        heading: Heading,
        offered: Vec<String>,
        mut words: UnboundedReceiver<Word>,
    ) -> Result<Self, Refusal> {
        match words.recv().await {
            Some(Word::Begun) => Ok(Self { heading, offered, words }),
            Some(Word::Refused(refusal)) => Err(refusal),
            Some(Word::Ended(_) | Word::Text(_)) | None => Err(gone()),
        }
    }

    /// The whole of it.
    pub(crate) async fn whole(mut self) -> Result<Value, Refusal> {
        let mut text = String::new();
        let ending = loop {
            match self.words.recv().await {
                Some(Word::Text(more)) => text.push_str(&more),
                Some(Word::Ended(ending)) => break ending,
                Some(Word::Refused(refusal)) => return Err(refusal),
                Some(Word::Begun) => {}
                None => return Err(gone()),
            }
        };
        let (message, finish) = match calls::read(&text, &self.offered) {
            Reading::Calls(calls) => {
                let calls: Vec<Value> = self.calls(&calls).collect();
                (json!({ "role": "assistant", "content": null, "tool_calls": calls }), CALLED)
            }
            Reading::Open | Reading::Text => {
                (json!({ "role": "assistant", "content": text }), finish(ending))
            }
        };
        let Heading { id, created, model } = &self.heading;
        Ok(json!({
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
            "usage": usage(ending),
        }))
    }

    /// It in events.
    pub(crate) fn stream(self, usage: bool) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        let mut told = Told { open: true, held: String::new(), usage, events: VecDeque::new(), answer: self };
        told.delta(&json!({ "role": "assistant", "content": "" }), None);
        futures_util::stream::unfold(told, |mut told| async {
            let event = told.next().await?;
            Some((Ok(Frame::data(event)), told))
        })
    }

    fn calls(&self, calls: &[Called]) -> impl Iterator<Item = Value> {
        calls.iter().enumerate().map(|(place, Called { name, arguments })| {
            json!({
                "id": format!("call_{}_{place}", self.heading.id),
                "type": "function",
                "function": { "name": name, "arguments": arguments },
            })
        })
    }
}

/// An answer that is told in events.
struct Told {
    answer: Answer,
    /// Whether it may be a call.
    open: bool,
    /// What is held back for that.
    held: String,
    usage: bool,
    events: VecDeque<Option<Bytes>>,
}

impl Told {
    /// The next event; `None` when all are told.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match self.answer.words.recv().await {
                Some(Word::Text(text)) => self.text(&text),
                Some(Word::Ended(ending)) => self.end(ending),
                Some(Word::Refused(refusal)) => self.fail(&refusal),
                Some(Word::Begun) => {}
                None => self.fail(&gone()),
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.held.push_str(text);
        if self.open {
            self.open = calls::read(&self.held, &self.answer.offered) != Reading::Text;
        }
        if !self.open {
            self.release();
        }
    }

    fn release(&mut self) {
        let text = std::mem::take(&mut self.held);
        if !text.is_empty() {
            self.delta(&json!({ "content": text }), None);
        }
    }

    fn end(&mut self, ending: Ending) {
        let finish = match calls::read(&self.held, &self.answer.offered) {
            Reading::Calls(calls) if self.open => {
                let mut calls: Vec<Value> = self.answer.calls(&calls).collect();
                for (place, call) in calls.iter_mut().enumerate() {
                    call.as_object_mut().into_iter().for_each(|call| {
                        call.insert("index".into(), place.into());
                    });
                }
                self.delta(&json!({ "tool_calls": calls }), None);
                CALLED
            }
            Reading::Calls(_) | Reading::Open | Reading::Text => {
                self.release();
                finish(ending)
            }
        };
        self.delta(&json!({}), Some(finish));
        if self.usage {
            self.chunk(&json!([]), Some(ending));
        }
        self.events.extend([Some(Bytes::from_static(b"data: [DONE]\n\n")), None]);
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.event(&refusal.body());
        self.events.push_back(None);
    }

    fn delta(&mut self, delta: &Value, finish: Option<&str>) {
        self.chunk(&json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]), None);
    }

    fn chunk(&mut self, choices: &Value, ending: Option<Ending>) {
        let Heading { id, created, model } = &self.answer.heading;
        let mut chunk = json!({
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": choices,
        });
        if let Some(members) = chunk.as_object_mut().filter(|_| self.usage) {
            members.insert("usage".into(), ending.map_or(Value::Null, usage));
        }
        self.event(&chunk);
    }

    fn event(&mut self, event: &Value) {
        self.events.push_back(Some(Bytes::from(format!("data: {event}\n\n"))));
    }
}

/// Why an answer ended that calls tools.
const CALLED: &str = "tool_calls";

const fn finish(ending: Ending) -> &'static str {
    if ending.whole { "stop" } else { "length" }
}

fn usage(ending: Ending) -> Value {
    let Ending { asked, said, .. } = ending;
    json!({ "prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said })
}

fn gone() -> Refusal {
    Refusal::failed("the local model has stopped; ask again when it is started anew")
}
