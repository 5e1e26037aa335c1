//! What was said and done in a conversation, as far as it is kept for the screen: the last entries, each up to a length.
//!
//! What is kept here is harmless already: [`on_screen`] is where texts come in, so that nothing that draws can forget it.

use std::collections::VecDeque;

use serde_json::Value;

use super::text::{beginning, in_line, on_screen};

/// Entries that are kept.
pub(super) const ENTRIES: usize = 500;
/// Bytes of one entry that are kept.
pub(super) const ENTRY_BYTES: usize = 64 * 1024;

/// Something in the conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    /// What the model said.
    Answer {
        /// The run; empty when it is read from the transcript.
        run: String,
        /// The words.
        text: String,
    },
    /// What went wrong.
    Failure(String),
    /// What this program says.
    Note(String),
    /// What a person said.
    Said(Said),
    /// What the model thought.
    Thought(String),
    /// What a tool did.
    Tool(Tool),
}

/// A message of a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    /// The words.
    pub(crate) text: String,
    /// The run that it names; empty when it is read from the transcript.
    pub(crate) run: String,
    /// Whether it arrived.
    pub(crate) delivery: Delivery,
}

/// Whether a message arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Delivery {
    /// The gateway has it.
    Arrived,
    /// The gateway does not want it.
    Refused(String),
    /// It is on its way.
    Sent,
    /// The connection broke before the gateway said so.
    Unknown,
}

/// A call of a tool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tool {
    /// The call's id. Models use the same again.
    pub(crate) id: String,
    /// The tool's name.
    pub(crate) name: String,
    /// Its arguments, in one line.
    pub(crate) arguments: String,
    /// How far it is.
    pub(crate) state: ToolState,
    /// What it brought, where that is known.
    pub(crate) result: Option<String>,
}

/// How far a tool is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ToolState {
    /// It worked.
    Done,
    /// It did not work.
    Failed,
    /// It is at it.
    Running,
    /// Its run is over, and it was not told how it ended.
    Unknown,
}

/// The conversation.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    entries: VecDeque<Entry>,
}

impl Conversation {
    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a remark of this program. The same one twice is said once.
    pub(crate) fn note(&mut self, text: &str) {
        self.push_once(Entry::Note(kept(text)));
    }

    /// Adds a failure. The same one twice is said once.
    pub(crate) fn failure(&mut self, text: &str) {
        self.push_once(Entry::Failure(kept(text)));
    }

    /// Adds a message that is on its way.
    pub(crate) fn say(&mut self, run: &str, text: &str) {
        let text = on_screen(text);
        self.push(Entry::Said(Said { text, run: run.to_owned(), delivery: Delivery::Sent }));
    }

    /// The words of an answer. They take the place of the run's last words when nothing came in between.
    pub(crate) fn answer(&mut self, run: &str, text: &str, is_continued: bool) {
        let text = kept(text);
        if is_continued
            && let Some(Entry::Answer { run: of, text: shown }) = self.entries.back_mut()
            && of == run
        {
            *shown = text;
            return;
        }
        self.push(Entry::Answer { run: run.to_owned(), text });
    }

    /// Whether the last entry is an answer of that run.
    pub(crate) fn ends_with_answer_of(&self, run: &str) -> bool {
        matches!(self.entries.back(), Some(Entry::Answer { run: of, .. }) if of == run)
    }

    /// A tool begins.
    pub(crate) fn tool_began(&mut self, id: &str, name: &str, arguments: &Value) {
        let arguments = if arguments.is_null() { String::new() } else { arguments.to_string() };
        let (arguments, _) = beginning(&arguments, ENTRY_BYTES);
        let (id, name, arguments) = (id.to_owned(), in_line(name), in_line(arguments));
        self.push(Entry::Tool(Tool { id, name, arguments, state: ToolState::Running, result: None }));
    }

    /// A tool has ended: the last of that id which runs.
    pub(crate) fn tool_ended(&mut self, id: &str, state: ToolState, result: Option<&str>) {
        let mut tools = self.tools_from_last();
        let running = tools.find(|tool| tool.id == id && tool.state == ToolState::Running);
        if let Some(tool) = running {
            tool.state = state;
            tool.result = result.map(kept);
        }
    }

    /// No tool runs any more.
    pub(crate) fn tools_are_over(&mut self) {
        self.tools_from_last()
            .filter(|tool| tool.state == ToolState::Running)
            .for_each(|tool| tool.state = ToolState::Unknown);
    }

    /// Whether a message arrived; of the one that names that run.
    pub(crate) fn deliver(&mut self, run: &str, delivery: Delivery) {
        if let Some(said) = self.said().find(|said| said.run == run) {
            said.delivery = delivery;
        }
    }

