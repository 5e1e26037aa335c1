//! From a challenge to an open connection, or to one of the ways to fail.
//!
//! Exactly one small frame is read. What is wrong with a frame is said plainly, because an honest client can
//! mend it; what is wrong with a credential is not, because a guesser could.

mod device;
mod hello;

use std::sync::Arc;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_config::settings::NodeCommand;
use moltbot_policy::authentication::{DeviceClaim, Presented, UNAUTHORIZED};
use moltbot_policy::authorization::{Grant, grant, grant_node};
use moltbot_policy::nodes::{CommandSet, commands_of};
use moltbot_policy::pairing::{PAIRING_REQUIRED, Pairing, Standing, TokenDigest};
use moltbot_policy::penalty::Offence;
use moltbot_protocol::connect::{CLIENT_MODES, ConnectParams, DeviceText, is_known_client};
use moltbot_protocol::error::{ErrorCode, WireError};
use moltbot_protocol::frame::{EventFrame, RequestFrame, ResponseFrame};
use moltbot_protocol::scope::{Role, Scope};
use moltbot_protocol::{PROTOCOL_MAX, PROTOCOL_MIN, event};
use secrecy::SecretString;
use serde_json::json;

use crate::clients::Opening;
use crate::connection::{Challenged, Connection, Open, Peer};
use crate::devices::Issued;
use crate::gate::Seat;
use crate::hub::{Membership, head};
use crate::nodes::{Facts, OnDuty};
use crate::presence::Presence;
use crate::shared::Shared;
use crate::sign_in::{Claim, SignInError, SignedIn};
use crate::socket::{Goodbye, Incoming, Socket};

/// Words of a node for what it can show that are passed on.
const CAPS: usize = 32;
const NOT_CONNECT: &str = "invalid handshake: first request must be connect";

/// Why a handshake fails, and how the peer is told.
enum Failure {
    /// The peer is gone.
    Gone,
    /// What came is no request: only the close frame can say so.
    Frame(Goodbye),
    /// What came is a request: it is answered, then the connection is closed.
    Request { id: String, error: WireError, code: u16 },
}

/// A `connect` that was read and understood.
struct Connect {
    id: String,
    params: ConnectParams,
    protocol: u32,
    role: Role,
    /// The commands that a node offers.
    offered: CommandSet,
}

/// Somebody who may come in.
struct Admitted {
    connect: Connect,
    grant: Grant,
    /// The number of the credential that the peer was judged by.
    credential: u64,
    /// What was kept of the device's token when it was compared.
    held: Option<TokenDigest>,
    /// The token that the device is given.
    issued: Option<Issued>,
}

impl Connection<Challenged> {
    /// Sends the challenge. Nothing is returned when the peer is gone already.
    pub(crate) async fn challenge(
        mut socket: Socket,
        peer: Peer,
        shared: Arc<Shared>,
        seat: Arc<Seat>,
    ) -> Option<Self> {
        let draw = || {
            let drawn = moltbot_vault::random_id();
            drawn.inspect_err(|error| tracing::error!(%error, "no challenge can be drawn")).ok()
        };
        // Both before anything is said: without random numbers nobody is let in.
        let (nonce, connection_id) = (draw()?, draw()?);
        let payload = json!({"nonce": nonce, "ts": shared.now_ms()});
        let frame = EventFrame::single(event::CONNECT_CHALLENGE, payload);
        socket.feed(to_text(&frame)).await.ok()?;
        socket.flush().await.ok()?;
        Some(Self { socket, peer, shared, state: Challenged { nonce, connection_id, seat } })
    }

    /// Reads `connect` and answers it. Nothing is returned when the peer was refused: it has been told and
    /// the connection is closed.
    pub async fn sign_in(mut self) -> Option<Connection<Open>> {
        match self.judge().await {
            Ok(admitted) => self.open(admitted).await,
            Err(failure) => {
                self.refuse(failure).await;
                None
            }
        }
    }

