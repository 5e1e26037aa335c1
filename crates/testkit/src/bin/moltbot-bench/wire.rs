//! A client that is fast enough to measure with: many requests under way, frames counted and not looked into.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use moltbot_testkit::client::Connect;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

use crate::Outcome;
use crate::reference::Sizes;

/// How every answer begins.
const ANSWER: &str = "{\"type\":\"res\"";

/// One signed-in connection.
pub(crate) struct Wire {
    socket: WebSocketStream<TcpStream>,
}

impl Wire {
    /// Connects and signs in with the token alone. A gateway that says that its disk is busy is asked again.
    pub(crate) async fn connect(port: u16, token: &str) -> Outcome<Self> {
        for _ in 0..5 {
            let mut wire = Self::dial(port).await?;
            let answer = wire.sign_in(token).await?;
            if answer.get("ok") == Some(&Value::Bool(true)) {
                return Ok(wire);
            }
            if answer.pointer("/error/retryable") != Some(&Value::Bool(true)) {
                return Err(answer.to_string().into());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err("the gateway cannot record sign-ins: its disk is too busy to measure anything".into())
    }

    /// Connects and signs the gateway's nonce as `connect` says.
    pub(crate) async fn signed(port: u16, connect: &Connect) -> Outcome<Self> {
        let mut wire = Self::dial(port).await?;
        let challenge: Value = serde_json::from_str(&wire.next().await?)?;
        let nonce = challenge.pointer("/payload/nonce").and_then(Value::as_str).ok_or("no nonce")?;
        let answer = wire.call("connect", connect.params(nonce)).await?;
        if answer.get("ok") == Some(&Value::Bool(true)) { Ok(wire) } else { Err(answer.to_string().into()) }
    }

    #[expect(clippy::disallowed_methods, reason = "a client of the tests, to a gateway on loopback")]
    async fn dial(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(64 * 1024);
        let url = format!("ws://127.0.0.1:{port}/");
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        Ok(Self { socket })
    }

    async fn sign_in(&mut self, token: &str) -> Outcome<Value> {
        self.next().await?;
        let params = json!({
            "minProtocol": 3, "maxProtocol": 4,
            "client": { "id": "cli", "version": "bench", "platform": "linux", "mode": "cli" },
            "scopes": ["operator.read", "operator.write"], "auth": { "token": token },
        });
        self.call("connect", params).await
    }

    async fn next(&mut self) -> Outcome<String> {
        loop {
            match self.socket.next().await.ok_or("the gateway closed the connection")?? {
                Message::Text(text) => return Ok(text.to_string()),
                Message::Close(reason) => return Err(format!("closed: {reason:?}").into()),
                Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    /// Calls a method and waits for its answer; events in between are passed over.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Outcome<Value> {
        let frame = json!({ "type": "req", "id": "1", "method": method, "params": params });
        self.socket.send(Message::text(frame.to_string())).await?;
        loop {
            let frame: Value = serde_json::from_str(&self.next().await?)?;
            if frame.get("type") == Some(&json!("res")) {
                return Ok(frame);
            }
        }
    }

    /// The bytes of a call of `method` without parameters and of its answer, as frames on the wire.
    pub(crate) async fn sizes(&mut self, method: &str) -> Outcome<Sizes> {
        let framed = |text: &str| text.len() + if text.len() > 125 { 4 } else { 2 };
        let ask = request(method);
        self.socket.send(Message::text(ask.clone())).await?;
        loop {
            let text = self.next().await?;
            if text.starts_with(ANSWER) {
                // What a client sends is masked with four more bytes.
                return Ok(Sizes { ask: framed(&ask) + 4, answer: framed(&text) });
            }
        }
    }

    /// Waits for an event of that name whose payload has `state` as given.
    pub(crate) async fn event(&mut self, event: &str, state: &str) -> Outcome<Value> {
        loop {
            let frame: Value = serde_json::from_str(&self.next().await?)?;
            let payload = frame.get("payload").cloned().unwrap_or_default();
            if frame.get("event") == Some(&json!(event)) && payload.get("state") == Some(&json!(state)) {
                return Ok(payload);
            }
        }
    }

    /// Calls `method` as often as `times`, with `window` calls under way.
    pub(crate) async fn many(&mut self, method: &str, times: usize, window: usize) -> Outcome<()> {
        let frame = request(method);
        let (mut sent, mut answered) = (0, 0);
        while answered < times {
            while sent < times && sent - answered < window {
                self.socket.feed(Message::text(frame.clone())).await?;
                sent += 1;
            }
            self.socket.flush().await?;
            // Take the first answer, and all that came with it.
            answered += usize::from(self.next().await?.starts_with(ANSWER));
            while sent - answered > window / 2 {
                answered += usize::from(self.next().await?.starts_with(ANSWER));
            }
        }
        Ok(())
    }
}

fn request(method: &str) -> String {
    json!({ "type": "req", "id": "1", "method": method }).to_string()
}
