//! The command line as a client of the gateway: finds it by its lock, signs in with the device's key, calls.
//!
//! The credential is sent to the process that holds this state folder's lock, and to no other that happens to
//! listen on the port; unless the person named both port and credential in the environment (a tunnel).

use std::collections::VecDeque;
use std::time::Duration;

use moltbot_config::settings::{AuthConfig, AuthMode, RemoteConfig};
use moltbot_net::Fingerprint;
use moltbot_net::gateway_client::{GatewayClient, GatewayClientError};
use moltbot_policy::network::{Destination, EgressPermit, Purpose, egress_stream, own_socket};
use moltbot_policy::{Recorded, record};
use moltbot_protocol::connect::DeviceText;
use moltbot_protocol::error::{ErrorCode, WireError};
use moltbot_protocol::frame::{EventFrame, ResponseFrame};
use moltbot_protocol::scope::{Role, Scope};
use moltbot_vault::DeviceKey;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::book::OWNER;
use crate::clock;
use crate::exit::Exit;
use crate::home::{self, Home};

/// How long a method may take that only looks something up. Ten times what a busy machine needs.
const ANSWER: Duration = Duration::from_secs(10);
const CLIENT: &str = "cli";
const NO_GATEWAY: &str = "no gateway runs here; start one with `moltbot up`";

/// A signed-in connection.
pub(crate) struct Connection {
    socket: GatewayClient,
    calls: u64,
    waiting: VecDeque<Heard>,
    hello: Value,
}

/// What the gateway says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Something happened.
    Event(EventFrame),
    /// The answer to a call.
    Response(ResponseFrame),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyFrame {
    Response(ResponseFrame),
    Event(EventFrame),
}

impl Connection {
    /// Connects to the gateway of this installation and signs in with these scopes.
    pub(crate) async fn open(home: &Home, scopes: &[Scope]) -> anyhow::Result<Self> {
        Self::open_with(home, &home.credentials()?, scopes).await
    }

    /// The same with a credential that may not be the config's any more.
    pub(crate) async fn open_with(home: &Home, auth: &AuthConfig, scopes: &[Scope]) -> anyhow::Result<Self> {
        let place = find(home)?;
        let opening = Self::sign_in(home, place, auth, scopes);
        let late = || Exit::Unreachable.because("the gateway does not answer; see `moltbot logs`");
        timeout(ANSWER, opening).await.map_err(|_| late())?
    }

    async fn sign_in(home: &Home, place: Place, auth: &AuthConfig, scopes: &[Scope]) -> anyhow::Result<Self> {
        let socket = match place {
            Place::Elsewhere { permit, pin } => GatewayClient::dial_elsewhere(permit, pin).await,
            Place::Here(port) => GatewayClient::dial(port).await,
            Place::Own(port) => GatewayClient::dial_own(&own_socket(home.state.path()), port).await,
        };
        let socket = socket.map_err(|error| match error {
            GatewayClientError::Stranger { .. } => Exit::Refused.because(home::chain(&error)),
            other => unreachable(&other),
        })?;
        let mut connection = Self { socket, calls: 0, waiting: VecDeque::new(), hello: Value::Null };
        let nonce = connection.challenge().await?;
        let key = DeviceKey::load_or_create(&home.state, clock::now_ms()).map_err(|e| home::failed(&e))?;
        let answer = connection.call("connect", connect_params(&key, auth, scopes, &nonce)).await?;
        connection.hello = answer.map_err(|error| refused(&error))?;
        Ok(connection)
    }

    /// Connects to `port` of this machine as a stranger, and hears its challenge. Nobody is signed in.
    pub(crate) async fn knock(port: u16) -> anyhow::Result<(Self, String)> {
        let opening = async {
            let socket = GatewayClient::dial(port).await.map_err(|error| unreachable(&error))?;
            let mut connection = Self { socket, calls: 0, waiting: VecDeque::new(), hello: Value::Null };
            let nonce = connection.challenge().await?;
            Ok((connection, nonce))
        };
        let late = || Exit::Unreachable.because("the gateway does not answer; see `moltbot logs`");
        timeout(ANSWER, opening).await.map_err(|_| late())?
    }

    /// What the gateway said when it let us in.
    pub(crate) const fn hello(&self) -> &Value {
        &self.hello
    }

