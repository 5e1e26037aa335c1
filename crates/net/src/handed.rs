//! Sockets that a service manager opened before the gateway started, and keeps open while it starts anew: nobody who connects
//! meanwhile is turned away (systemd.socket(5), sd_listen_fds(3)).
//!
//! They say nothing about where the gateway listens. The permit says it, and a socket that stands elsewhere is refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// How many are taken: more than a gateway has addresses.
const MOST: usize = 64;

/// Listening sockets, each with its address.
#[derive(Debug, Default)]
pub struct HandedSockets(Vec<(SocketAddr, TcpListener)>);

impl HandedSockets {
    /// Takes those that the variables `LISTEN_FDS` and `LISTEN_PID` tell of. Once only, at the start, when it is known that they
    /// are meant for this process: what has another meaning by then would be taken for a socket.
    ///
    /// # Errors
    /// When one is no listening TCP socket, or there are more than 64.
    pub fn take() -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        if handed.len() > MOST {
            return Err(io::Error::other(format!("{} sockets are too many", handed.len())));
        }
        let mut taken = Vec::new();
        for at in 0..handed.len() {
            let Some(listener) = handed.take_tcp_listener(at)? else { continue };
            if !socket2::SockRef::from(&listener).is_listener()? {
                return Err(io::Error::other("one of the sockets does not listen"));
            }
            taken.push((listener.local_addr()?, listener));
        }
        Ok(Self(taken))
    }

    /// The one at this address.
    pub(crate) fn at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.0.iter().position(|(own, _)| *own == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Where one is left that nobody asked for.
    pub(crate) fn left(&self) -> Option<SocketAddr> {
        self.0.first().map(|(address, _)| *address)
    }
}
