//! What a model is sent of a conversation: the newest messages that fit its window.
//!
//! Tokens are estimated at four characters each, which is near for English and generous for most else; the
//! provider has the last word. A tool call is never parted from its results.

use std::ops::Range;

use moltbot_protocol::message::{Message, Part};
use moltbot_protocol::principal::Principal;
use serde_json::Value;

use crate::model::{Prompt, ToolSpec};

/// Characters of one token, as estimated.
const TOKEN_CHARS: u64 = 4;
/// Tokens of a picture, as estimated: about what the largest size that providers look at costs.
const IMAGE_TOKENS: u64 = 1600;
/// Tokens that one message costs beside its text.
const MESSAGE_TOKENS: u64 = 8;

/// The result of a call that was running when the gateway stopped.
pub(crate) const UNKNOWN_OUTCOME: &str =
    "the gateway stopped while this was running; its outcome is unknown and it was not run again";

/// The conversation of one turn: what was said before it, the message it answers, and what it has added.
pub(crate) struct Transcript {
    messages: Vec<Message>,
    /// Where the message that this turn answers stands.
    question: usize,
    /// Where the messages begin that the store does not have yet.
    unsaved: usize,
    /// Whether messages were left out: not loaded, or not lent.
    shortened: bool,
    /// Whether the first message stands for earlier ones.
    summarised: bool,
    /// Why there is no summary of what is left out, when one was tried.
    because: Option<&'static str>,
}

impl Transcript {
    /// A transcript of which the store has everything: `earlier` ends with the message to be answered,
    /// followed by what a stopped gateway had journalled of its turn. `shortened` says that there are older
    /// messages that were not loaded.
    pub(crate) fn new(earlier: Vec<Message>, question: usize, shortened: bool) -> Self {
        let unsaved = earlier.len();
        Self { messages: earlier, question, unsaved, shortened, summarised: false, because: None }
    }

    /// Puts a message in front that stands for earlier ones. It is told to models, and is no part of what is kept.
    pub(crate) fn stand_in(&mut self, summary: Message) {
        self.messages.insert(0, summary);
        self.question = self.question.saturating_add(1);
        self.unsaved = self.unsaved.saturating_add(1);
        self.summarised = true;
    }

    /// Takes out the first `count` messages, all of them before the message to be answered and in the store. Whoever takes
    /// them says what stands for them.
    pub(crate) fn take_head(&mut self, count: usize) -> Vec<Message> {
        let count = count.min(self.question).min(self.unsaved);
        self.question = self.question.saturating_sub(count);
        self.unsaved = self.unsaved.saturating_sub(count);
        if count > 0 {
            self.summarised = false;
        }
        self.messages.drain(..count).collect()
    }

    /// Puts back what was taken out, because nothing stands for it.
    pub(crate) fn put_back(&mut self, mut head: Vec<Message>, summarised: bool) {
        let count = head.len();
        head.append(&mut self.messages);
        self.messages = head;
        self.question = self.question.saturating_add(count);
        self.unsaved = self.unsaved.saturating_add(count);
        self.summarised = summarised;
    }

    /// Whether the first message stands for earlier ones.
    pub(crate) const fn is_summarised(&self) -> bool {
        self.summarised
    }

    /// Whether messages were left out for which nothing stands.
    pub(crate) const fn is_shortened(&self) -> bool {
        self.shortened
    }

    /// Notes that what is left out could not be summarised: the model is told.
    pub(crate) const fn not_summarised(&mut self) {
        self.because = Some(NOT_SUMMARISED);
    }

    /// Where the message to be answered stands.
    pub(crate) const fn question(&self) -> usize {
        self.question
    }

    /// All of it, oldest first.
    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message that the store does not have.
    pub(crate) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// What the store does not have yet.
    pub(crate) fn unsaved(&self) -> &[Message] {
        self.messages.get(self.unsaved..).unwrap_or_default()
    }

