//! A request for an answer, read once: unknown members are passed over, known ones are of their type or the request is refused.

use http::StatusCode;
use moltbot_config::limits::{LOCAL_MODEL_STOP_BYTES, LOCAL_MODEL_STOPS};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) conversation: Conversation,
    /// Names of the tools that may be called.
    pub(crate) offered: Vec<String>,
    pub(crate) choice: Choice,
    pub(crate) stops: Vec<String>,
    /// Tokens of the answer at most.
    pub(crate) most: Option<usize>,
    pub(crate) telling: Telling,
}

/// What is said so far, and with which tools.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
    /// The tools as they were sent: as text, which takes a tenth of the memory while it waits, and keeps their order, in
    /// which models have learnt to read them.
    pub(crate) tools: Option<String>,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) content: String,
    pub(crate) name: Option<String>,
    /// The call that it answers.
    pub(crate) answers: Option<String>,
    pub(crate) calls: Vec<Call>,
}

/// A call that the assistant made earlier.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// A JSON object, or what the model wrote instead.
    pub(crate) arguments: String,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Assistant,
    System,
    Tool,
    User,
}

impl Role {
    /// The name that templates know.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::Tool => "tool",
            Self::User => "user",
        }
    }
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    /// Nought: always the likeliest.
    pub(crate) temperature: f64,
    /// The share of likelihood from which is chosen.
    pub(crate) share: f64,
    pub(crate) seed: Option<u64>,
}

/// How an answer is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Telling {
    /// While it is said.
    Stream,
    /// While it is said, and how many tokens it took.
    StreamWithUsage,
    /// When it is whole.
    Whole,
}

/// Reads a request to the model that is called `model`.
pub(crate) fn read(body: &[u8], model: &str) -> Result<Request, Refusal> {
    let broken = |cause: serde_json::Error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_json",
            format!("the request is no JSON object: {cause}"),
        )
    };
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(broken)?;
    let of = Members(&members);
    match of.text("model")? {
        Some(asked) if asked == model => {}
        Some(asked) => {
            let asked: String = asked.chars().take(100).collect();
            let message = format!("there is no model {asked:?} here; the one that is served is {model:?}");
            return Err(Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message));
        }
        None => return Err(invalid("model", "is missing; name the model that is served")),
    }
    let messages = messages(of.list("messages")?.unwrap_or_default())?;
    let offered = offered(of.list("tools")?.unwrap_or_default())?;
    let used = called(&of)? && !offered.is_empty();
    let tools = if used { serde_json::from_slice::<Text<'_>>(body).map_err(broken)?.tools } else { None };
    let tools = tools.map(|tools| tools.get().to_owned());
    if of.count("n", 1, 128)?.is_some_and(|answers| answers > 1) {
        return Err(invalid("n", "is more than 1, and there is one answer"));
    }
    Ok(Request {
        conversation: Conversation { messages, tools },
        offered: if used { offered } else { Vec::new() },
        choice: choice(&of)?,
        stops: stops(members.get("stop"))?,
        most: most(&of)?,
        telling: telling(&of)?,
    })
}

/// What is kept as it was sent.
#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

fn invalid(member: &str, what: &str) -> Refusal {
    Refusal::member(member, "invalid_value", what)
}

/// Members by name, each of its type or none; `null` is none.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let wrong = || invalid(name, "must be a string");
        self.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        let wrong = || invalid(name, "must be true or false");
        self.get(name).map_or(Ok(false), |value| value.as_bool().ok_or_else(wrong))
    }

    fn list(&self, name: &str) -> Result<Option<&'a [Value]>, Refusal> {
        let wrong = || invalid(name, "must be a list");
        self.get(name).map(|value| value.as_array().map(Vec::as_slice).ok_or_else(wrong)).transpose()
    }

    fn object(&self, name: &str) -> Result<Option<Members<'a>>, Refusal> {
        let wrong = || invalid(name, "must be an object");
        self.get(name).map(|value| value.as_object().map(Members).ok_or_else(wrong)).transpose()
    }

    fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Refusal> {
        let wrong = || invalid(name, &format!("must be a number from {least} to {most}"));
        let number = self.get(name).map(|value| value.as_f64().ok_or_else(wrong)).transpose()?;
        match number {
            Some(number) if !(least..=most).contains(&number) => Err(wrong()),
            number => Ok(number),
        }
    }

    fn count(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let wrong = || invalid(name, &format!("must be a whole number from {least} to {most}"));
        let count = self.get(name).map(|value| value.as_u64().ok_or_else(wrong)).transpose()?;
        match count {
            Some(count) if !(least..=most).contains(&count) => Err(wrong()),
            count => Ok(count),
        }
    }
}

fn messages(list: &[Value]) -> Result<Vec<Message>, Refusal> {
    if list.is_empty() {
        return Err(invalid("messages", "must have one message or more"));
    }
    let messages = list.iter().enumerate().map(|(place, value)| {
        let at = format!("messages[{place}]");
        let members = value.as_object().ok_or_else(|| invalid(&at, "must be an object"))?;
        message(&Members(members)).map_err(|refusal| within(&at, refusal))
    });
    messages.collect()
}

