//! The first message of TLS, which names the host that it is for (RFC 8446 section 4.1.2, RFC 6066 section 3).

use std::io::Cursor;

use moltbot_config::limits;
use moltbot_policy::Refusal;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A first message, and the bytes that it came in.
#[derive(Debug)]
pub(super) struct Hello {
    /// The host that it names.
    pub(super) host: Option<String>,
    /// As they came, to be sent on.
    pub(super) bytes: Vec<u8>,
}

fn refuse(message: &str) -> Refusal {
    Refusal::new("outbound_tunnel_refused", message)
}

/// Reads the first message.
///
/// # Errors
/// When what comes is not TLS, or not complete within [`limits::PROXY_HEAD_BYTES`].
pub(super) async fn read(client: &mut (impl AsyncRead + Unpin)) -> Result<Hello, Refusal> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    let mut piece = vec![0; 4096];
    loop {
        let read = client.read(&mut piece).await.unwrap_or_default();
        let piece = piece.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Err(refuse("the tunnel ended before its first message did"));
        }
        bytes.extend_from_slice(piece);
        if bytes.len() > limits::PROXY_HEAD_BYTES {
            return Err(refuse("the first message in the tunnel is too long"));
        }
        let mut rest = Cursor::new(piece);
        let read = acceptor.read_tls(&mut rest);
        read.map_err(|_| refuse("what came in the tunnel is not TLS"))?;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let host = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                return Ok(Hello { host, bytes });
            }
            Err(_) => {
                return Err(refuse("what came in the tunnel is not TLS; nothing else goes through one"));
            }
        }
    }
}

/// Whether a first message is for the host that the tunnel was asked for. Behind one address there are many hosts: what a
/// tunnel is for is what its first message says.
///
/// # Errors
/// When it names another, or none for a host that has a name.
pub(super) fn require(hello: &Hello, host: &str, is_address: bool) -> Result<(), Refusal> {
    match hello.host.as_deref() {
        Some(named) if named == host || is_address => Ok(()),
        None if is_address => Ok(()),
        Some(_) => {
            Err(refuse("the first message in the tunnel names another host than the tunnel was asked for"))
        }
        None => Err(refuse("the first message in the tunnel names no host")),
    }
}
