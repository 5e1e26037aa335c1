//! A client of protocols 3 and 4.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use moltbot_protocol::error::WireError;
use moltbot_protocol::frame::{EventFrame, ResponseFrame};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

mod connect;
mod device;

pub use connect::{Connect, Rejection};
pub use device::{Device, SignatureVersion, now_ms};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<TcpStream>;

/// A signed-in connection. Closed when it is dropped.
pub struct Client {
    /// The payload of `hello-ok`.
    pub hello: Value,
    outgoing: UnboundedSender<Frame>,
    shared: Arc<Shared>,
    events: UnboundedReceiver<EventFrame>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
}

/// Whoever waits for a response, by the id of the request; and how the connection ended, once it has.
#[derive(Default)]
struct Waiting {
    requests: HashMap<String, UnboundedSender<ResponseFrame>>,
    close: Option<Close>,
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// The code of the close frame; absent when the connection broke off.
    pub code: Option<u16>,
    /// The reason given.
    pub reason: String,
}

impl Client {
    fn of(socket: Socket, hello: Value) -> Self {
        let (outgoing, to_send) = unbounded_channel();
        let (event_sender, events) = unbounded_channel();
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(pump(socket, to_send, event_sender, Arc::clone(&shared)));
        Self { hello, outgoing, shared, events, task }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// What the gateway refused it with.
    ///
    /// # Panics
    /// When the connection ends, or no response comes within a minute.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, WireError> {
        let called = self.try_call(method, params).await;
        called.unwrap_or_else(|| panic!("the connection ended during {method}: {:?}", self.closed()))
    }

    /// Calls a method; nothing when the connection ends before the response.
    ///
    /// # Panics
    /// When no response comes within a minute.
    pub async fn try_call(&self, method: &str, params: Value) -> Option<Result<Value, WireError>> {
        let mut responses = self.request(method, params)?;
        outcome(method, &mut responses).await
    }

    /// Calls a method that answers twice, as `agent` does: accepted, then the result. The second is absent when
    /// the first is an error.
    ///
    /// # Panics
    /// When the connection ends, or a response does not come within a minute.
    pub async fn call_twice(
        &self,
        method: &str,
        params: Value,
    ) -> (Result<Value, WireError>, Option<Result<Value, WireError>>) {
        let mut responses = self.request(method, params).expect("a connection that is open");
        let first = outcome(method, &mut responses).await.expect("a first response");
        if first.is_err() {
            return (first, None);
        }
        let second = outcome(method, &mut responses).await;
        (first, second)
    }

    /// Sends a request without waiting; the receiver yields its responses. Nothing when the connection has ended.
    pub fn request(&self, method: &str, params: Value) -> Option<UnboundedReceiver<ResponseFrame>> {
        let id = unique("req");
        let (sender, responses) = unbounded_channel();
        let mut waiting = self.shared.waiting.lock().expect("no task panicked with the requests");
        if waiting.close.is_some() {
            return None;
        }
        waiting.requests.insert(id.clone(), sender);
        drop(waiting);
        self.send(&json!({"type": "req", "id": id, "method": method, "params": params}).to_string());
        Some(responses)
    }

    /// Sends any text as one message.
    pub fn send(&self, text: &str) {
        self.send_frame(Frame::text(text));
    }

    /// Sends any frame.
    pub fn send_frame(&self, frame: Frame) {
        // A connection that has ended tells so through `closed`.
        drop(self.outgoing.send(frame));
    }

    /// The next event; nothing when the connection has ended.
    ///
    /// # Panics
    /// When none comes within a minute.
    pub async fn next_event(&mut self) -> Option<EventFrame> {
        timeout(PATIENCE, self.events.recv()).await.expect("an event within a minute")
    }

