//! A stream of bytes to one server: over TLS, and in clear within the owner's network. A chat network is read and written
//! at the same time ([`Stream::split`]); a syslog server has no answers.
//!
//! What was written is not what was read: [`Stream::finish`] says whether the other side read to the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::network::{Destination, EgressPermit, Purpose, egress_stream};
use moltbot_policy::{Recorded, Refusal};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authorities::Authorities;
use crate::error::{FetchError, ResolveError};
use crate::http_client::{judge, resolve};
use crate::identity::ClientIdentity;
use crate::recording::{self, SharedBook};

/// What may connect to one server for one purpose. Nothing is connected, and no certificate is read, before the first
/// connection.
pub struct StreamClient {
    purpose: Purpose,
    destination: Destination,
    book: SharedBook,
    connector: LazyConnector,
}

impl std::fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamClient").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl StreamClient {
    /// A client for one server and one purpose, whose decisions `book` is told.
    pub fn new(
        authorities: Authorities,
        purpose: Purpose,
        destination: Destination,
        book: SharedBook,
    ) -> Self {
        Self { purpose, destination, book, connector: LazyConnector::new(authorities) }
    }

    /// Shows this certificate to a server that asks for one.
    #[must_use]
    pub fn showing(mut self, own: ClientIdentity) -> Self {
        self.connector = self.connector.showing(own);
        self
    }

    /// Judges a connection, enters the decision into the book, and connects. Over TLS, the server has shown a certificate
    /// with its name from one of the authorities when this returns. One decision for each connection.
    ///
    /// # Errors
    /// When an address is out of reach, the book cannot be written, nothing answers in time, or the server is not the
    /// one it should be.
    pub async fn connect(&self, actor: &str) -> Result<Stream, FetchError> {
        match self.try_connect(actor).await {
            Err(FetchError::Refused(refusal)) => {
                let target = self.destination.target();
                recording::enter_refused(self.purpose, target, actor, &refusal, &self.book).await;
                Err(FetchError::Refused(refusal))
            }
            connected => connected,
        }
    }

    async fn try_connect(&self, actor: &str) -> Result<Stream, FetchError> {
        let permit = egress_stream(self.purpose, &self.destination, actor)?;
        let permit = recording::enter(permit, &self.book).await?;
        let target = permit.permit().destination().target();
        if !permit.permit().destination().is_encrypted() {
            return Ok(Stream::new(Box::new(dial(&permit).await?), target));
        }
        let connector = self.connector.get(&target).await?;
        Ok(Stream::new(Box::new(secure(&permit, connector).await?), target))
    }
}

/// How connections over TLS are set up. No certificate is read before the first.
pub(crate) struct LazyConnector {
    authorities: Authorities,
    own: Option<ClientIdentity>,
    made: OnceCell<TlsConnector>,
}

impl LazyConnector {
    /// Trusts these authorities, and shows no certificate of its own.
    pub(crate) fn new(authorities: Authorities) -> Self {
        Self { authorities, own: None, made: OnceCell::new() }
    }

    fn showing(self, own: ClientIdentity) -> Self {
        Self { own: Some(own), made: OnceCell::new(), ..self }
    }

    /// Makes it where it is not made yet. `target` is whom a failure is told of.
    pub(crate) async fn get(&self, target: &str) -> Result<&TlsConnector, FetchError> {
        let failed = |source| FetchError::Client { target: target.to_owned(), source };
        let made = self.made.get_or_try_init(|| async {
            let (authorities, own) = (self.authorities.clone(), self.own.clone());
            let made = tokio::task::spawn_blocking(move || authorities.client_config(own.as_ref())).await;
            let config = made.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
            Ok(TlsConnector::from(Arc::new(config)))
        });
        made.await
    }
}

/// Connects where a recorded permit says, and sets up TLS.
pub(crate) async fn secure(
    permit: &Recorded<EgressPermit>,
    connector: &TlsConnector,
) -> Result<TlsStream<TcpStream>, FetchError> {
    let name = server_name(permit.permit().destination())?;
    let tcp = dial(permit).await?;
    let target = permit.permit().destination().target();
    let secured = in_time(connector.connect(name, tcp), &target, "setting up TLS").await?;
    secured.map_err(|source| broken_tls(&target, source))
}

/// A server that was set up badly and one that is somebody else's look alike: both are not the one that was meant.
fn broken_tls(target: &str, source: io::Error) -> FetchError {
    FetchError::Tls { target: target.to_owned(), source: source.into() }
}

fn server_name(destination: &Destination) -> Result<ServerName<'static>, Refusal> {
    match destination.address() {
        Some(address) => Ok(ServerName::IpAddress(address.into())),
        None => ServerName::try_from(destination.host().to_owned()).map_err(|_| {
            Refusal::new("egress_refused", format!("{} is no name of a server", destination.host()))
        }),
    }
}

