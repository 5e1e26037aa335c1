//! HTTP to a server of this machine through a socket in the file system.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use moltbot_config::limits;
use moltbot_policy::network::{ForwardPermit, SocketPermit};
use moltbot_policy::{Recorded, Unrecorded};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::recording::{SharedBook, enter};

/// Why a server of this machine gave no answer.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum LocalSocketError {
    /// The exchange broke off, or the answer is too large.
    #[error("the server behind {path} gave no whole answer")]
    Answer { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// Somebody else than root or this user serves it.
    #[error(
        "{path} is served by the user {server}, who is not believed; only root and the gateway's own user are"
    )]
    Foreign { path: PathBuf, server: u32 },
    /// Nothing was heard for too long.
    #[error("the server behind {path} did not answer within {} s", limits::LOCAL_SOCKET.as_secs())]
    Silent { path: PathBuf },
    /// Nobody serves it.
    #[error("nobody serves {path}")]
    Unreachable { path: PathBuf, source: io::Error },
    /// The book could not be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// What a server of this machine answered.
#[derive(Debug)]
pub struct LocalAnswer {
    /// The status.
    pub status: u16,
    /// The version of what it tells (`ETag`).
    pub version: Option<HeaderValue>,
    /// All of it.
    pub body: Bytes,
}

/// The way to one server, which was recorded when it was opened. Each request connects anew.
#[derive(Debug)]
pub struct LocalSocket {
    permit: Recorded<SocketPermit>,
}

impl LocalSocket {
    /// Enters the permit into the book. Nothing is connected yet.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub async fn open(permit: SocketPermit, book: &SharedBook) -> Result<Self, LocalSocketError> {
        Ok(Self { permit: enter(permit, book).await? })
    }

    /// Asks for a path with its query, and gives the whole answer, of at most [`limits::LOCAL_SOCKET_BYTES`].
    ///
    /// # Errors
    /// When nobody who is believed answers in time.
    pub async fn get(&self, host: &str, path_and_query: &str) -> Result<LocalAnswer, LocalSocketError> {
        self.ask(Request::get(path_and_query).header(header::HOST, host), Bytes::new()).await
    }

    /// Has what the server passes on changed to `body`, as that permit says, when its version is still `version`.
    ///
    /// # Errors
    /// When nobody who is believed answers in time.
    pub async fn change_forwards(
        &self,
        _permit: &Recorded<ForwardPermit>,
        host: &str,
        path: &str,
        version: &HeaderValue,
        body: Vec<u8>,
    ) -> Result<LocalAnswer, LocalSocketError> {
        let request = Request::post(path).header(header::HOST, host).header(header::IF_MATCH, version);
        self.ask(request.header(header::CONTENT_TYPE, "application/json"), body.into()).await
    }

    async fn ask(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<LocalAnswer, LocalSocketError> {
        let asked = timeout(limits::LOCAL_SOCKET, self.try_ask(request, body)).await;
        asked.map_err(|_| LocalSocketError::Silent { path: self.path().to_owned() })?
    }

    fn path(&self) -> &Path {
        self.permit.permit().path()
    }

    async fn try_ask(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<LocalAnswer, LocalSocketError> {
        let stream = self.connect().await?;
        let path = || self.path().to_owned();
        let broken = |source: hyper::Error| LocalSocketError::Answer { path: path(), source: source.into() };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driving = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection through a socket broke off");
            }
        });
        let request = request
            .body(Full::new(body))
            .map_err(|source| LocalSocketError::Answer { path: path(), source: source.into() })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let version = response.headers().get(header::ETAG).cloned();
        let body = Limited::new(response.into_body(), limits::LOCAL_SOCKET_BYTES).collect().await;
        driving.abort();
        let body = body.map_err(|source| LocalSocketError::Answer { path: path(), source })?;
        Ok(LocalAnswer { status, version, body: body.to_bytes() })
    }

    /// Connects, and looks at who serves the socket: its place may be one where others can put theirs.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door to the network, and the permit is recorded"
    )]
    async fn connect(&self) -> Result<UnixStream, LocalSocketError> {
        let unreachable = |source| LocalSocketError::Unreachable { path: self.path().to_owned(), source };
        let stream = UnixStream::connect(self.path()).await.map_err(unreachable)?;
        let server = stream.peer_cred().map_err(unreachable)?.uid();
        if self.permit.permit().believes(server, rustix::process::geteuid().as_raw()) {
            return Ok(stream);
        }
        Err(LocalSocketError::Foreign { path: self.path().to_owned(), server })
    }
}
