//! Listens where a recorded permit says, on all of its addresses or on none.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use moltbot_config::limits;
use moltbot_policy::Recorded;
use moltbot_policy::network::{BindPermit, Endpoint, Transport};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::handed::HandedSockets;
use crate::identity::ServerIdentity;
use crate::own_socket::{OwnSocket, OwnSocketError};
use crate::wire::Accepted;

/// Why the gateway does not listen.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ListenError {
    /// The operating system refused for another reason.
    #[error("cannot listen on {address}; choose another port with `--port`")]
    Bind { address: SocketAddr, source: io::Error },
    /// The address is none of this machine's.
    #[error(
        "cannot listen on {address}: this machine has no such address now; correct gateway.bind or gateway.customBindHost"
    )]
    Foreign { address: SocketAddr, source: io::Error },
    /// Another program listens there.
    #[error(
        "cannot listen on {address}: another program is using that port; stop it or choose another with `--port`"
    )]
    InUse { address: SocketAddr, source: io::Error },
    /// The service manager hands over a socket that the permit does not name.
    #[error(
        "the service manager hands over a socket at {address}, where the gateway is not to listen; correct ListenStream= in its socket unit, or gateway.bind and gateway.port"
    )]
    NotAsked { address: SocketAddr },
    /// The permit asks for TLS, and there is no certificate.
    #[error("cannot listen on {address} over TLS: there is no certificate")]
    NoCertificate { address: SocketAddr },
    /// The permit names no address, or none that this machine has.
    #[error("cannot listen: this machine has no loopback address; bring up its interface `lo`")]
    Nowhere,
    /// The gateway's own socket cannot be used.
    #[error(transparent)]
    OwnSocket(#[from] OwnSocketError),
}

/// Sockets that accept connections: one for each address of the permit, and the gateway's own.
pub struct Listener {
    sockets: Vec<Socket>,
    own: Option<OwnSocket>,
    acceptor: Option<TlsAcceptor>,
    port: u16,
    next: AtomicUsize,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

/// A socket, and what connections on it begin with.
#[derive(Debug)]
struct Socket {
    listener: TcpListener,
    transport: Transport,
}

/// The addresses of this machine's network cards, loopback among them.
///
/// # Errors
/// When the operating system does not tell.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect())
}

/// Listens on every address of the permit, and at its socket; `identity` is shown where it asks for TLS. Port 0 becomes one free port, the
/// same on each of them. Where a socket was handed over, that one is used. Must be called inside a tokio runtime.
///
/// # Errors
/// When one of the addresses cannot be bound, or a socket was handed over for another: then none is. The one exception is
/// `::1` on a machine without IPv6, which is logged and left out.
pub fn listen(
    permit: Recorded<BindPermit>,
    identity: Option<&ServerIdentity>,
    mut handed: HandedSockets,
) -> Result<Listener, ListenError> {
    let permit = permit.into_permit();
    let endpoints = permit.endpoints();
    let secured = endpoints.iter().find(|endpoint| endpoint.transport != Transport::Plain);
    if let (Some(Endpoint { address, .. }), None) = (secured, identity) {
        return Err(ListenError::NoCertificate { address: *address });
    }
    let acceptor = identity.map(ServerIdentity::acceptor);
    let own = permit.socket().map(OwnSocket::listen).transpose()?;
    let mut tries = limits::FREE_PORT_TRIES;
    loop {
        tries = tries.saturating_sub(1);
        match listen_on_all(endpoints, acceptor.clone(), &mut handed) {
            // The port drawn for the first address was taken on the second: draw again.
            Err(ListenError::InUse { .. }) if any_port(endpoints) && tries > 0 => {}
            outcome => return outcome.map(|listener| Listener { own, ..listener }),
        }
    }
}

fn any_port(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().any(|endpoint| endpoint.address.port() == 0)
}

fn listen_on_all(
    endpoints: &[Endpoint],
    acceptor: Option<TlsAcceptor>,
    handed: &mut HandedSockets,
) -> Result<Listener, ListenError> {
    let mut sockets = Vec::with_capacity(endpoints.len());
    let mut port = 0;
    for Endpoint { mut address, transport } in endpoints.iter().copied() {
        if address.port() == 0 {
            address.set_port(port);
        }
        match handed.at(address).map_or_else(|| bind(address), ready) {
            Ok(listener) => {
                port = listener.local_addr().map_err(|source| ListenError::Bind { address, source })?.port();
                sockets.push(Socket { listener, transport });
            }
            Err(source) if address.ip() == Ipv6Addr::LOCALHOST && is_missing(&source) => {
                tracing::warn!(%address, %source, "this machine has no IPv6; listening without it");
            }
            Err(source) if is_missing(&source) => return Err(ListenError::Foreign { address, source }),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(ListenError::InUse { address, source });
            }
            Err(source) => return Err(ListenError::Bind { address, source }),
        }
    }
    if let Some(address) = handed.left() {
        return Err(ListenError::NotAsked { address });
    }
    if sockets.is_empty() {
        return Err(ListenError::Nowhere);
    }
    Ok(Listener { sockets, own: None, acceptor, port, next: AtomicUsize::new(0) })
}

/// Binds one address. The address may be used again at once after a restart (`SO_REUSEADDR`), but never
/// shared with a living listener.
#[expect(clippy::disallowed_methods, reason = "the one place that listens, for a recorded BindPermit")]
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections that it accepts have it from there.
    socket.set_send_buffer_size(limits::SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(limits::BACKLOG)
}

/// A socket that was handed over, as [`bind`] makes one.
fn ready(handed: std::net::TcpListener) -> io::Result<TcpListener> {
    handed.set_nonblocking(true)?;
    socket2::SockRef::from(&handed)
        .set_send_buffer_size(usize::try_from(limits::SEND_BUFFER).unwrap_or(usize::MAX))?;
    TcpListener::from_std(handed)
}

/// Whether a bind failed because the kernel has no such address or no such family.
fn is_missing(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no `ErrorKind` of its own.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

impl Listener {
    /// Waits for the next connection on any of the addresses, each in its turn, or through the gateway's own socket, whose
    /// peers are at 127.0.0.1. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// When the operating system refuses, such as for want of file descriptors: the caller waits a moment and
    /// tries again.
    pub async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Accepted, SocketAddr)>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        // The owner's own programs come first: nobody else can open as many connections as to fill this.
        if let Some(own) = &self.own
            && let Poll::Ready(outcome) = own.listener.poll_accept(context)
        {
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            return Poll::Ready(outcome.map(|(stream, _)| (Accepted::through_socket(stream), here)));
        }
        let turns = self.sockets.iter().cycle().skip(first % self.sockets.len().max(1));
        for socket in turns.take(self.sockets.len()) {
            if let Poll::Ready(outcome) = socket.listener.poll_accept(context) {
                return Poll::Ready(
                    outcome.map(|(stream, peer)| (self.accepted(stream, peer, socket), peer)),
                );
            }
        }
        Poll::Pending
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr, socket: &Socket) -> Accepted {
        // Frames are small and each is awaited by somebody: waiting to fill a packet would delay them all.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection ended while it was accepted");
        }
        let acceptor = self.acceptor.as_ref().filter(|_| socket.transport != Transport::Plain);
        Accepted::new(stream, socket.transport, acceptor.cloned())
    }

    /// The port, the same on every address.
    pub const fn port(&self) -> u16 {
        self.port
    }
}