    async fn judge(&mut self) -> Result<Admitted, Failure> {
        let seat = Arc::clone(&self.state.seat);
        let text = match tokio::time::timeout(seat.time_left(), self.first_text()).await {
            Ok(text) => text,
            Err(_) => {
                seat.is_to_blame(Offence::Late);
                return Err(Failure::Frame(Goodbye::new(Goodbye::NORMAL, "handshake timeout")));
            }
        };
        let connect = text.and_then(|text| read(&text)).inspect_err(|failure| {
            // A request that is none of ours may be an honest client's of another age; what is no request is nobody's.
            if matches!(failure, Failure::Frame(_)) {
                seat.is_to_blame(Offence::Malformed);
            }
        })?;
        seat.is_judged();
        let proof = connect.params.device.as_ref();
        let held = proof.and_then(|proof| self.shared.devices.token(&proof.id, connect.role));
        let (signed_in, pairing) = self.authenticate(&connect, held).await;
        let (signed_in, issued) = self.settle(&connect, signed_in, pairing).await?;
        let SignedIn { grant, credential } = signed_in;
        Ok(Admitted { connect, grant, credential, held, issued })
    }

    async fn first_text(&mut self) -> Result<String, Failure> {
        loop {
            return match self.socket.next().await {
                Incoming::Life => continue,
                Incoming::Gone => Err(Failure::Gone),
                Incoming::Broken(goodbye) => Err(Failure::Frame(goodbye)),
                Incoming::Text(text) if text.len() > limits::CONNECT_BYTES => {
                    Err(Failure::Frame(Goodbye::new(Goodbye::TOO_LARGE, "message too large")))
                }
                Incoming::Text(text) => Ok(text.as_str().to_owned()),
            };
        }
    }

    async fn authenticate(
        &self,
        connect: &Connect,
        held: Option<TokenDigest>,
    ) -> (Result<SignedIn, SignInError>, Pairing) {
        let params = &connect.params;
        let token =
            params.auth.as_ref().and_then(|auth| auth.token.as_deref().or(auth.device_token.as_deref()));
        let password = params.auth.as_ref().and_then(|auth| auth.password.as_deref());
        let secret = |text: Option<&str>| text.map(|text| SecretString::from(text.to_owned()));
        let asked = params.scopes.as_deref().unwrap_or_default();
        let device = params.device.as_ref().map(|proof| DeviceClaim {
            proof,
            text: DeviceText {
                device_id: &proof.id,
                client_id: &params.client.id,
                client_mode: &params.client.mode,
                role: params.role.as_deref().unwrap_or("operator"),
                scopes: asked,
                signed_at: proof.signed_at,
                token: token.unwrap_or_default(),
                nonce: proof.nonce.as_deref(),
                platform: &params.client.platform,
                device_family: params.client.device_family.as_deref().unwrap_or_default(),
            },
            challenge: &self.state.nonce,
            now_ms: self.shared.now_ms(),
            token: held,
        });
        let claim = Claim {
            client: self.peer.client,
            presented: Presented { token: secret(token), password: secret(password) },
            device,
            locality: self.peer.locality,
            tailnet: self.peer.tailnet.clone(),
            bearers: None,
            way: if self.peer.socket { "unix-websocket" } else { "websocket" },
        };
        let (devices, id) = (&self.shared.devices, params.device.as_ref().map(|proof| proof.id.as_str()));
        let mut pairing = Pairing::Nothing;
        let rights = |identity| {
            let (granted, wanted) = match connect.role {
                Role::Node => {
                    let approved = id.and_then(|id| devices.commands(id));
                    grant_node(identity, &connect.offered, approved.as_ref())
                }
                Role::Operator => {
                    let standing = id.map_or(Standing::Unknown, |id| devices.standing(id));
                    grant(identity, asked, standing)
                }
            };
            pairing = wanted;
            granted
        };
        let granted = self.shared.sign_in.judge(claim, rights).await;
        (granted, pairing)
    }

    async fn refuse(mut self, failure: Failure) {
        let goodbye = match failure {
            Failure::Gone => return,
            Failure::Frame(goodbye) => goodbye,
            Failure::Request { id, error, code } => {
                let goodbye = Goodbye::new(code, &error.message);
                let answer = to_text(&ResponseFrame::failure(id, error));
                if self.socket.feed(answer).await.is_err() {
                    return;
                }
                goodbye
            }
        };
        self.socket.dismiss(goodbye).await;
    }