    /// Calls a method and waits for its answer; what else is heard meanwhile is kept for [`Self::next`].
    pub(crate) async fn call(
        &mut self,
        method: &str,
        params: Value,
    ) -> anyhow::Result<Result<Value, WireError>> {
        let id = self.send(method, params).await?;
        loop {
            match self.receive().await? {
                Heard::Response(response) if response.id == id => return Ok(outcome(response)),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// The second answer to the last call.
    pub(crate) async fn second_answer(&mut self) -> anyhow::Result<Result<Value, WireError>> {
        let id = self.last_id();
        loop {
            match self.next().await? {
                Heard::Response(response) if response.id == id => return Ok(outcome(response)),
                Heard::Response(_) | Heard::Event(_) => {}
            }
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.socket.close().await;
    }

    /// Calls a method that only looks something up, within [`ANSWER`]. A refusal ends the program.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let late = || Exit::Timeout.because(format!("the gateway did not answer {method} in time"));
        let answer = timeout(ANSWER, self.call(method, params)).await.map_err(|_| late())?;
        answer?.map_err(|error| failure(&error))
    }

    /// Sends a call and returns its id, by which its answers are known.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> anyhow::Result<String> {
        self.calls += 1;
        let id = self.last_id();
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.socket.send_text(frame.to_string()).await.map_err(|error| unreachable(&error))?;
        Ok(id)
    }

    /// The next thing that the gateway says. Nothing is lost when the waiting is given up.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Heard> {
        match self.waiting.pop_front() {
            Some(heard) => Ok(heard),
            None => self.receive().await,
        }
    }

    /// The id of the last call.
    pub(crate) fn last_id(&self) -> String {
        format!("{CLIENT}-{}", self.calls)
    }

    async fn receive(&mut self) -> anyhow::Result<Heard> {
        let text = self.socket.recv_text().await.map_err(|error| unreachable(&error))?;
        match serde_json::from_str(&text) {
            Ok(AnyFrame::Response(frame)) => Ok(Heard::Response(frame)),
            Ok(AnyFrame::Event(frame)) => Ok(Heard::Event(frame)),
            Err(error) => Err(Exit::Failed
                .because(format!("the gateway sent what is no frame of protocol 3 or 4: {error}"))),
        }
    }

    async fn challenge(&mut self) -> anyhow::Result<String> {
        let nonce = match self.receive().await? {
            Heard::Event(frame) => {
                frame.payload.as_ref().and_then(|p| p.get("nonce")?.as_str().map(Into::into))
            }
            Heard::Response(_) => None,
        };
        nonce.ok_or_else(|| {
            Exit::Unreachable.because("what listens there is not a gateway: it sent no challenge")
        })
    }
}

/// Where the gateway is.
enum Place {
    /// On another machine, which is the one that shows the pinned certificate, when there is a pin.
    Elsewhere { permit: Recorded<EgressPermit>, pin: Option<Fingerprint> },
    /// On this machine, on that port.
    Here(u16),
    /// The one that holds the lock of this state folder, which listens on that port and has a socket beside the lock.
    Own(u16),
}

/// The gateway of the config, when that names another machine's, else the one that holds the lock.
fn find(home: &Home) -> anyhow::Result<Place> {
    match home.remote()? {
        Some(remote) => elsewhere(home, &remote),
        None => here(home),
    }
}

/// Connecting to another machine is recorded here: its gateway records the sign-in in a book of its own.
fn elsewhere(home: &Home, remote: &RemoteConfig) -> anyhow::Result<Place> {
    let refused = |message: &str| Exit::Config.because(message);
    let url = remote.url.as_deref().ok_or_else(|| {
        refused("gateway.mode is \"remote\", and gateway.remote.url names no gateway; set it as \"wss://host:18789\"")
    })?;
    if let Some(port) = tunnel(url) {
        return Ok(Place::Here(port));
    }
    let pin = remote.tls_fingerprint.as_deref().map(|text| {
        Fingerprint::parse(text)
            .ok_or_else(|| refused("gateway.remote.tlsFingerprint is no SHA-256 fingerprint"))
    });
    let pin = pin.transpose()?;
    if home.running()?.is_some() {
        return Err(Exit::Busy.because(
            "gateway.mode is \"remote\" while a gateway runs here; stop it with `moltbot gateway stop`",
        ));
    }
    let destination = Destination::gateway(url).map_err(|refusal| Exit::Config.because(refusal.message))?;
    let permit = egress_stream(Purpose::Gateway, &destination, OWNER);
    let permit = permit.map_err(|refusal| Exit::Config.because(refusal.message))?;
    let permit = record(permit, home.ledger()?).map_err(|error| Exit::Busy.because(error))?;
    // Another command may need the book while this one talks on.
    home.close_book();
    Ok(Place::Elsewhere { permit, pin })
}

/// The port of an address on this machine, where a tunnel of the owner's ends.
fn tunnel(url: &str) -> Option<u16> {
    let authority = url.strip_prefix("ws://")?.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':')?;
    ["127.0.0.1", "localhost"].contains(&host).then(|| port.parse().ok())?
}