    /// Notes that the store has everything.
    pub(crate) fn mark_saved(&mut self) {
        self.unsaved = self.messages.len();
    }

    /// What the turn has added.
    pub(crate) fn of_turn(&self) -> &[Message] {
        self.messages.get(self.question.saturating_add(1)..).unwrap_or_default()
    }

    /// What the model thought before its last answer in this turn, as far as it was shown.
    pub(crate) fn thoughts(&self) -> String {
        let answers = self.of_turn().iter().rev().filter_map(|message| match message {
            Message::Assistant { content, .. } => Some(content),
            Message::ToolResult { .. } | Message::User { .. } => None,
        });
        let thoughts = answers.take(1).flatten().filter_map(|part| match part {
            Part::Thinking { thinking, .. } => Some(thinking.trim()),
            Part::Image { .. } | Part::Text { .. } | Part::ToolCall { .. } => None,
        });
        thoughts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// The paths of the pictures that people sent, newest first.
    pub(crate) fn pictures(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for message in self.messages.iter().rev() {
            let Message::User { content, .. } = message else { continue };
            paths.extend(content.iter().filter_map(|part| match part {
                Part::Image { path, .. } => Some(path.clone()),
                _ => None,
            }));
        }
        paths
    }

    /// The arguments of the last call with this id.
    pub(crate) fn arguments_of(&self, call: &str) -> Option<&Value> {
        self.messages.iter().rev().find_map(|message| {
            let Message::Assistant { content, .. } = message else { return None };
            content.iter().find_map(|part| match part {
                Part::ToolCall { id, arguments, .. } if id == call => Some(arguments),
                _ => None,
            })
        })
    }

    /// What the store does not have yet; the rest is let go.
    pub(crate) fn into_unsaved(mut self) -> Vec<Message> {
        let saved = self.unsaved.min(self.messages.len());
        self.messages.split_off(saved)
    }

    /// Answers every call at the end that has no result, with the error `because`. Returns id and tool of
    /// each.
    pub(crate) fn settle(&mut self, because: &str, timestamp: u64) -> Vec<(String, String)> {
        let open = open_calls(&self.messages);
        for (id, name) in open.iter().cloned() {
            self.push(no_result(id, name, because, timestamp));
        }
        open
    }

    /// Leaves out the oldest messages until the rest fits `tokens`, and lends the rest out for a prompt.
    /// The message to be answered and the newest call with its results always stay.
    pub(crate) fn lend(&mut self, tokens: u64) -> Vec<Message> {
        self.leave_out(tokens);
        let mut messages = std::mem::take(&mut self.messages);
        if self.shortened {
            note_omission(&mut messages, self.omission());
        }
        messages
    }

    /// How an omission is told.
    fn omission(&self) -> &'static str {
        self.because.unwrap_or(OMISSION)
    }

    /// Takes back what was lent.
    pub(crate) fn give_back(&mut self, mut messages: Vec<Message>) {
        if self.shortened {
            remove_omission(&mut messages, self.omission());
        }
        self.messages = messages;
    }

    fn leave_out(&mut self, tokens: u64) {
        let groups = groups_of(&self.messages);
        let pinned = |group: &Range<usize>| {
            group.contains(&self.question)
                || group.end == self.messages.len()
                || (self.summarised && group.start == 0)
        };
        let cost = |group: &Range<usize>| {
            self.messages
                .get(group.clone())
                .unwrap_or_default()
                .iter()
                .map(estimate)
                .fold(0, u64::saturating_add)
        };
        let needed = groups.iter().filter(|group| pinned(group)).map(cost).fold(0, u64::saturating_add);
        let mut left = tokens.saturating_sub(needed);
        let mut full = false;
        let mut dropped: Vec<Range<usize>> = Vec::new();
        for group in groups.iter().rev().filter(|group| !pinned(group)) {
            let cost = cost(group);
            full = full || cost > left;
            if full {
                dropped.push(group.clone());
            } else {
                left -= cost;
            }
        }
        for group in dropped {
            self.drop_group(group);
        }
    }