    /// What was on its way when the connection broke may have arrived or not. Whether there was such a message.
    pub(crate) fn lose(&mut self) -> bool {
        let lost = self.said().filter(|said| said.delivery == Delivery::Sent);
        lost.map(|said| said.delivery = Delivery::Unknown).count() > 0
    }

    /// The first message of which it is not known that it arrived, and that is not on its way.
    pub(crate) fn unsent(&self) -> Option<&Said> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Said(said) => {
                matches!(said.delivery, Delivery::Refused(_) | Delivery::Unknown).then_some(said)
            }
            _ => None,
        })
    }

    /// Whether the gateway has every message.
    pub(crate) fn has_arrived(&self) -> bool {
        self.entries.iter().all(|entry| !is_open(entry))
    }

    /// Takes what the transcript says, and behind it the messages that are not known to have arrived.
    pub(crate) fn load(&mut self, history: &Value) {
        let open: Vec<Entry> = self.entries.drain(..).filter(is_open).collect();
        for message in messages(history) {
            self.add(message);
        }
        self.tools_are_over();
        open.into_iter().for_each(|entry| self.push(entry));
    }

    /// Adds to a run that is over what was not told while it ran: results of tools, and thoughts.
    pub(crate) fn complete(&mut self, run: &str, history: &Value) {
        let messages: Vec<&Value> = messages(history).collect();
        let begin = messages.iter().rposition(|message| text_of(message, "role") == "user").unwrap_or(0);
        let of_run = messages.get(begin..).unwrap_or_default();
        for message in of_run.iter().rev().filter(|message| text_of(message, "role") == "toolResult") {
            let id = text_of(message, "toolCallId");
            let mut tools = self.tools_from_last();
            if let Some(tool) = tools.find(|tool| tool.id == id && tool.result.is_none()) {
                tool.result = Some(kept(&words(message)));
                tool.state = ended(message);
            }
        }
        let is_it = |entry: &Entry| matches!(entry, Entry::Said(said) if said.run == run);
        let Some(place) = self.entries.iter().rposition(is_it) else { return };
        let thoughts = of_run.iter().flat_map(|message| parts(message)).filter_map(thought);
        let thoughts: Vec<Entry> = thoughts.collect();
        for thought in thoughts.into_iter().rev() {
            self.entries.insert(place.saturating_add(1), thought);
        }
        self.bound();
    }

    /// Adds a message of the transcript.
    fn add(&mut self, message: &Value) {
        match text_of(message, "role") {
            "user" => {
                let text = kept(&words(message));
                let (run, delivery) = (String::new(), Delivery::Arrived);
                self.push(Entry::Said(Said { text, run, delivery }));
            }
            "toolResult" => {
                self.tool_ended(text_of(message, "toolCallId"), ended(message), Some(&words(message)));
            }
            _ => parts(message).for_each(|part| self.add_part(part)),
        }
        if let Some(error) = message.get("errorMessage").and_then(Value::as_str) {
            self.push(Entry::Failure(kept(error)));
        }
    }

    fn add_part(&mut self, part: &Value) {
        match text_of(part, "type") {
            "text" if !text_of(part, "text").trim().is_empty() => {
                let text = kept(text_of(part, "text"));
                self.push(Entry::Answer { run: String::new(), text });
            }
            "toolCall" => {
                let arguments = part.get("arguments").unwrap_or(&Value::Null);
                self.tool_began(text_of(part, "id"), text_of(part, "name"), arguments);
            }
            _ => thought(part).into_iter().for_each(|entry| self.push(entry)),
        }
    }

    fn said(&mut self) -> impl Iterator<Item = &mut Said> {
        self.entries.iter_mut().rev().filter_map(|entry| match entry {
            Entry::Said(said) => Some(said),
            _ => None,
        })
    }

    fn tools_from_last(&mut self) -> impl Iterator<Item = &mut Tool> {
        self.entries.iter_mut().rev().filter_map(|entry| match entry {
            Entry::Tool(tool) => Some(tool),
            _ => None,
        })
    }

    fn push_once(&mut self, entry: Entry) {
        if self.entries.back() != Some(&entry) {
            self.push(entry);
        }
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        self.bound();
    }

    fn bound(&mut self) {
        let over = self.entries.len().saturating_sub(ENTRIES);
        self.entries.drain(..over);
    }
}

/// Whether an entry is a message of which it is not known that the gateway has it.
fn is_open(entry: &Entry) -> bool {
    matches!(entry, Entry::Said(said) if said.delivery != Delivery::Arrived)
}