/// The gateway that holds the lock; else the one whose port and credential the environment names.
fn here(home: &Home) -> anyhow::Result<Place> {
    if let Some(running) = home.running()? {
        let starting = || Exit::Busy.because("the gateway is just starting; try again in a second");
        return if running.port == 0 { Err(starting()) } else { Ok(Place::Own(running.port)) };
    }
    let environment = &home.environment;
    let named = environment.token.is_some() || environment.password.is_some();
    let port = environment.port.filter(|_| named);
    port.map(Place::Here).ok_or_else(|| Exit::Unreachable.because(NO_GATEWAY))
}

/// A sign-in as the command line's, by that device with that credential.
pub(crate) fn connect_params(key: &DeviceKey, auth: &AuthConfig, scopes: &[Scope], nonce: &str) -> Value {
    let scopes: Vec<String> = scopes.iter().map(|scope| scope.name().to_owned()).collect();
    let (token, password) = credential(auth);
    let signed_at = clock::now_ms();
    let text = DeviceText {
        device_id: key.id(),
        client_id: CLIENT,
        client_mode: CLIENT,
        role: Role::Operator.name(),
        scopes: &scopes,
        signed_at,
        token: token.map(ExposeSecret::expose_secret).unwrap_or_default(),
        nonce: Some(nonce),
        platform: std::env::consts::OS,
        device_family: "",
    };
    let signature = key.sign(&text.version3());
    let mut auth = serde_json::Map::new();
    for (name, secret) in [("token", token), ("password", password)] {
        if let Some(secret) = secret {
            auth.insert(name.into(), secret.expose_secret().into());
        }
    }
    json!({
        "minProtocol": moltbot_protocol::PROTOCOL_MIN,
        "maxProtocol": moltbot_protocol::PROTOCOL_MAX,
        "client": {
            "id": CLIENT, "mode": CLIENT,
            "version": env!("CARGO_PKG_VERSION"), "platform": std::env::consts::OS,
        },
        "role": Role::Operator.name(),
        "scopes": scopes,
        "device": {
            "id": key.id(), "publicKey": key.public_key(),
            "signature": signature, "signedAt": signed_at, "nonce": nonce,
        },
        "auth": auth,
    })
}

/// What this gateway expects: the token or the password, never both.
fn credential(auth: &AuthConfig) -> (Option<&SecretString>, Option<&SecretString>) {
    let by_password = match auth.mode {
        Some(AuthMode::Password) => true,
        Some(AuthMode::Token) => false,
        None => auth.token.is_none(),
    };
    if by_password { (None, auth.password.as_ref()) } else { (auth.token.as_ref(), None) }
}

pub(crate) fn outcome(response: ResponseFrame) -> Result<Value, WireError> {
    if response.ok {
        return Ok(response.payload.unwrap_or_default());
    }
    Err(response.error.unwrap_or_else(|| WireError::unavailable("the gateway gave no reason")))
}

fn unreachable(error: &dyn std::error::Error) -> anyhow::Error {
    Exit::Unreachable.because(home::chain(error))
}

/// A refused sign-in.
fn refused(error: &WireError) -> anyhow::Error {
    match error.code {
        ErrorCode::RateLimited => Exit::Busy.because(&error.message),
        ErrorCode::Unavailable => Exit::Unreachable.because(&error.message),
        ErrorCode::AgentTimeout | ErrorCode::InvalidRequest | ErrorCode::NotLinked | ErrorCode::NotPaired => {
            Exit::Refused.because(&error.message)
        }
    }
}

/// A method that failed.
pub(crate) fn failure(error: &WireError) -> anyhow::Error {
    exit_of(error).because(&error.message)
}

/// The exit code that a method's error stands for.
pub(crate) fn exit_of(error: &WireError) -> Exit {
    match error.code {
        ErrorCode::AgentTimeout => Exit::Timeout,
        ErrorCode::InvalidRequest | ErrorCode::NotLinked => Exit::Failed,
        ErrorCode::NotPaired => Exit::Refused,
        ErrorCode::RateLimited => Exit::Busy,
        ErrorCode::Unavailable if error.retryable == Some(true) => Exit::Busy,
        ErrorCode::Unavailable => Exit::Failed,
    }
}
