//! An answer while it is being written, the same for every wire format.

use moltbot_config::limits;
use moltbot_protocol::message::{Part, StopReason, Usage};
use moltbot_vault::random_id;
use serde_json::{Map, Value};

use super::error::Named;
use super::{Deltas, ModelDelta, ModelError, bare_call};

/// An answer while it is being written.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    named: Named<'a>,
    /// The names of the tools offered: what a bare call in the text may name.
    offered: &'a [&'static str],
    blocks: Vec<Block>,
    /// Bytes of the first text that were handed on. Text that may turn out to be a bare call is held back.
    shown: usize,
    pub(super) usage: Option<Usage>,
    /// Why the model stopped, once it said so.
    pub(super) stop: Option<StopReason>,
    /// Whether the stream said that nothing follows.
    pub(super) ended: bool,
}

#[derive(Debug)]
enum Block {
    Call { key: Option<u64>, id: String, name: String, arguments: String },
    Text(String),
    Thought { words: String, signature: Option<String> },
}

/// What a finished draft holds.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) content: Vec<Part>,
    pub(super) usage: Option<Usage>,
    pub(super) stop_reason: StopReason,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(named: Named<'a>, offered: &'a [&'static str]) -> Self {
        Self { named, offered, blocks: Vec::new(), shown: 0, usage: None, stop: None, ended: false }
    }

    pub(super) const fn named(&self) -> Named<'a> {
        self.named
    }

    /// Whether the model said all it had to say, with or without the stream's own end.
    pub(super) const fn is_whole(&self) -> bool {
        self.ended || self.stop.is_some()
    }

    /// Adds words.
    pub(super) fn text(&mut self, words: &str, events: Deltas<'_>) {
        if words.is_empty() {
            return;
        }
        match self.blocks.last_mut() {
            Some(Block::Text(text)) => text.push_str(words),
            Some(Block::Call { .. } | Block::Thought { .. }) | None => {
                self.blocks.push(Block::Text(words.into()));
            }
        }
        let Some(only) = self.only_text() else {
            self.show_first(events);
            events(ModelDelta::Text(words.into()));
            return;
        };
        if self.offered.is_empty() || self.shown > 0 || !bare_call::may_begin(only) {
            self.show_first(events);
        }
    }

    /// Adds thoughts. They are kept, and not handed on.
    pub(super) fn thought(&mut self, more: &str, events: Deltas<'_>) {
        if more.is_empty() {
            return;
        }
        match self.blocks.last_mut() {
            Some(Block::Thought { words, signature: None }) => words.push_str(more),
            _ => {
                self.show_first(events);
                self.blocks.push(Block::Thought { words: more.into(), signature: None });
            }
        }
    }

    /// Adds what the provider wants to have back with the last thoughts, or without any.
    pub(super) fn sign(&mut self, more: &str) {
        match self.blocks.last_mut() {
            Some(Block::Thought { signature: signature @ None, .. }) => *signature = Some(more.into()),
            _ => self.blocks.push(Block::Thought { words: String::new(), signature: Some(more.into()) }),
        }
    }

    /// What was said so far, when it is one text and nothing else.
    fn only_text(&self) -> Option<&str> {
        let mut said = self.blocks.iter().filter(|block| !matches!(block, Block::Thought { .. }));
        match (said.next(), said.next()) {
            (Some(Block::Text(text)), None) => Some(text),
            _ => None,
        }
    }

    /// Hands on what was held back of the first text.
    fn show_first(&mut self, events: Deltas<'_>) {
        let mut said = self.blocks.iter().filter(|block| !matches!(block, Block::Thought { .. }));
        if let Some(Block::Text(first)) = said.next() {
            match first.get(self.shown..) {
                None | Some("") => {}
                Some(rest) => events(ModelDelta::Text(rest.into())),
            }
            self.shown = first.len();
        }
    }

    /// Adds a piece of a tool call: the first has a name, later ones have more of the arguments. `key` is the
    /// place that the wire format gives the call; servers that give none repeat the id or go on with the last.
    pub(super) fn call(
        &mut self,
        key: Option<u64>,
        id: &str,
        name: &str,
        arguments: &str,
        events: Deltas<'_>,
    ) -> Result<(), ModelError> {
        let same = |block: &&mut Block| match block {
            Block::Call { key: known, id: started, .. } => {
                (key.is_none() || key == *known) && (id.is_empty() || id == started)
            }
            Block::Text(_) | Block::Thought { .. } => false,
        };
        // A new name begins a new call when nothing else tells the two apart.
        let fresh = key.is_none() && id.is_empty() && !name.is_empty();
        let known = self.blocks.iter_mut().rev().find(same).filter(|_| !fresh);
        if let Some(Block::Call { arguments: so_far, .. }) = known {
            so_far.push_str(arguments);
            return Ok(());
        }
        if name.is_empty() {
            return Err(self.named.garbage("a tool call without a name"));
        }
        self.start_call(key, id, name, arguments, events)
    }

    /// The arguments of a call of which no piece came.
    pub(super) fn fill_arguments(&mut self, place: u64, whole: &str) {
        let called = self.blocks.iter_mut().rev().find_map(|block| match block {
            Block::Call { key: Some(key), arguments, .. } if *key == place => Some(arguments),
            _ => None,
        });
        if let Some(arguments) = called.filter(|arguments| arguments.is_empty()) {
            arguments.push_str(whole);
        }
    }

    fn start_call(
        &mut self,
        key: Option<u64>,
        id: &str,
        name: &str,
        arguments: &str,
        events: Deltas<'_>,
    ) -> Result<(), ModelError> {
        let calls = self.blocks.iter().filter(|block| matches!(block, Block::Call { .. })).count();
        if calls >= limits::MODEL_TOOL_CALLS {
            return Err(self
                .named
                .garbage(format!("more than {} tool calls at once", limits::MODEL_TOOL_CALLS)));
        }
        self.show_first(events);
        let id = self.unused_id(id)?;
        events(ModelDelta::ToolCallStarted { id: id.clone(), name: name.into() });
        self.blocks.push(Block::Call { key, id, name: name.into(), arguments: arguments.into() });
        Ok(())
    }

    /// The id that the provider gave, or a new one when it gave none or the same one twice.
    fn unused_id(&self, id: &str) -> Result<String, ModelError> {
        let taken = |block: &Block| matches!(block, Block::Call { id: taken, .. } if taken == id);
        if id.is_empty() || self.blocks.iter().any(taken) {
            return Ok(format!("call_{}", random_id()?));
        }
        Ok(id.into())
    }

    /// The whole answer.
    pub(super) fn finish(mut self, events: Deltas<'_>) -> Result<Finished, ModelError> {
        self.take_bare_calls(events)?;
        self.show_first(events);
        let Some(stop) = self.stop.or(self.ended.then_some(StopReason::Stop)) else {
            return Err(ModelError::Interrupted { provider: self.named.provider() });
        };
        let content: Vec<Part> = self.blocks.into_iter().filter_map(Block::into_part).collect();
        let calls = content.iter().any(|part| matches!(part, Part::ToolCall { .. }));
        let stop_reason = match stop {
            _ if calls => StopReason::ToolUse,
            StopReason::ToolUse => StopReason::Stop,
            other => other,
        };
        Ok(Finished { content, usage: self.usage, stop_reason })
    }

    /// Small models write their calls into the text: taken as calls when nothing else was said.
    fn take_bare_calls(&mut self, events: Deltas<'_>) -> Result<(), ModelError> {
        let Some(text) = self.only_text() else { return Ok(()) };
        let Some(found) = bare_call::find(text, self.offered) else { return Ok(()) };
        self.blocks.retain(|block| matches!(block, Block::Thought { .. }));
        if !found.before.is_empty() {
            self.blocks.push(Block::Text(found.before));
        }
        for (key, call) in found.calls.into_iter().enumerate() {
            let key = u64::try_from(key).ok();
            self.start_call(key, "", &call.name, &call.arguments.to_string(), events)?;
        }
        Ok(())
    }
}

impl Block {
    fn into_part(self) -> Option<Part> {
        match self {
            Self::Text(text) if text.is_empty() => None,
            Self::Text(text) => Some(Part::Text { text }),
            Self::Thought { words, signature } => {
                Some(Part::Thinking { thinking: words, thinking_signature: signature })
            }
            Self::Call { id, name, arguments, .. } => {
                Some(Part::ToolCall { id, name, arguments: into_arguments(arguments) })
            }
        }
    }
}

/// Arguments as an object, or as the text that came: the tool loop tells the model what is wrong with it.
fn into_arguments(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(arguments)) => Value::Object(arguments),
        _ => Value::String(text),
    }
}