    /// The payload of the next event of that name; others are passed over.
    ///
    /// # Panics
    /// When the connection ends, or none comes within a minute.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let event = self.next_event().await;
            let event =
                event.unwrap_or_else(|| panic!("the connection ended before {name}: {:?}", self.closed()));
            if event.event == name {
                return event.payload.unwrap_or(Value::Null);
            }
        }
    }

    /// How the connection ended, if it has.
    pub fn closed(&self) -> Option<Close> {
        self.shared.waiting.lock().expect("no task panicked with the requests").close.clone()
    }

    /// Waits for the end of the connection. Events that came before are dropped.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub async fn wait_for_close(&mut self) -> Close {
        while self.next_event().await.is_some() {}
        self.closed().expect("a connection without events has ended")
    }

    /// Sends a chat message and waits for the end of its run.
    ///
    /// # Panics
    /// When it is refused, or does not end within a minute after the last event.
    pub async fn chat(&mut self, session: &str, text: &str) -> Chat {
        let run = self.send_chat(session, text).await;
        self.finish_chat(run).await
    }

    /// Sends a chat message and waits until it is accepted. Answers the run's id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn send_chat(&mut self, session: &str, text: &str) -> String {
        let run = unique("run");
        let params = json!({"sessionKey": session, "message": text, "idempotencyKey": run});
        let started =
            self.call("chat.send", params).await.unwrap_or_else(|error| panic!("chat.send: {error:?}"));
        assert_eq!(started.get("status"), Some(&json!("started")), "chat.send answered {started}");
        run
    }

    /// Waits for the end of a run that [`Client::send_chat`] began.
    ///
    /// # Panics
    /// When the connection ends, or no event comes within a minute.
    pub async fn finish_chat(&mut self, run: String) -> Chat {
        let mut chat =
            Chat { run, deltas: Vec::new(), state: String::new(), text: String::new(), end: Value::Null };
        loop {
            let event = self.event("chat").await;
            if event.get("runId").and_then(Value::as_str) != Some(&chat.run) {
                continue;
            }
            let text = event.pointer("/message/content/0/text").and_then(Value::as_str).unwrap_or_default();
            match event.get("state").and_then(Value::as_str) {
                Some("delta") => chat.deltas.push(text.to_owned()),
                state => {
                    chat.state = state.unwrap_or_default().into();
                    chat.text = text.into();
                    chat.end = event;
                    return chat;
                }
            }
        }
    }

    /// Waits for the next delta of that run, and answers its text so far.
    ///
    /// # Panics
    /// When the run ends instead.
    pub async fn delta_of(&mut self, run: &str) -> String {
        loop {
            let event = self.event("chat").await;
            if event.get("runId").and_then(Value::as_str) == Some(run) {
                assert_eq!(event.get("state"), Some(&json!("delta")), "the run ended: {event}");
                let text = event.pointer("/message/content/0/text").and_then(Value::as_str);
                return text.unwrap_or_default().to_owned();
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One run of `chat.send`.
#[derive(Clone, Debug)]
pub struct Chat {
    /// The run's id.
    pub run: String,
    /// The text so far, at each delta.
    pub deltas: Vec<String>,
    /// `final`, `aborted` or `error`.
    pub state: String,
    /// The last text.
    pub text: String,
    /// The payload of the last event.
    pub end: Value,
}

/// A text that no other call in this or another process answers.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}-{}-{}", std::process::id(), now_ms(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn outcome(
    method: &str,
    responses: &mut UnboundedReceiver<ResponseFrame>,
) -> Option<Result<Value, WireError>> {
    let response = timeout(PATIENCE, responses.recv()).await;
    let response = response.unwrap_or_else(|_| panic!("no response to {method} within a minute"))?;
    let value = response.payload.unwrap_or(Value::Null);
    Some(response.error.filter(|_| !response.ok).map_or(Ok(value), Err))
}

/// Carries frames both ways until the connection ends.
async fn pump(
    socket: Socket,
    mut to_send: UnboundedReceiver<Frame>,
    events: UnboundedSender<EventFrame>,
    shared: Arc<Shared>,
) {
    let (mut sink, mut stream) = socket.split();
    let mut close = Close { code: None, reason: String::new() };
    loop {
        tokio::select! {
            frame = to_send.recv() => match frame {
                Some(frame) => if sink.send(frame).await.is_err() { break },
                None => break,
            },
            frame = stream.next() => match frame {
                Some(Ok(Frame::Text(text))) => deliver(&text, &events, &shared),
                Some(Ok(Frame::Close(frame))) => {
                    close.code = frame.as_ref().map(|frame| frame.code.into());
                    close.reason = frame.map_or_else(String::new, |frame| frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    let mut waiting = shared.waiting.lock().expect("no task panicked with the requests");
    waiting.close = Some(close);
    waiting.requests.clear();
}

/// Gives a frame to whoever waits for it.
fn deliver(text: &str, events: &UnboundedSender<EventFrame>, shared: &Shared) {
    let frame: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in the frame {text}"));
    if frame.get("type").is_some_and(|kind| kind == "event") {
        let event =
            serde_json::from_value(frame).unwrap_or_else(|error| panic!("{error} in the event {text}"));
        drop(events.send(event));
        return;
    }
    let response: ResponseFrame =
        serde_json::from_value(frame).unwrap_or_else(|error| panic!("{error} in the response {text}"));
    let waiting = shared.waiting.lock().expect("no task panicked with the requests");
    if let Some(sender) = waiting.requests.get(&response.id) {
        drop(sender.send(response));
    }
}