/// A text as it is kept: harmless, and up to a length.
fn kept(text: &str) -> String {
    let (shown, is_whole) = beginning(text, ENTRY_BYTES);
    let rest = text.len().saturating_sub(shown.len());
    let shown = on_screen(shown.trim_end());
    if is_whole { shown } else { format!("{shown}\n… {rest} more bytes are in the transcript") }
}

fn ended(result: &Value) -> ToolState {
    if result.get("isError") == Some(&Value::Bool(true)) { ToolState::Failed } else { ToolState::Done }
}

fn thought(part: &Value) -> Option<Entry> {
    let text = text_of(part, "thinking");
    (text_of(part, "type") == "thinking" && !text.trim().is_empty()).then(|| Entry::Thought(kept(text)))
}

/// The messages of a history.
pub(super) fn messages(history: &Value) -> impl Iterator<Item = &Value> {
    history.get("messages").and_then(Value::as_array).into_iter().flatten()
}

fn parts(message: &Value) -> impl Iterator<Item = &Value> {
    message.get("content").and_then(Value::as_array).into_iter().flatten()
}

fn words(message: &Value) -> String {
    parts(message).map(|part| text_of(part, "text")).collect()
}

/// A member that is a text; nothing is an empty one.
pub(super) fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history() -> Value {
        json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "look\u{1b}[2J"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "toolCall", "id": "call_0", "name": "read", "arguments": {"path": "a"}},
            ]},
            {"role": "toolResult", "toolCallId": "call_0", "toolName": "read", "isError": true,
             "content": [{"type": "text", "text": "no such file"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "It is\u{202e} gone."}], "errorMessage": "cut"},
        ]})
    }

    fn tool(state: ToolState, result: Option<&str>) -> Entry {
        let (id, name, arguments) = ("call_0".into(), "read".into(), "{\"path\":\"a\"}".into());
        Entry::Tool(Tool { id, name, arguments, state, result: result.map(Into::into) })
    }

    #[test]
    fn a_transcript_is_shown_in_its_order_and_without_what_acts_on_a_terminal() {
        let mut conversation = Conversation::default();
        conversation.load(&history());
        let text = "look<U+001B>[2J".to_owned();
        let expected = [
            Entry::Said(Said { text, run: String::new(), delivery: Delivery::Arrived }),
            Entry::Thought("hm".into()),
            tool(ToolState::Failed, Some("no such file")),
            Entry::Answer { run: String::new(), text: "It is<U+202E> gone.".into() },
            Entry::Failure("cut".into()),
        ];
        assert_eq!(conversation.entries().cloned().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_message_that_may_not_have_arrived_survives_and_is_found_again() {
        let mut conversation = Conversation::default();
        conversation.say("r1", "one");
        conversation.say("r2", "two");
        conversation.deliver("r1", Delivery::Arrived);
        assert_eq!(conversation.unsent(), None, "what is on its way is not sent again");
        assert!(conversation.lose() && !conversation.lose());
        conversation.load(&history());
        assert_eq!(conversation.unsent().map(|said| said.run.as_str()), Some("r2"));
        assert_eq!(conversation.entries().count(), 6);
        conversation.deliver("r2", Delivery::Refused("too long".into()));
        assert_eq!(conversation.unsent().map(|said| said.text.as_str()), Some("two"));
    }

    #[test]
    fn what_was_not_told_of_a_run_is_added_when_it_is_over() {
        let mut conversation = Conversation::default();
        conversation.say("r1", "look");
        conversation.tool_began("call_0", "read", &json!({"path": "a"}));
        conversation.tool_ended("call_0", ToolState::Done, None);
        conversation.answer("r1", "It is", false);
        conversation.answer("r1", "It is gone.", true);
        conversation.complete("r1", &history());
        let entries: Vec<Entry> = conversation.entries().skip(1).cloned().collect();
        let answer = Entry::Answer { run: "r1".into(), text: "It is gone.".into() };
        let expected = [Entry::Thought("hm".into()), tool(ToolState::Failed, Some("no such file")), answer];
        assert_eq!(entries, expected);
    }

    #[test]
    fn it_has_an_end() {
        let mut conversation = Conversation::default();
        for number in 0..ENTRIES * 2 {
            conversation.note(&number.to_string());
            conversation.note(&number.to_string());
        }
        assert_eq!(conversation.entries().count(), ENTRIES);
        conversation.answer("r", &"ä".repeat(ENTRY_BYTES), false);
        let Some(Entry::Answer { text, .. }) = conversation.entries().next_back() else { panic!() };
        assert!(text.len() < ENTRY_BYTES + 100 && text.ends_with("65536 more bytes are in the transcript"));
    }
}
