//! The command line's own connection to a gateway.
//!
//! One on this machine is not in the book: it goes to the gateway's own socket or to loopback alone, and the gateway that
//! answers records the sign-in. One elsewhere is reached over TLS, for a recorded permit, and is told nothing before it has shown the certificate that was
//! pinned or one that this machine's authorities vouch for.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use moltbot_config::limits;
use moltbot_policy::Recorded;
use moltbot_policy::network::EgressPermit;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::authorities::Authorities;
use crate::error::FetchError;
use crate::identity::Fingerprint;
use crate::own_socket::OwnSocketError;
use crate::{own_socket, pin, stream};

/// Why a connection to the gateway failed or ended.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum GatewayClientError {
    /// The gateway closed the connection and said why.
    #[error("the gateway closed the connection (code {code}{})", explained(reason))]
    Closed { code: u16, reason: String },
    /// No connection over TLS could be set up.
    #[error(transparent)]
    Elsewhere(#[from] FetchError),
    /// What listens there speaks something else, or refused the upgrade.
    #[error("what listens at {target} is not a moltbot gateway; correct the address or the port")]
    Handshake { target: String, source: Box<WebSocketError> },
    /// The connection broke.
    #[error("the connection to the gateway broke; see `moltbot gateway status`")]
    Lost { source: Box<WebSocketError> },
    /// The gateway took too long.
    #[error("the gateway at {target} did not answer within {} s; see `moltbot logs`", limits::HANDSHAKE.as_secs())]
    Silent { target: String },
    /// The gateway's own socket cannot be used.
    #[error(transparent)]
    OwnSocket(#[from] OwnSocketError),
    /// The certificate is another one than the one that was pinned. Nothing was sent.
    #[error(
        "{target} shows another certificate than the one with the fingerprint in gateway.remote.tlsFingerprint, so nothing was sent to it; compare with `moltbot gateway fingerprint` on the gateway's machine"
    )]
    Stranger { target: String, source: FetchError },
    /// Nothing listens there.
    #[error("no gateway is running on port {port}; start it with `moltbot up`")]
    Unreachable { port: u16, source: std::io::Error },
}

fn explained(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The largest message that a gateway may send us, in bytes: a history is 6 MiB.
const INBOUND_BYTES: usize = limits::MESSAGE_BYTES * 64;

/// Bytes both ways, as they are or over TLS.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A WebSocket to a gateway.
pub struct GatewayClient {
    socket: WebSocketStream<Box<dyn Bytes>>,
}

impl std::fmt::Debug for GatewayClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayClient").finish_non_exhaustive()
    }
}

impl GatewayClient {
    /// Connects to the gateway of this user through its socket at `path`; to `port` of this machine when there is none. A
    /// socket that is there and does not answer is no reason to ask elsewhere.
    ///
    /// # Errors
    /// When nobody answers, or somebody else than this user does.
    pub async fn dial_own(path: &Path, port: u16) -> Result<Self, GatewayClientError> {
        let target = path.display().to_string();
        let silent = |_| GatewayClientError::Silent { target: target.clone() };
        match timeout(limits::HANDSHAKE, own_socket::connect(path)).await.map_err(silent)?? {
            Some(stream) => Self::upgrade("ws://localhost/", Box::new(stream), target).await,
            None => Self::dial(port).await,
        }
    }

    /// Connects to the gateway on `port` of this machine.
    ///
    /// # Errors
    /// When nothing listens there, or what does is no gateway.
    #[expect(clippy::disallowed_methods, reason = "this is the door to the network; loopback alone")]
    pub async fn dial(port: u16) -> Result<Self, GatewayClientError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let target = format!("port {port}");
        let silent = |_| GatewayClientError::Silent { target: target.clone() };
        let stream = timeout(limits::HANDSHAKE, TcpStream::connect(address)).await;
        let unreachable = |source| GatewayClientError::Unreachable { port, source };
        let stream = stream.map_err(silent)?.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        Self::upgrade(&format!("ws://127.0.0.1:{port}/"), Box::new(stream), target).await
    }

    /// Connects over TLS to the gateway that the permit names. With `pin` the certificate of that fingerprint is believed
    /// and no other.
    ///
    /// # Errors
    /// When it cannot be reached, is not the one that it should be, or is no gateway.
    pub async fn dial_elsewhere(
        permit: Recorded<EgressPermit>,
        pin: Option<Fingerprint>,
    ) -> Result<Self, GatewayClientError> {
        let target = permit.permit().destination().target();
        let failed =
            |source: rustls::Error| FetchError::Client { target: target.clone(), source: source.into() };
        let config = match pin {
            Some(pin) => pin::client_config(pin),
            None => Authorities::System.client_config(None),
        };
        let connector = TlsConnector::from(Arc::new(config.map_err(failed)?));
        let secured = stream::secure(&permit, &connector).await.map_err(|error| match error {
            FetchError::Tls { .. } if pin.is_some() => {
                GatewayClientError::Stranger { target: target.clone(), source: error }
            }
            other => other.into(),
        })?;
        Self::upgrade(&format!("wss://{target}/"), Box::new(secured), target.clone()).await
    }

    async fn upgrade(url: &str, stream: Box<dyn Bytes>, target: String) -> Result<Self, GatewayClientError> {
        let failed =
            |source| GatewayClientError::Handshake { target: target.clone(), source: Box::new(source) };
        let request = url.into_client_request().map_err(failed)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(INBOUND_BYTES))
            .max_frame_size(Some(INBOUND_BYTES));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let upgraded = timeout(limits::HANDSHAKE, upgrade).await;
        let (socket, _) =
            upgraded.map_err(|_| GatewayClientError::Silent { target: target.clone() })?.map_err(failed)?;
        Ok(Self { socket })
    }

    /// Sends one text message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_text(&mut self, text: String) -> Result<(), GatewayClientError> {
        self.socket.send(Message::text(text)).await.map_err(lost)
    }

    /// Waits for the next text message; other messages are answered or skipped. Nothing is lost when the wait
    /// is given up.
    ///
    /// # Errors
    /// When the gateway closes the connection, or it breaks.
    pub async fn recv_text(&mut self) -> Result<String, GatewayClientError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    let (code, reason) = (frame.code.into(), frame.reason.as_str().to_owned());
                    return Err(GatewayClientError::Closed { code, reason });
                }
                Some(Ok(Message::Close(None))) | None => {
                    return Err(GatewayClientError::Closed { code: 1005, reason: String::new() });
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(lost(error)),
            }
        }
    }

    /// Says goodbye and closes the connection.
    pub async fn close(mut self) {
        // The other end may be gone already, which is what we want.
        if let Err(error) = self.socket.close(None).await {
            tracing::debug!(%error, "the gateway was gone before the goodbye");
        }
    }
}

fn lost(error: WebSocketError) -> GatewayClientError {
    match error {
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => {
            GatewayClientError::Closed { code: 1006, reason: String::new() }
        }
        other => GatewayClientError::Lost { source: Box::new(other) },
    }
}
