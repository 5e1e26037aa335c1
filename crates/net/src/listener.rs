//! Listens where a recorded permit says, on all of its addresses or on none.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use moltbot_config::limits;
use moltbot_policy::Recorded;
use moltbot_policy::network::BindPermit;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Why the gateway does not listen.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ListenError {
    /// The operating system refused for another reason.
    #[error("cannot listen on {address}; choose another port with `--port`")]
    Bind { address: SocketAddr, source: io::Error },
    /// Another program listens there.
    #[error(
        "cannot listen on {address}: another program is using that port; stop it or choose another with `--port`"
    )]
    InUse { address: SocketAddr, source: io::Error },
    /// The permit names no address, or none that this machine has.
    #[error("cannot listen: this machine has no loopback address; bring up its interface `lo`")]
    Nowhere,
}

/// Sockets that accept connections, one for each address of the permit.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    port: u16,
    next: AtomicUsize,
}

/// Listens on every address of the permit. Port 0 becomes one free port, the same on each of them. Must be
/// called inside a tokio runtime.
///
/// # Errors
/// When one of the addresses cannot be bound: then none is. The one exception is `::1` on a machine without
/// IPv6, which is logged and left out.
pub fn listen(permit: Recorded<BindPermit>) -> Result<Listener, ListenError> {
    let permit = permit.into_permit();
    let mut tries = limits::FREE_PORT_TRIES;
    loop {
        tries = tries.saturating_sub(1);
        match listen_on_all(permit.addresses()) {
            // The port drawn for the first address was taken on the second: draw again.
            Err(ListenError::InUse { .. }) if any_port(permit.addresses()) && tries > 0 => {}
            outcome => return outcome,
        }
    }
}

fn any_port(addresses: &[SocketAddr]) -> bool {
    addresses.iter().any(|address| address.port() == 0)
}

fn listen_on_all(addresses: &[SocketAddr]) -> Result<Listener, ListenError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    let mut port = 0;
    for address in addresses {
        let mut address = *address;
        if address.port() == 0 {
            address.set_port(port);
        }
        match bind(address) {
            Ok(socket) => {
                port = socket.local_addr().map_err(|source| ListenError::Bind { address, source })?.port();
                sockets.push(socket);
            }
            Err(source) if address.is_ipv6() && is_missing(&source) => {
                tracing::warn!(%address, %source, "this machine has no such IPv6 address; listening without it");
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(ListenError::InUse { address, source });
            }
            Err(source) => return Err(ListenError::Bind { address, source }),
        }
    }
    if sockets.is_empty() {
        return Err(ListenError::Nowhere);
    }
    Ok(Listener { sockets, port, next: AtomicUsize::new(0) })
}

/// Binds one address. The address may be used again at once after a restart (`SO_REUSEADDR`), but never
/// shared with a living listener.
#[expect(clippy::disallowed_methods, reason = "the one place that listens, for a recorded BindPermit")]
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::BACKLOG)
}

/// Whether a bind failed because the kernel has no such address or no such family.
fn is_missing(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no `ErrorKind` of its own.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

impl Listener {
    /// Waits for the next connection on any of the addresses, each address in its turn. Nothing is lost when
    /// the wait is given up.
    ///
    /// # Errors
    /// When the operating system refuses, such as for want of file descriptors: the caller waits a moment and
    /// tries again.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = poll_fn(|context| self.poll_accept(context)).await?;
        // Frames are small and each is awaited by somebody: waiting to fill a packet would delay them all.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection ended while it was accepted");
        }
        Ok((stream, peer))
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turns = self.sockets.iter().cycle().skip(first % self.sockets.len().max(1));
        for socket in turns.take(self.sockets.len()) {
            if let Poll::Ready(outcome) = socket.poll_accept(context) {
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }

    /// The port, the same on every address.
    pub const fn port(&self) -> u16 {
        self.port
    }
}
