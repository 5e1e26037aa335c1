//! A model provider on loopback that says what the test tells it to say.
//!
//! Speaks OpenAI Chat Completions (`/v1/chat/completions`, `/v1/models`) and Responses (`/v1/responses`), Anthropic
//! Messages (`/v1/messages`), Google Gemini (`/v1beta/models/…`) and Ollama (`/api/chat`), streaming and not. It runs on a thread of its own, so it serves a blocking test as well
//! as an async one, and it records what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;

mod anthropic;
mod gemini;
mod ollama;
mod openai;
mod render;
mod responses;
mod server;

/// A listener on a free port of loopback, for every stand-in here.
pub(crate) use server::{listen, serve_each};

/// The name of the only model that it offers.
pub const MODEL: &str = "scripted";
/// Tokens that every answer says were read.
pub const INPUT_TOKENS: u64 = 12;
/// Tokens that every answer says were written.
pub const OUTPUT_TOKENS: u64 = 5;
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the model does with one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Says the chunks, then closes the connection without an end.
    Drop(Vec<String>),
    /// Says [`echo_of`] the last text of the user.
    Echo,
    /// Answers 200 and these bytes, whatever they are, as the body of a stream.
    Garbage(Vec<u8>),
    /// Begins a tool call and closes the connection in the middle of its arguments.
    HalfToolCall {
        /// The tool's name.
        name: String,
    },
    /// Takes the request and never answers: not even a head.
    Hang,
    /// Says a text of that many bytes, in chunks of 64 kB.
    Huge(usize),
    /// Says the chunks with a pause before each.
    Slow {
        /// What is said.
        chunks: Vec<String>,
        /// The pause.
        delay: Duration,
    },
    /// Says the chunks and then nothing more, with the connection open. A test awaits that they arrived and then
    /// aborts; [`ScriptedModel::wait_for_hang_ups`] tells when the client let go.
    Stall(Vec<String>),
    /// Answers with an HTTP status.
    Status {
        /// The status.
        code: u16,
        /// The body.
        body: String,
        /// Seconds of the `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// Says the chunks, and that it is done.
    Text(Vec<String>),
    /// Says the chunks, and that it ran into its limit of tokens.
    TextCut(Vec<String>),
    /// Thinks, and then does something else.
    Thoughtful {
        /// What it thinks.
        thoughts: String,
        /// What it does then.
        then: Box<Reply>,
    },
    /// Calls tools, their arguments split over several chunks.
    ToolCalls {
        /// What is said before the calls; may be empty.
        text: String,
        /// The calls.
        calls: Vec<Call>,
    },
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The text of the arguments: JSON, or what a confused model would write.
    pub arguments: String,
}

impl Reply {
    /// Says a text in one chunk.
    pub fn text(text: &str) -> Self {
        Self::Text(vec![text.into()])
    }

    /// Says the words one by one.
    pub fn words(text: &str) -> Self {
        Self::Text(text.split_inclusive(' ').map(Into::into).collect())
    }

    /// Calls one tool.
    pub fn tool(name: &str, arguments: &Value) -> Self {
        Self::tools(&[(name, arguments.clone())])
    }

    /// Calls several tools at once, with the ids `call_0`, `call_1` and so on.
    pub fn tools(calls: &[(&str, Value)]) -> Self {
        let calls = calls.iter().enumerate().map(|(number, (name, arguments))| Call {
            id: format!("call_{number}"),
            name: (*name).into(),
            arguments: arguments.to_string(),
        });
        Self::ToolCalls { text: String::new(), calls: calls.collect() }
    }

    /// Calls a tool with a text as its arguments that is not an object: `"7"`, `[1,2`, or nothing.
    pub fn wrong_arguments(name: &str, arguments: &str) -> Self {
        let call = Call { id: "call_0".into(), name: name.into(), arguments: arguments.into() };
        Self::ToolCalls { text: String::new(), calls: vec![call] }
    }

    /// Answers with an HTTP status and an error body of that text.
    pub fn status(code: u16, message: &str) -> Self {
        let body = serde_json::json!({"error": {"message": message, "type": "scripted"}}).to_string();
        Self::Status { code, body, retry_after: None }
    }
}

/// What [`Reply::Echo`] says about a text. A test that knows what it sent knows the answer.
pub fn echo_of(text: &str) -> String {
    format!("echo: {text}")
}

/// A request that the model received.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// Its number, from 0.
    pub number: usize,
    /// The method, such as `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; null when it was not JSON.
    pub body: Value,
}

impl ModelRequest {
    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The messages of the request: of Responses its items, of Gemini its contents.
    pub fn messages(&self) -> Vec<Value> {
        let lists = ["messages", "input", "contents"];
        let list = lists.iter().find_map(|name| self.body.get(*name)?.as_array());
        list.cloned().unwrap_or_default()
    }

    /// The system prompt, in any format.
    pub fn system(&self) -> String {
        if let Some(instructions) = self.body.get("instructions") {
            return texts(instructions);
        }
        if let Some(parts) = self.body.pointer("/systemInstruction/parts") {
            return texts(parts);
        }
        if let Some(system) = self.body.get("system") {
            return texts(system);
        }
        let systems = self.messages();
        let systems =
            systems.iter().filter(|message| message.get("role").is_some_and(|role| role == "system"));
        systems.filter_map(|message| message.get("content").map(texts)).collect::<Vec<_>>().join("\n")
    }

