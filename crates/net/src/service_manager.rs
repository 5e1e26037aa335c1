//! What a service manager is told: that the gateway serves, that it stops, and that it is alive (sd_notify(3)).
//!
//! The socket is named by the manager's variable `NOTIFY_SOCKET`; what is sent is a word of the protocol and nothing else.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A service manager that waits for word.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// What it is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceWord {
    /// The gateway is alive.
    Alive,
    /// The gateway serves.
    Ready,
    /// The gateway stops.
    Stopping,
}

impl ServiceWord {
    const fn text(self) -> &'static str {
        match self {
            Self::Alive => "WATCHDOG=1",
            Self::Ready => "READY=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

impl ServiceManager {
    /// The manager whose socket has this name: a path, or with `@` in front one without.
    ///
    /// # Errors
    /// When it is no such name, or no socket can be made.
    pub fn named(name: &str) -> io::Result<Self> {
        let address = match (name.strip_prefix('@'), name.starts_with('/')) {
            (Some(name), _) => SocketAddr::from_abstract_name(name)?,
            (None, true) => SocketAddr::from_pathname(name)?,
            (None, false) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up a gateway.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Tells it.
    ///
    /// # Errors
    /// When it does not listen, or has not read what it was told before.
    pub fn tell(&self, word: ServiceWord) -> io::Result<()> {
        self.socket.send_to_addr(word.text().as_bytes(), &self.address).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_a_path_and_by_a_name_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("moltbot-test-{}", std::process::id());
        let listening = [
            SocketAddr::from_pathname(&path).unwrap(),
            SocketAddr::from_abstract_name(&abstract_name).unwrap(),
        ];
        for (address, name) in listening.iter().zip([path.display().to_string(), format!("@{abstract_name}")])
        {
            let socket = UnixDatagram::bind_addr(address).unwrap();
            let manager = ServiceManager::named(&name).unwrap();
            for (word, text) in [
                (ServiceWord::Ready, "READY=1"),
                (ServiceWord::Alive, "WATCHDOG=1"),
                (ServiceWord::Stopping, "STOPPING=1"),
            ] {
                manager.tell(word).unwrap();
                let mut bytes = [0; 64];
                let length = socket.recv(&mut bytes).unwrap();
                assert_eq!(&bytes[..length], text.as_bytes());
            }
        }
        assert!(ServiceManager::named("notify").is_err());
        let gone = ServiceManager::named("/nonexistent/notify").unwrap();
        assert!(gone.tell(ServiceWord::Ready).is_err());
    }
}