    /// Answers `hello-ok`, followed by the health as an event. Broadcasts wait from before the snapshot is
    /// taken, so that nothing is missed in between.
    async fn open(mut self, admitted: Admitted) -> Option<Connection<Open>> {
        let Admitted { connect, grant, credential, held, issued } = admitted;
        let grant = Arc::new(grant);
        let presence = Presence::of(&connect.params.client, &grant, self.shared.now_ms());
        let membership = self.shared.hub.join(&grant, presence);
        let opening = Opening {
            id: self.state.connection_id.clone(),
            says: Some(connect.says()),
            credential,
            since_ms: self.shared.now_ms(),
        };
        let session = self.shared.clients.open(opening, Arc::clone(&grant), membership.outbox());
        let node = connect.node(&self.shared, &grant, &membership);
        // What was revoked or changed until now is seen here; what is from now on ends the connection.
        if let Some(error) = self.outdated(&grant, credential, held) {
            self.shared.hub.leave(&membership);
            self.refuse(Failure::Request { id: connect.id, error, code: Goodbye::POLICY }).await;
            return None;
        }
        let Connect { id, protocol, .. } = connect;
        let connection_id = &self.state.connection_id;
        let greeted =
            hello::Greeted { protocol, connection_id, grant: &grant, membership: &membership, issued };
        let hello = hello::frame(&self.shared, &id, greeted).await;
        let sent = async {
            self.socket.feed(hello).await?;
            self.socket.flush().await?; // both frames at once would double the buffer, for good
            if grant.require(Scope::Read).is_ok() {
                let health = self.shared.health.current(&self.shared).await;
                self.socket.feed(head(event::HEALTH, health.text()) + "}").await?;
            }
            self.socket.flush().await
        };
        if !matches!(tokio::time::timeout(limits::HANDSHAKE, sent).await, Ok(Ok(()))) {
            self.shared.hub.leave(&membership);
            return None;
        }
        let Self { mut socket, peer, shared, .. } = self;
        socket.welcome();
        let state = Open { grant, membership, session, node };
        Some(Connection { socket, peer, shared, state })
    }

    /// Why a peer may not come in any more that was let in a moment ago.
    fn outdated(&self, grant: &Grant, credential: u64, held: Option<TokenDigest>) -> Option<WireError> {
        if !self.shared.devices.stands(grant, held) {
            return Some(WireError::new(ErrorCode::NotPaired, PAIRING_REQUIRED));
        }
        let is_current = grant.by_device_token() || credential == self.shared.sign_in.credential();
        (!is_current).then(|| WireError::invalid(UNAUTHORIZED))
    }
}

/// Reads the one frame.
fn read(text: &str) -> Result<Connect, Failure> {
    let Ok(frame) = RequestFrame::parse(text) else {
        return Err(Failure::Frame(Goodbye::new(Goodbye::POLICY, NOT_CONNECT)));
    };
    let fail = |error| Failure::Request { id: frame.id.clone(), error, code: Goodbye::POLICY };
    if frame.method != "connect" {
        return Err(fail(WireError::invalid(NOT_CONNECT)));
    }
    let params: ConnectParams = frame.params("connect").map_err(without_values).map_err(fail)?;
    if !is_known_client(&params.client.id) || !CLIENT_MODES.contains(&params.client.mode.as_str()) {
        let message = "invalid connect params: client.id or client.mode is not one of the known ones";
        return Err(fail(WireError::invalid(message)));
    }
    let protocol = PROTOCOL_MAX.min(params.max_protocol);
    if protocol < PROTOCOL_MIN.max(params.min_protocol) {
        let error =
            WireError::invalid("protocol mismatch").with_details(json!({"expectedProtocol": PROTOCOL_MAX}));
        return Err(Failure::Request { id: frame.id, error, code: Goodbye::PROTOCOL });
    }
    let Some(role) = Role::parse(params.role.as_deref()) else {
        return Err(fail(WireError::invalid("invalid role")));
    };
    let offered = commands_of(&params.commands).map_err(|refusal| {
        fail(WireError::invalid(format!("invalid connect params: {}", refusal.message)))
    })?;
    Ok(Connect { id: frame.id, params, protocol, role, offered })
}