    /// The last text that a person said. Results of tools are not among them.
    pub fn last_user_text(&self) -> String {
        let messages = self.messages();
        let users =
            messages.iter().rev().filter(|message| message.get("role").is_some_and(|role| role == "user"));
        let mut said = users.filter_map(|message| message.get("content").or(message.get("parts")).map(texts));
        said.find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The texts of all results of tools in the request, in order, in any format.
    pub fn tool_results(&self) -> Vec<String> {
        let mut results = Vec::new();
        for message in self.messages() {
            let content = message.get("content").cloned().unwrap_or(Value::Null);
            if message.get("role").is_some_and(|role| role == "tool") {
                results.push(texts(&content));
            }
            results.extend(message.get("output").map(texts));
            let parts = message.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
            let responses = parts.iter().filter_map(|part| part.pointer("/functionResponse/response"));
            results.extend(responses.filter_map(|it| it.get("output").or(it.get("error")).map(texts)));
            let blocks = content.as_array().cloned().unwrap_or_default();
            let blocks =
                blocks.iter().filter(|block| block.get("type").is_some_and(|kind| kind == "tool_result"));
            results.extend(blocks.filter_map(|block| block.get("content").map(texts)));
        }
        results
    }

    /// The names of the tools offered, in any format.
    pub fn tools(&self) -> Vec<String> {
        let tools = self.body.pointer("/tools/0/functionDeclarations").or(self.body.get("tools"));
        let tools = tools.and_then(Value::as_array).cloned().unwrap_or_default();
        let name = |tool: &Value| {
            let named = tool.get("function").unwrap_or(tool);
            named.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        tools.iter().map(name).collect()
    }
}

/// The text of a content: a string, or the texts of its text parts.
fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let words = |kind: &Value| kind.as_str().is_some_and(|kind| kind.ends_with("text"));
            let parts = parts.iter().filter(|part| part.get("type").is_none_or(words));
            parts.filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    }
}

type Script = Box<dyn Fn(&ModelRequest) -> Reply + Send + Sync>;

/// What the server and the test share.
struct Shared {
    script: Script,
    queue: Mutex<VecDeque<Reply>>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: Vec<ModelRequest>,
    hang_ups: usize,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread panicked with the record")
    }

    /// Records a request and decides its reply: the queue first, then the script.
    fn answer(&self, mut request: ModelRequest) -> (ModelRequest, Reply) {
        let queued = self.queue.lock().expect("no thread panicked with the queue").pop_front();
        let mut seen = self.seen();
        request.number = seen.requests.len();
        seen.requests.push(request.clone());
        drop(seen);
        self.changed.notify_all();
        let reply = queued.unwrap_or_else(|| (self.script)(&request));
        (request, reply)
    }

    fn hung_up(&self) {
        self.seen().hang_ups += 1;
        self.changed.notify_all();
    }
}

/// The provider. It stops when it is dropped.
pub struct ScriptedModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedModel {
    /// A model that echoes: see [`echo_of`].
    pub fn echo() -> Self {
        Self::answering(|_| Reply::Echo)
    }

    /// A model that gives these replies, one a request. A request after the last one is answered by status 400
    /// (which nobody retries) and a sentence that says so.
    pub fn queue(replies: impl IntoIterator<Item = Reply>) -> Self {
        let model = Self::answering(|_| Reply::status(400, "the script of this test has no more replies"));
        for reply in replies {
            model.push(reply);
        }
        model
    }

    /// A model that asks `script` for each reply. Requests for the list of models are not asked about.
    pub fn answering(script: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            queue: Mutex::default(),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let (listener, address) = server::listen();
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scripted-model".into())
            .spawn(move || server::serve(listener, &served, stopped))
            .expect("a thread for the scripted model");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Adds a reply to the queue, which is used before the script.
    pub fn push(&self, reply: Reply) {
        self.shared.queue.lock().expect("no thread panicked with the queue").push_back(reply);
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The base URL for `openai-completions`.
    pub fn openai_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The base URL for `anthropic-messages`.
    pub fn anthropic_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base URL for `google-generative-ai`.
    pub fn gemini_url(&self) -> String {
        format!("http://{}/v1beta", self.address)
    }

    /// The base URL for `ollama`.
    pub fn ollama_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far; requests for the list of models are not among them.
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.shared.seen().requests.clone()
    }

    /// Blocks until it was asked `count` times in all, and answers the requests.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_for_requests(&self, count: usize) -> Vec<ModelRequest> {
        self.wait("requests", count, |seen| seen.requests.len());
        self.requests()
    }

    /// Blocks until `count` clients closed the connection before their answer was complete.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_for_hang_ups(&self, count: usize) {
        self.wait("hang-ups", count, |seen| seen.hang_ups);
    }

    fn wait(&self, what: &str, count: usize, number: impl Fn(&Seen) -> usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.shared.seen();
        while number(&seen) < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the scripted model saw {} {what} in 30 s, not {count}", number(&seen));
            seen =
                self.shared.changed.wait_timeout(seen, left).expect("no thread panicked with the record").0;
        }
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
