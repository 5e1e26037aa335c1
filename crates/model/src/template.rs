//! The chat template: how a model wants a conversation written.
//!
//! It is a program that comes with the file, so it is not trusted: it has a limit of steps, of depth and of what it writes,
//! and of memory by the process's own. What people and tools wrote comes to it guarded (see [`GUARD`]).

use std::io;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use moltbot_config::limits::{
    LOCAL_MODEL_PROMPT_BYTES, LOCAL_MODEL_TEMPLATE_BYTES, LOCAL_MODEL_TEMPLATE_STEPS,
};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::failure::{Code, Failure, short};
use crate::request::{Conversation, Message};
use crate::vocabulary::{GUARD, Vocabulary};

/// A template that was read.
pub(crate) struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Reads a file's template.
    pub(crate) fn read(source: Option<&str>) -> Result<Self, Failure> {
        let source = source.ok_or_else(|| {
            Code::Template.because(
                "the file has no chat template (tokenizer.chat_template); take one of a model that was trained to chat",
            )
        })?;
        if source.len() > LOCAL_MODEL_TEMPLATE_BYTES || source.contains(GUARD) {
            return Err(Code::Template.because(
                "the file's chat template is too long or has a character that no text has; take another file",
            ));
        }
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(LOCAL_MODEL_TEMPLATE_STEPS));
        environment.set_recursion_limit(DEPTH);
        environment.set_unknown_method_callback(method);
        environment.add_filter("tojson", json);
        environment.add_filter("trim", trim);
        environment.add_function("raise_exception", raise);
        environment.add_function("strftime_now", time);
        let added = environment.add_template_owned(NAME, source.to_owned());
        added.map_err(|cause| Code::Template.explained("the file's chat template cannot be read", &cause))?;
        Ok(Self { environment })
    }

    /// The text of a conversation up to where the answer begins, or why the template refuses it.
    pub(crate) fn write(&self, conversation: &Conversation, words: &Vocabulary) -> Result<String, String> {
        let messages: Value = conversation.messages.iter().map(|message| shown(message, words)).collect();
        let tools = conversation.tools.as_deref().map(|tools| given(tools, words));
        let context: Value = [
            ("messages", messages),
            ("tools", tools.unwrap_or_else(|| Value::from(()))),
            ("add_generation_prompt", Value::from(true)),
            ("bos_token", Value::from(words.begin())),
            ("eos_token", Value::from(words.end())),
        ]
        .into_iter()
        .collect();
        let template = self.environment.get_template(NAME).map_err(|cause| short(&cause))?;
        let mut text = Bounded(Vec::new());
        template.render_captured_to(context, &mut text).map_err(|cause| short(&cause))?;
        String::from_utf8(text.0).map_err(|cause| short(&cause))
    }
}

const NAME: &str = "chat";
/// How deep macros and loops may call each other.
const DEPTH: usize = 64;

/// A message as templates know it.
fn shown(message: &Message, words: &Vocabulary) -> Value {
    let text = |text: &str| Value::from(words.guarded(text));
    let mut members = vec![("role", Value::from(message.role.name())), ("content", text(&message.content))];
    members.extend(message.name.as_deref().map(|name| ("name", text(name))));
    members.extend(message.answers.as_deref().map(|id| ("tool_call_id", text(id))));
    if !message.calls.is_empty() {
        let calls = message.calls.iter().map(|call| {
            let function = [("name", text(&call.name)), ("arguments", given(&call.arguments, words))];
            let function: Value = function.into_iter().collect();
            let call = [("id", text(&call.id)), ("type", Value::from("function")), ("function", function)];
            call.into_iter().collect::<Value>()
        });
        members.push(("tool_calls", calls.collect()));
    }
    members.into_iter().collect()
}

/// What JSON says, with all its texts guarded; what is no JSON is the text that it is.
fn given(json: &str, words: &Vocabulary) -> Value {
    guarded(&serde_json::from_str(json).unwrap_or_else(|_| Value::from(json)), words)
}

/// A value with all its texts guarded.
fn guarded(value: &Value, words: &Vocabulary) -> Value {
    match value.kind() {
        ValueKind::String => Value::from(words.guarded(value.as_str().unwrap_or_default())),
        ValueKind::Seq => {
            value.try_iter().into_iter().flatten().map(|element| guarded(&element, words)).collect()
        }
        ValueKind::Map => {
            let keys = value.try_iter().into_iter().flatten();
            let members = keys.map(|key| {
                let member = value.get_item(&key).unwrap_or_default();
                (guarded(&key, words), guarded(&member, words))
            });
            members.collect()
        }
        _ => value.clone(),
    }
}

/// What a template may write.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LOCAL_MODEL_PROMPT_BYTES {
            return Err(io::Error::other("the chat template writes too much"));
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `raise_exception`: the template refuses the conversation.
fn raise(cause: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, cause))
}

/// `strftime_now`: what is asked is the same at all times.
fn time(_format: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "the time is not told to a template"))
}

/// Python's methods of texts, lists and maps; those that cut blanks off know of guards.
fn method(state: &State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (name, value.as_str(), arguments) {
        ("strip", Some(text), []) => Ok(Value::from(trimmed(text, true, true))),
        ("lstrip", Some(text), []) => Ok(Value::from(trimmed(text, true, false))),
        ("rstrip", Some(text), []) => Ok(Value::from(trimmed(text, false, true))),
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

/// `trim`.
fn trim(value: Value, letters: Option<String>) -> Value {
    match (value.as_str(), letters) {
        (Some(text), Some(letters)) => Value::from(text.trim_matches(|letter| letters.contains(letter))),
        (Some(text), None) => Value::from(trimmed(text, true, true)),
        (None, _) => value,
    }
}

/// `text` without blanks at its ends, within the guard that it begins with.
fn trimmed(text: &str, left: bool, right: bool) -> String {
    let (guard, inner) = text.strip_prefix(GUARD).map_or(("", text), |inner| ("\u{fdd0}", inner));
    let inner = if left { inner.trim_start() } else { inner };
    let inner = if right { inner.trim_end() } else { inner };
    if inner.is_empty() { String::new() } else { format!("{guard}{inner}") }
}

/// `tojson`, spaced as Python spaces it, because models were trained on that; nothing is escaped for web pages.
fn json(value: Value, arguments: Kwargs) -> Result<Value, Error> {
    let failed = |cause: &dyn std::fmt::Display| Error::new(ErrorKind::BadSerialization, short(&cause));
    let mut text = Vec::new();
    match arguments.get::<Option<usize>>("indent")? {
        Some(indent) => {
            let indent = " ".repeat(indent.min(8));
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut text, formatter))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut text, Spaced)),
    }
    .map_err(|cause| failed(&cause))?;
    String::from_utf8(text).map(Value::from).map_err(|cause| failed(&cause))
}

/// JSON with a blank behind each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