    /// Drops messages; `group` is the newest of those still to be dropped, so earlier places stay right.
    fn drop_group(&mut self, group: Range<usize>) {
        let count = group.len();
        if group.start < self.question {
            self.question = self.question.saturating_sub(count);
        }
        if group.start < self.unsaved {
            self.unsaved = self.unsaved.saturating_sub(count);
        }
        self.shortened = true;
        self.messages.drain(group);
    }
}

/// Makes stored messages fit for a prompt: drops assistant messages that say nothing, gives every call a
/// result, and drops results whose call is gone.
pub(crate) fn repair(messages: Vec<Message>) -> Vec<Message> {
    let mut repaired: Vec<Message> = Vec::with_capacity(messages.len().saturating_add(1));
    let mut open: Vec<(String, String)> = Vec::new();
    let mut last = 0;
    for message in messages {
        match &message {
            Message::ToolResult { tool_call_id, .. } => {
                let Some(at) = open.iter().position(|(id, _)| id == tool_call_id) else { continue };
                open.remove(at);
            }
            Message::Assistant { content, .. } if content.is_empty() => continue,
            Message::Assistant { .. } | Message::User { .. } => close(&mut repaired, &mut open, last),
        }
        last = timestamp_of(&message);
        open.extend(calls_of(&message));
        repaired.push(message);
    }
    close(&mut repaired, &mut open, last);
    repaired
}

/// Gives the calls of the past that never got a result one that says so.
fn close(messages: &mut Vec<Message>, open: &mut Vec<(String, String)>, timestamp: u64) {
    for (id, name) in open.drain(..) {
        messages.push(no_result(id, name, UNKNOWN_OUTCOME, timestamp));
    }
}

/// The result of a call that has none.
fn no_result(tool_call_id: String, tool_name: String, because: &str, timestamp: u64) -> Message {
    let content = vec![Part::text(because)];
    Message::ToolResult { tool_call_id, tool_name, content, is_error: true, timestamp }
}

/// The calls of the last assistant message that have no result yet, in order: id and tool.
fn open_calls(messages: &[Message]) -> Vec<(String, String)> {
    let mut answered: Vec<&str> = Vec::new();
    for message in messages.iter().rev() {
        match message {
            Message::ToolResult { tool_call_id, .. } => answered.push(tool_call_id),
            Message::Assistant { .. } => {
                let calls = calls_of(message).into_iter();
                return calls.filter(|(id, _)| !answered.contains(&id.as_str())).collect();
            }
            Message::User { .. } => break,
        }
    }
    Vec::new()
}

/// Id and tool of each call of a message.
fn calls_of(message: &Message) -> Vec<(String, String)> {
    let Message::Assistant { content, .. } = message else { return Vec::new() };
    let calls = content.iter().filter_map(|part| match part {
        Part::ToolCall { id, name, .. } => Some((id.clone(), name.clone())),
        _ => None,
    });
    calls.collect()
}

/// The messages in groups that stay together: an assistant message with the results after it, or one other.
fn groups_of(messages: &[Message]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        match (message, groups.last_mut()) {
            (Message::ToolResult { .. }, Some(group)) => group.end = index + 1,
            _ => groups.push(index..index + 1),
        }
    }
    groups
}

/// The tokens of a message, as estimated.
pub(crate) fn estimate(message: &Message) -> u64 {
    let (Message::Assistant { content, .. }
    | Message::ToolResult { content, .. }
    | Message::User { content, .. }) = message;
    let parts = content.iter().map(|part| match part {
        Part::Image { .. } => IMAGE_TOKENS,
        Part::Text { text } => estimate_text(text),
        Part::Thinking { thinking, .. } => estimate_text(thinking),
        Part::ToolCall { name, arguments, .. } => {
            estimate_text(name).saturating_add(estimate_chars(value_chars(arguments)))
        }
    });
    parts.fold(MESSAGE_TOKENS, u64::saturating_add)
}