/// A refusal of a member of a member.
fn within(at: &str, refusal: Refusal) -> Refusal {
    let member = refusal.member.map(|member| format!("{at}.{member}"));
    Refusal { message: format!("{at}.{}", refusal.message), member, ..refusal }
}

fn message(of: &Members<'_>) -> Result<Message, Refusal> {
    let role = match of.text("role")? {
        Some("assistant") => Role::Assistant,
        Some("developer" | "system") => Role::System,
        Some("tool") => Role::Tool,
        Some("user") => Role::User,
        _ => return Err(invalid("role", "must be system, developer, user, assistant or tool")),
    };
    let calls = calls(of.list("tool_calls")?.unwrap_or_default())?;
    let content = content(of.get("content"))?;
    if content.is_none() && calls.is_empty() && role != Role::Assistant {
        return Err(invalid("content", "is missing"));
    }
    Ok(Message {
        role,
        content: content.unwrap_or_default(),
        name: of.text("name")?.map(str::to_owned),
        answers: of.text("tool_call_id")?.map(str::to_owned),
        calls: if role == Role::Assistant { calls } else { Vec::new() },
    })
}

fn content(value: Option<&Value>) -> Result<Option<String>, Refusal> {
    let wrong = || invalid("content", "must be a string or a list of text parts");
    let parts = match value {
        None => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(text.clone())),
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(wrong()),
    };
    let texts = parts.iter().map(|part| {
        let part = Members(part.as_object().ok_or_else(wrong)?);
        match part.text("type")? {
            Some("text") => part.text("text")?.ok_or_else(wrong),
            Some("refusal") => part.text("refusal")?.ok_or_else(wrong),
            _ => Err(Refusal::member(
                "content",
                "unsupported_content",
                "has a part that is no text, and this model reads text alone",
            )),
        }
    });
    texts.collect::<Result<Vec<&str>, Refusal>>().map(|texts| Some(texts.concat()))
}

fn calls(list: &[Value]) -> Result<Vec<Call>, Refusal> {
    let wrong = || invalid("tool_calls", "must be a list of calls of functions");
    let calls = list.iter().map(|value| {
        let call = Members(value.as_object().ok_or_else(wrong)?);
        let function = call.object("function")?.ok_or_else(wrong)?;
        let name = function.text("name")?.ok_or_else(wrong)?.to_owned();
        let arguments = function.text("arguments")?.unwrap_or("{}").to_owned();
        Ok(Call { id: call.text("id")?.unwrap_or_default().to_owned(), name, arguments })
    });
    calls.collect()
}

/// The names of the tools.
fn offered(list: &[Value]) -> Result<Vec<String>, Refusal> {
    let wrong = || invalid("tools", "must be a list of functions with names");
    let names = list.iter().map(|value| {
        let tool = Members(value.as_object().ok_or_else(wrong)?);
        let function = tool.object("function")?.ok_or_else(wrong)?;
        if tool.text("type")? != Some("function") {
            return Err(wrong());
        }
        function.text("name")?.filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(wrong)
    });
    names.collect()
}

/// Whether tools may be called.
fn called(of: &Members<'_>) -> Result<bool, Refusal> {
    match of.get("tool_choice").map(Value::as_str) {
        None | Some(Some("auto")) => Ok(true),
        Some(Some("none")) => Ok(false),
        Some(_) => {
            Err(invalid("tool_choice", "must be auto or none: this model cannot be made to call a tool"))
        }
    }
}

fn choice(of: &Members<'_>) -> Result<Choice, Refusal> {
    let seed = match of.get("seed") {
        None => None,
        Some(value) => {
            let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
            Some(seed.ok_or_else(|| invalid("seed", "must be a whole number"))?)
        }
    };
    Ok(Choice {
        temperature: of.number("temperature", 0.0, 2.0)?.unwrap_or(1.0),
        share: of.number("top_p", 0.0, 1.0)?.unwrap_or(1.0),
        seed,
    })
}

fn stops(value: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || {
        invalid(
            "stop",
            &format!(
                "must be a string or a list of up to {LOCAL_MODEL_STOPS}, each of 1 to {LOCAL_MODEL_STOP_BYTES} bytes"
            ),
        )
    };
    let texts = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= LOCAL_MODEL_STOPS => list.as_slice(),
        Some(text @ Value::String(_)) => std::slice::from_ref(text),
        Some(_) => return Err(wrong()),
    };
    let fits = |text: &&str| (1..=LOCAL_MODEL_STOP_BYTES).contains(&text.len());
    texts.iter().map(|text| text.as_str().filter(fits).map(str::to_owned).ok_or_else(wrong)).collect()
}

fn most(of: &Members<'_>) -> Result<Option<usize>, Refusal> {
    let newer = of.count("max_completion_tokens", 1, u64::MAX)?;
    let most = newer.or(of.count("max_tokens", 1, u64::MAX)?);
    Ok(most.map(|most| usize::try_from(most).unwrap_or(usize::MAX)))
}

fn telling(of: &Members<'_>) -> Result<Telling, Refusal> {
    let options = of.object("stream_options")?;
    let usage = options.map_or(Ok(false), |options| options.flag("include_usage"))?;
    Ok(match (of.flag("stream")?, usage) {
        (false, _) => Telling::Whole,
        (true, false) => Telling::Stream,
        (true, true) => Telling::StreamWithUsage,
    })
}