/// Connects to the first address that answers, once all were judged.
#[expect(clippy::disallowed_methods, reason = "this is the door to the network, and the permit is recorded")]
pub(crate) async fn dial(permit: &Recorded<EgressPermit>) -> Result<TcpStream, FetchError> {
    let destination = permit.permit().destination();
    let target = destination.target();
    let addresses = match destination.address() {
        Some(address) => {
            judge(destination, address)?;
            vec![(address, destination.port()).into()]
        }
        None => {
            let looked = resolve(destination, destination.host());
            match in_time(looked, &target, "looking its name up").await? {
                Ok(addresses) => addresses,
                Err(ResolveError::Lookup { host, source }) => {
                    return Err(FetchError::Resolve { host, source });
                }
                Err(ResolveError::Refused(refusal)) => return Err(refusal.into()),
            }
        }
    };
    let connected = in_time(TcpStream::connect(addresses.as_slice()), &target, "connecting").await?;
    let stream = connected.map_err(|source| FetchError::Connect { target, source: source.into() })?;
    // A peer that is gone without a word is noticed by what it does not acknowledge.
    let patience = u32::try_from(limits::STREAM_WRITE.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, patience) {
        tracing::debug!(%error, "a lost connection will be noticed late");
    }
    Ok(stream)
}

async fn in_time<T>(
    work: impl Future<Output = T>,
    target: &str,
    what: &'static str,
) -> Result<T, FetchError> {
    timeout(limits::PROVIDER_CONNECT, work)
        .await
        .map_err(|_: Elapsed| timed_out(target, what, limits::PROVIDER_CONNECT))
}

fn timed_out(target: &str, what: &'static str, limit: Duration) -> FetchError {
    FetchError::Timeout { target: target.to_owned(), what, limit }
}

/// What a connection is, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection to the server of a recorded permit. Dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    reader: StreamReader,
    writer: StreamWriter,
}

/// The half of a connection that is read.
pub struct StreamReader {
    half: ReadHalf<Box<dyn Wire>>,
    target: String,
}

/// The half of a connection that is written. The connection ends when both halves are dropped.
pub struct StreamWriter {
    half: WriteHalf<Box<dyn Wire>>,
    target: String,
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamReader").field("target", &self.target).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWriter").field("target", &self.target).finish_non_exhaustive()
    }
}

impl StreamReader {
    /// Reads some bytes; 0 at the end. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        let read = self.half.read(into).await;
        read.map_err(|source| interrupted(&self.target, source))
    }

    /// Reads to the end and throws it away.
    async fn drain(&mut self) -> io::Result<()> {
        let mut thrown_away = [0; 256];
        while self.half.read(&mut thrown_away).await? > 0 {}
        Ok(())
    }
}

impl StreamWriter {
    /// Hands `bytes` over to the operating system. The server may not have read them yet.
    ///
    /// # Errors
    /// When the connection is gone, or takes nothing for [`limits::STREAM_WRITE`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let sent = async {
            self.half.write_all(bytes).await?;
            self.half.flush().await
        };
        match timeout(limits::STREAM_WRITE, sent).await {
            Ok(sent) => sent.map_err(|source| interrupted(&self.target, source)),
            Err(_) => Err(timed_out(&self.target, "taking what was sent", limits::STREAM_WRITE)),
        }
    }
}

impl Stream {
    fn new(wire: Box<dyn Wire>, target: String) -> Self {
        let (reader, writer) = tokio::io::split(wire);
        Self {
            reader: StreamReader { half: reader, target: target.clone() },
            writer: StreamWriter { half: writer, target },
        }
    }

    /// Its halves, for what is read and written at the same time.
    pub fn split(self) -> (StreamReader, StreamWriter) {
        (self.reader, self.writer)
    }

    /// Hands `bytes` over to the operating system. The server may not have read them yet.
    ///
    /// # Errors
    /// When the connection is gone, or takes nothing for [`limits::STREAM_WRITE`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.writer.send(bytes).await
    }

    /// Waits until the server ends the connection, and says how. Whatever it sends is thrown away. Nothing is lost when
    /// the wait is given up.
    pub async fn ended(&mut self) -> FetchError {
        let source = match self.reader.drain().await {
            Ok(()) => None,
            Err(source) => Some(source.into()),
        };
        FetchError::Interrupted { target: self.reader.target.clone(), source }
    }

    /// Ends the connection from this side, and waits for the server to end it as well: it then has read everything, for
    /// a server that ends with something unread makes the operating system reset the connection.
    ///
    /// # Errors
    /// When the connection was reset, or the server does not end it within [`limits::STREAM_END`]. What was sent may
    /// then be lost.
    pub async fn finish(mut self) -> Result<(), FetchError> {
        let end = async {
            self.writer.half.shutdown().await?;
            self.reader.drain().await
        };
        match timeout(limits::STREAM_END, end).await {
            Ok(Ok(())) => Ok(()),
            // The end without a goodbye of TLS is an end: nothing is read from it that could be cut.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Ok(Err(error)) => Err(interrupted(&self.reader.target, error)),
            Err(_) => Err(timed_out(&self.reader.target, "reading to the end", limits::STREAM_END)),
        }
    }
}

fn interrupted(target: &str, source: io::Error) -> FetchError {
    FetchError::Interrupted { target: target.to_owned(), source: Some(source.into()) }
}
