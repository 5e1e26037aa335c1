//! A connection that was accepted: bytes as they are, or over TLS, or through the gateway's own socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use moltbot_config::limits;
use moltbot_policy::network::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::owner::owner_of;

/// The first byte of TLS (a record with a handshake, RFC 8446, 5.1). No request of HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// A connection that was accepted, before anything is read from it.
pub struct Accepted {
    stream: Stream,
    transport: Transport,
    acceptor: Option<TlsAcceptor>,
}

/// By which way it came.
enum Stream {
    Tcp(TcpStream),
    /// Through the gateway's own socket.
    Unix(UnixStream),
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Accepted {
    pub(crate) const fn new(stream: TcpStream, transport: Transport, acceptor: Option<TlsAcceptor>) -> Self {
        Self { stream: Stream::Tcp(stream), transport, acceptor }
    }

    pub(crate) const fn through_socket(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), transport: Transport::Plain, acceptor: None }
    }

    /// Whether it came through the gateway's own socket.
    pub const fn is_through_socket(&self) -> bool {
        matches!(self.stream, Stream::Unix(_))
    }

    /// The user whose program is at the other end, when that is on this machine and the kernel tells it.
    pub fn user(&self, peer: SocketAddr) -> Option<u32> {
        match &self.stream {
            Stream::Tcp(stream) => {
                let local = stream.local_addr().ok().filter(|_| peer.ip().to_canonical().is_loopback())?;
                owner_of(local, peer)
            }
            Stream::Unix(stream) => stream.peer_cred().ok().map(|peer| peer.uid()),
        }
    }

    /// Sets up TLS where its address asks for it, within [`limits::TLS_HANDSHAKE`].
    ///
    /// # Errors
    /// When the peer is not done in time, speaks something else, or is gone. Nobody answers it then.
    pub async fn open(self) -> io::Result<Wire> {
        let Self { stream, transport, acceptor } = self;
        let stream = match stream {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => return Ok(Wire::Unix(stream)),
        };
        let Some(acceptor) = acceptor else { return Ok(Wire::Plain(stream)) };
        let opening = async {
            if transport == Transport::PlainOrTls && !begins_with_tls(&stream).await? {
                return Ok(Wire::Plain(stream));
            }
            Ok(Wire::Tls(Box::new(acceptor.accept(stream).await?)))
        };
        timeout(limits::TLS_HANDSHAKE, opening).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Sends `message` without waiting for anything, and lets the peer go. Who has to speak TLS is told nothing: it could
    /// not read it.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn turn_away(self, message: &[u8]) -> io::Result<()> {
        match (self.stream, self.transport) {
            (Stream::Unix(stream), _) => stream.try_write(message).map(drop),
            (Stream::Tcp(stream), Transport::Plain | Transport::PlainOrTls) => {
                stream.try_write(message).map(drop)
            }
            (Stream::Tcp(_), Transport::Tls) => Ok(()),
        }
    }
}

/// A peer that closes without a word speaks nothing.
async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [HANDSHAKE])
}

/// A connection whose bytes can be read and written.
#[derive(Debug)]
pub enum Wire {
    /// As they are.
    Plain(TcpStream),
    /// Over TLS. Boxed: thousands of the other kind idle.
    Tls(Box<TlsStream<TcpStream>>),
    /// As they are, through the gateway's own socket, which no network has a part in.
    Unix(UnixStream),
}

impl Wire {
    /// Whether nobody between the peer and this machine can read it.
    pub const fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
