//! The handshake: from a connection to a [`Client`].

use std::net::Ipv4Addr;

use futures_util::{SinkExt, StreamExt};
use moltbot_protocol::connect::DeviceText;
use moltbot_protocol::error::WireError;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};

use super::device::{Device, SignatureVersion, now_ms};
use super::{Client, Close, PATIENCE, Socket};

type Change = Box<dyn FnOnce(&mut Value) + Send>;

/// How to sign in. Without a credential until it is given one; protocols 3 and 4; asks for `operator.admin` alone,
/// as the original's clients do.
pub struct Connect {
    port: u16,
    protocols: (u32, u32),
    client: (String, String),
    role: String,
    scopes: Vec<String>,
    token: Option<String>,
    password: Option<String>,
    device: Option<(Device, SignatureVersion)>,
    headers: Vec<(String, String)>,
    change: Option<Change>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The status, when there was no upgrade.
    pub status: Option<u16>,
    /// The error of the response to `connect`.
    pub error: Option<WireError>,
    /// How the connection ended; absent when it was still open after the error.
    pub close: Option<Close>,
}

impl Connect {
    /// To a gateway on that port of loopback.
    pub fn to(port: u16) -> Self {
        Self {
            port,
            protocols: (3, 4),
            client: ("test".into(), "test".into()),
            role: "operator".into(),
            scopes: vec!["operator.admin".into()],
            token: None,
            password: None,
            device: None,
            headers: Vec::new(),
            change: None,
        }
    }

    /// Presents the gateway's token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Presents the gateway's password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Signs the challenge with a device's key.
    #[must_use]
    pub fn device(mut self, device: &Device, version: SignatureVersion) -> Self {
        self.device = Some((device.clone(), version));
        self
    }

    /// Speaks these protocols.
    #[must_use]
    pub fn protocols(mut self, oldest: u32, newest: u32) -> Self {
        self.protocols = (oldest, newest);
        self
    }

    /// Says that it is that client, in that mode.
    #[must_use]
    pub fn client(mut self, id: &str, mode: &str) -> Self {
        self.client = (id.into(), mode.into());
        self
    }

    /// Asks for that role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.role = role.into();
        self
    }

    /// Asks for these scopes.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| (*scope).into()).collect();
        self
    }

    /// Sends a header with the upgrade, such as `origin`; `host` replaces the usual one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Changes the parameters of `connect` after they were made and signed.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        self.change = Some(Box::new(change));
        self
    }

    /// Signs in.
    ///
    /// # Errors
    /// What the gateway refused it with.
    ///
    /// # Panics
    /// When nobody listens, or no answer comes within a minute.
    pub async fn open(mut self) -> Result<Client, Rejection> {
        let mut socket = self.upgrade().await?;
        let challenge = next(&mut socket).await.map_err(|close| Rejection::closed(None, close))?;
        assert_eq!(
            challenge.get("event"),
            Some(&json!("connect.challenge")),
            "the first frame is {challenge}"
        );
        let nonce = challenge.pointer("/payload/nonce").and_then(Value::as_str).expect("a nonce");
        let mut params = self.params(nonce);
        if let Some(change) = self.change.take() {
            change(&mut params);
        }
        let request = json!({"type": "req", "id": "connect", "method": "connect", "params": params});
        let sent = socket.send(Frame::text(request.to_string())).await;
        let answer = next(&mut socket).await.map_err(|close| Rejection::closed(None, close))?;
        if answer.get("ok") == Some(&json!(true)) {
            let hello = answer.get("payload").cloned().unwrap_or(Value::Null);
            return Ok(Client::of(socket, hello));
        }
        drop(sent);
        let error = answer.get("error").cloned().unwrap_or(Value::Null);
        let error =
            serde_json::from_value(error).unwrap_or_else(|_| panic!("the answer to connect is {answer}"));
        let close = next(&mut socket).await.err();
        Err(Rejection { status: None, error: Some(error), close })
    }

    /// Opens the WebSocket and reads nothing from it.
    #[expect(clippy::disallowed_methods, reason = "a client of the tests, to a gateway on loopback")]
    async fn upgrade(&self) -> Result<Socket, Rejection> {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("a gateway that listens");
        stream.set_nodelay(true).expect("an option of a connection");
        let mut request = format!("ws://127.0.0.1:{}/", self.port).into_client_request().expect("a request");
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        match timeout(PATIENCE, client_async(request, stream)).await.expect("an upgrade within a minute") {
            Ok((socket, _)) => Ok(socket),
            Err(SocketError::Http(answer)) => {
                Err(Rejection { status: Some(answer.status().as_u16()), error: None, close: None })
            }
            Err(error) => Err(Rejection::closed(None, Close { code: None, reason: error.to_string() })),
        }
    }

    /// The parameters of `connect` for that nonce.
    pub fn params(&self, nonce: &str) -> Value {
        let (id, mode) = &self.client;
        let mut params = json!({
            "minProtocol": self.protocols.0, "maxProtocol": self.protocols.1,
            "client": {"id": id, "version": "1.0.0", "platform": "linux", "mode": mode},
            "role": self.role, "scopes": self.scopes,
        });
        let members = params.as_object_mut().expect("an object");
        if self.token.is_some() || self.password.is_some() {
            let given = [("token", &self.token), ("password", &self.password)];
            let given =
                given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
            members.insert("auth".into(), Value::Object(given.collect()));
        }
        if let Some((device, version)) = &self.device {
            let text = DeviceText {
                device_id: "",
                client_id: id,
                client_mode: mode,
                role: &self.role,
                scopes: &self.scopes,
                signed_at: now_ms(),
                token: self.token.as_deref().unwrap_or_default(),
                nonce: Some(nonce),
                platform: "linux",
                device_family: "",
            };
            let proof = device.prove(text, *version);
            members.insert("device".into(), serde_json::to_value(proof).expect("a proof is JSON"));
        }
        params
    }
}

impl Rejection {
    fn closed(error: Option<WireError>, close: Close) -> Self {
        Self { status: None, error, close: Some(close) }
    }
}

/// The next text as JSON, or how the connection ended.
async fn next(socket: &mut Socket) -> Result<Value, Close> {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("a frame within a minute") {
            Some(Ok(Frame::Text(text))) => {
                return Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")));
            }
            Some(Ok(Frame::Close(frame))) => {
                let code = frame.as_ref().map(|frame| frame.code.into());
                return Err(Close {
                    code,
                    reason: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
                });
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Close { code: None, reason: error.to_string() }),
            None => return Err(Close { code: None, reason: String::new() }),
        }
    }
}