/// The tokens of a whole prompt, as estimated.
pub(crate) fn estimate_all(prompt: &Prompt) -> u64 {
    let messages = prompt.messages.iter().map(estimate).fold(0, u64::saturating_add);
    messages.saturating_add(estimate_text(&prompt.system)).saturating_add(estimate_tools(&prompt.tools))
}

/// The tokens of descriptions of tools, as estimated.
pub(crate) fn estimate_tools(tools: &[ToolSpec]) -> u64 {
    let tool = |tool: &ToolSpec| {
        estimate_text(tool.name)
            .saturating_add(estimate_text(tool.description))
            .saturating_add(value_chars(&tool.parameters) / TOKEN_CHARS)
    };
    tools.iter().map(tool).fold(0, u64::saturating_add)
}

/// The tokens of a text, as estimated.
pub(crate) fn estimate_text(text: &str) -> u64 {
    estimate_chars(u64::try_from(text.chars().count()).unwrap_or(u64::MAX))
}

/// The tokens of so many characters, as estimated.
const fn estimate_chars(chars: u64) -> u64 {
    chars.div_ceil(TOKEN_CHARS)
}

/// About how many characters a value has as JSON, without writing it.
pub(crate) fn value_chars(value: &Value) -> u64 {
    let length = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(4);
    match value {
        Value::Array(items) => items.iter().map(value_chars).fold(2, u64::saturating_add),
        Value::Bool(_) | Value::Null | Value::Number(_) => 8,
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| length(name).saturating_add(value_chars(value)))
            .fold(2, u64::saturating_add),
        Value::String(text) => length(text),
    }
}

/// How an omission is told.
const OMISSION: &str = "[Earlier messages of this conversation are left out here.]\n\n";
/// The same, where a summary was tried.
const NOT_SUMMARISED: &str =
    "[Earlier messages of this conversation are left out here, because they could not be summarised.]\n\n";

/// Says at the head that something is left out. The line goes into a message of the user, because providers want
/// the first message to be one.
fn note_omission(messages: &mut Vec<Message>, omission: &str) {
    match messages.first_mut() {
        Some(Message::User { content, .. }) => content.insert(0, Part::text(omission)),
        first => {
            let timestamp = first.map_or(0, |message| timestamp_of(message));
            let (content, principal) = (vec![Part::text(omission)], Principal::Owner);
            messages.insert(0, Message::User { content, timestamp, principal });
        }
    }
}

/// Undoes [`note_omission`].
fn remove_omission(messages: &mut Vec<Message>, omission: &str) {
    let Some(Message::User { content, .. }) = messages.first_mut() else { return };
    if matches!(content.first(), Some(Part::Text { text }) if text == omission) {
        content.remove(0);
    }
    if content.is_empty() {
        messages.remove(0);
    }
}

/// When a message was said.
const fn timestamp_of(message: &Message) -> u64 {
    match message {
        Message::Assistant { timestamp, .. }
        | Message::ToolResult { timestamp, .. }
        | Message::User { timestamp, .. } => *timestamp,
    }
}

#[cfg(test)]
mod tests {
    use moltbot_protocol::message::{StopReason, Usage};
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Message {
        Message::User { content: vec![Part::text(text)], timestamp: 1, principal: Principal::Owner }
    }

    fn says(content: Vec<Part>) -> Message {
        Message::Assistant {
            content,
            timestamp: 1,
            provider: "p".into(),
            model: "m".into(),
            usage: Usage::default(),
            stop_reason: StopReason::Stop,
            error_message: None,
        }
    }

    fn calls(id: &str) -> Message {
        let arguments = json!({ "path": "x" });
        says(vec![Part::ToolCall { id: id.into(), name: "read".into(), arguments }])
    }

    fn result(id: &str, text: &str) -> Message {
        Message::ToolResult {
            tool_call_id: id.into(),
            tool_name: "read".into(),
            content: vec![Part::text(text)],
            is_error: false,
            timestamp: 1,
        }
    }

