//! The command line's own connection to a gateway on this machine.
//!
//! Not in the book: it goes to loopback alone, and the gateway that answers records the sign-in.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use moltbot_config::limits;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

/// Why a connection to the gateway failed or ended.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum GatewayClientError {
    /// The gateway closed the connection and said why.
    #[error("the gateway closed the connection (code {code}{})", explained(reason))]
    Closed { code: u16, reason: String },
    /// What listens there speaks something else, or refused the upgrade.
    #[error("what listens on port {port} is not a moltbot gateway; choose the gateway's port with `--port`")]
    Handshake { port: u16, source: Box<WebSocketError> },
    /// The connection broke.
    #[error("the connection to the gateway broke; see `moltbot gateway status`")]
    Lost { source: Box<WebSocketError> },
    /// The gateway took too long.
    #[error("the gateway on port {port} did not answer within {} s; see `moltbot logs`", limits::HANDSHAKE.as_secs())]
    Silent { port: u16 },
    /// Nothing listens there.
    #[error("no gateway is running on port {port}; start it with `moltbot up`")]
    Unreachable { port: u16, source: std::io::Error },
}

fn explained(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The largest message that a gateway may send us, in bytes: a history is 6 MiB.
const INBOUND_BYTES: usize = limits::MESSAGE_BYTES * 64;

/// A WebSocket to the gateway on this machine.
#[derive(Debug)]
pub struct GatewayClient {
    socket: WebSocketStream<TcpStream>,
}

impl GatewayClient {
    /// Connects to the gateway on `port` of this machine.
    ///
    /// # Errors
    /// When nothing listens there, or what does is no gateway.
    #[expect(clippy::disallowed_methods, reason = "this is the door to the network; loopback alone")]
    pub async fn dial(port: u16) -> Result<Self, GatewayClientError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = timeout(limits::HANDSHAKE, TcpStream::connect(address)).await;
        let unreachable = |source| GatewayClientError::Unreachable { port, source };
        let stream = stream.map_err(|_| GatewayClientError::Silent { port })?.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let failed = |source| GatewayClientError::Handshake { port, source: Box::new(source) };
        let request = format!("ws://127.0.0.1:{port}/").into_client_request().map_err(failed)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(INBOUND_BYTES))
            .max_frame_size(Some(INBOUND_BYTES));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let upgraded = timeout(limits::HANDSHAKE, upgrade).await;
        let (socket, _) = upgraded.map_err(|_| GatewayClientError::Silent { port })?.map_err(failed)?;
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