/// An error about a member of the wrong type repeats its value, which may be a credential in the wrong place:
/// what was expected, and where, must do.
fn without_values(error: WireError) -> WireError {
    let message = match error.message.rsplit_once(", expected ") {
        Some((_, expected)) if !error.message.contains("unknown field") => {
            format!("invalid connect params: expected {expected}")
        }
        Some(_) | None => return error,
    };
    WireError { message, ..error }
}

impl Connect {
    /// What the client says it is, for the list of those who are signed in.
    fn says(&self) -> String {
        let client = &self.params.client;
        let name = client.display_name.as_deref().unwrap_or(&client.id);
        let says = format!("{name} ({}, {})", client.mode, client.platform);
        says.chars().take(limits::DEVICE_TEXT_CHARS).collect()
    }

    /// A node is there from now on, until what is returned is dropped.
    fn node(&self, shared: &Shared, grant: &Grant, membership: &Membership) -> Option<Arc<OnDuty>> {
        let id = grant.device().filter(|_| grant.role() == Role::Node)?;
        let facts = Facts {
            says: self.params.client.clone(),
            caps: self
                .params
                .caps
                .iter()
                .filter(|cap| NodeCommand::is_one(cap))
                .take(CAPS)
                .cloned()
                .collect(),
            offered: self.offered.clone(),
            client: grant.client(),
            since_ms: shared.now_ms(),
        };
        Some(Arc::new(shared.nodes.arrive(id, facts, membership.outbox())))
    }

    fn failure(&self, error: &SignInError) -> Failure {
        let error = match error {
            SignInError::Limited(limited) => limited_error(limited.retry_after),
            SignInError::Refused(refusal) if refusal.code == "not_paired" => {
                WireError::new(ErrorCode::NotPaired, refusal.message.clone())
            }
            SignInError::Refused(refusal) => WireError::invalid(refusal.message.clone()),
            SignInError::Unrecorded(unrecorded) => {
                tracing::error!(%unrecorded, "a sign-in could not be recorded");
                WireError::unavailable("sign-in is not possible now: it cannot be recorded")
            }
        };
        Failure::Request { id: self.id.clone(), error, code: Goodbye::POLICY }
    }
}

fn limited_error(retry_after: Duration) -> WireError {
    let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    let seconds = milliseconds.div_ceil(1000);
    WireError::new(ErrorCode::RateLimited, format!("too many failed sign-ins; try again in {seconds} s"))
        .retry_after(milliseconds)
}

/// A frame as text. Frames are made of texts and numbers: writing them cannot fail.
fn to_text(frame: &impl serde::Serialize) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> String {
        match read(text) {
            Ok(connect) => format!("protocol {}", connect.protocol),
            Err(Failure::Gone) => "gone".into(),
            Err(Failure::Frame(goodbye)) => format!("{} {}", goodbye.code, goodbye.reason),
            Err(Failure::Request { error, code, .. }) => format!("{code} res {}", error.message),
        }
    }

    fn connect(min: u32, max: u32, id: &str) -> String {
        json!({"type": "req", "id": "1", "method": "connect", "params": {
            "minProtocol": min, "maxProtocol": max,
            "client": {"id": id, "version": "1", "platform": "linux", "mode": "cli"},
        }})
        .to_string()
    }

    #[test]
    fn the_newest_protocol_of_both_is_spoken() {
        for (min, max, expected) in [
            (3, 3, "protocol 3"),
            (4, 4, "protocol 4"),
            (1, 9, "protocol 4"),
            (3, 4, "protocol 4"),
            (1, 2, "1002 res protocol mismatch"),
            (5, 9, "1002 res protocol mismatch"),
            (4, 3, "1002 res protocol mismatch"),
        ] {
            assert_eq!(outcome(&connect(min, max, "cli")), expected, "{min} to {max}");
        }
    }

    #[test]
    fn only_a_request_is_answered_before_the_connection_is_closed() {
        let unanswered = format!("1008 {NOT_CONNECT}");
        assert_eq!(outcome("hello"), unanswered);
        assert_eq!(outcome(r#"{"type":"event","event":"x"}"#), unanswered);
        let health = r#"{"type":"req","id":"1","method":"health"}"#;
        assert_eq!(outcome(health), format!("1008 res {NOT_CONNECT}"));
        assert!(outcome(&connect(3, 3, "evil")).starts_with("1008 res invalid connect params: "));
    }
}