    fn sketch(messages: &[Message]) -> Vec<String> {
        let one = |message: &Message| match message {
            Message::Assistant { .. } if !calls_of(message).is_empty() => {
                format!("call {}", calls_of(message)[0].0)
            }
            Message::Assistant { .. } => format!("says {}", message.text()),
            Message::ToolResult { tool_call_id, .. } => format!("result {tool_call_id}"),
            Message::User { .. } => format!("user {}", message.text().chars().take(20).collect::<String>()),
        };
        messages.iter().map(one).collect()
    }

    #[test]
    fn everything_stays_when_it_fits() {
        let mut transcript =
            Transcript::new(vec![user("a"), says(vec![Part::text("b")]), user("c")], 2, false);
        let lent = transcript.lend(10_000);
        assert_eq!(sketch(&lent), ["user a", "says b", "user c"]);
        transcript.give_back(lent);
        assert!(transcript.into_unsaved().is_empty());
    }

    #[test]
    fn the_oldest_go_first_and_the_omission_is_told() {
        let long = "x".repeat(400);
        let earlier = vec![user(&long), says(vec![Part::text(long.clone())]), user("now")];
        let mut transcript = Transcript::new(earlier, 2, false);
        let lent = transcript.lend(130);
        assert_eq!(lent.len(), 3, "the note, the answer and the question");
        assert_eq!(lent[0].text(), "[Earlier messages of this conversation are left out here.]\n\n");
        transcript.give_back(lent);
        let lent = transcript.lend(50);
        assert_eq!(lent.len(), 1);
        assert_eq!(lent[0].text(), "[Earlier messages of this conversation are left out here.]\n\nnow");
        transcript.give_back(lent);
        assert_eq!(sketch(&transcript.messages), ["user now"], "the note is not part of the transcript");
    }

    #[test]
    fn a_call_is_never_parted_from_its_result() {
        let long = "x".repeat(4000);
        let earlier = vec![user("a"), calls("1"), result("1", &long), says(vec![Part::text("b")]), user("c")];
        let mut transcript = Transcript::new(earlier, 4, false);
        assert_eq!(sketch(&transcript.lend(200))[1..], ["says b", "user c"]);
    }

    #[test]
    fn the_question_and_the_newest_result_stay_whatever_they_cost() {
        let long = "x".repeat(4000);
        let mut transcript = Transcript::new(vec![user("old"), user("question")], 1, false);
        for id in ["1", "2"] {
            transcript.push(calls(id));
            assert_eq!(transcript.unsaved().len(), if id == "1" { 1 } else { 2 });
            transcript.mark_saved();
            transcript.push(result(id, &long));
        }
        let lent = transcript.lend(10);
        assert_eq!(sketch(&lent), ["user [Earlier messages of", "call 2", "result 2"]);
        assert!(lent[0].text().ends_with("question"));
        transcript.give_back(lent);
        assert_eq!(sketch(&transcript.into_unsaved()), ["result 2"]);
    }

    #[test]
    fn calls_without_a_result_get_one_that_says_so() {
        let mut transcript = Transcript::new(vec![user("q"), calls("1")], 0, false);
        transcript.settle(UNKNOWN_OUTCOME, 7);
        let added = transcript.into_unsaved();
        assert_eq!(sketch(&added), ["result 1"]);
        assert_eq!(added[0].text(), UNKNOWN_OUTCOME);
    }

    #[test]
    fn a_stored_conversation_is_made_fit_for_a_prompt() {
        let stored = vec![
            result("0", "cut off"),
            calls("1"),
            user("a"),
            says(vec![]),
            result("1", "late"),
            user("b"),
            calls("2"),
        ];
        let messages = repair(stored);
        assert_eq!(sketch(&messages), ["call 1", "result 1", "user a", "user b", "call 2", "result 2"]);
        assert_eq!(messages[1].text(), UNKNOWN_OUTCOME);
    }
}
