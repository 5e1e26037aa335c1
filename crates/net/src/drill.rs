//! Attacks of the owner on his own gateway, over loopback alone and each for a recorded permit: requests that no honest client
//! sends, from any loopback address, of which nothing but the answer's status is looked at.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use moltbot_policy::Recorded;
use moltbot_policy::drill::DrillPermit;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// How long a gateway of this machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest head that is read for the status.
const HEAD_BYTES: u64 = 16 * 1024;

/// One request.
#[derive(Clone, Debug)]
pub struct Attack<'a> {
    /// The loopback address that it comes from.
    pub from: Ipv4Addr,
    /// The gateway's port.
    pub port: u16,
    /// What it asks for.
    pub path: &'a str,
    /// What the `Host` header says.
    pub host: &'a str,
    /// Further headers.
    pub headers: Vec<(&'a str, String)>,
}

/// Why there was no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DrillError {
    /// Only this machine is attacked.
    #[error("{0} is no loopback address; a drill attacks this machine alone")]
    Elsewhere(Ipv4Addr),
    /// Nothing answered as a gateway does.
    #[error("port {port} of this machine does not answer like a gateway")]
    Garbled {
        /// The port.
        port: u16,
    },
    /// The connection broke, or there was none.
    #[error("port {port} of this machine cannot be asked")]
    Io {
        /// The port.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("port {port} of this machine did not answer within {} s", PATIENCE.as_secs())]
    Silent {
        /// The port.
        port: u16,
    },
}

/// Sends the request and tells the status of its answer.
///
/// # Errors
/// When it would not stay on this machine, or there is no answer.
pub async fn status(_: &Recorded<DrillPermit>, attack: &Attack<'_>) -> Result<u16, DrillError> {
    let port = attack.port;
    if !attack.from.is_loopback() {
        return Err(DrillError::Elsewhere(attack.from));
    }
    let answer = timeout(PATIENCE, exchange(attack)).await.map_err(|_| DrillError::Silent { port })?;
    let head = answer.map_err(|source| DrillError::Io { port, source })?;
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    code.ok_or(DrillError::Garbled { port })
}

#[expect(clippy::disallowed_methods, reason = "this is the door to the network; loopback alone")]
async fn exchange(attack: &Attack<'_>) -> io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((attack.from, 0)))?;
    let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, attack.port))).await?;
    stream.write_all(request(attack).as_bytes()).await?;
    let mut head = Vec::new();
    let mut answer = stream.take(HEAD_BYTES);
    // A connection that became a WebSocket stays open: the first line is all that is wanted.
    while !head.contains(&b'\n') && answer.read_buf(&mut head).await? > 0 {}
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn request(attack: &Attack<'_>) -> String {
    let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", attack.path, attack.host);
    for (name, value) in &attack.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use moltbot_policy::{Book, Entering, Entry, Unrecorded, record};

    use super::*;

    struct Blank;

    impl Book for Blank {
        fn enter(&self, _: Entry) -> Result<u64, Unrecorded> {
            Ok(1)
        }

        fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
            Box::pin(std::future::ready(self.enter_all(entries)))
        }
    }

    #[tokio::test]
    async fn nothing_leaves_this_machine() {
        let permit = record(DrillPermit::for_owner("a", "cli"), &Blank).unwrap();
        let from = Ipv4Addr::new(192, 0, 2, 1);
        let attack = Attack { from, port: 1, path: "/", host: "localhost", headers: Vec::new() };
        assert!(matches!(status(&permit, &attack).await, Err(DrillError::Elsewhere(_))));
    }
}
