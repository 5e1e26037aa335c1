//! Requests to a process of ours: each on a connection that is handed to us, and that no network has.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use http::{HeaderValue, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::error::{Cause, FetchError};

/// What is handed to who asks for a connection.
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<OwnedFd, Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>>;

/// Who hands out connections to a process of ours.
pub trait Connector: Send + Sync {
    /// A connection: one end of a pair of sockets, which does not block. The process may be started for it.
    fn connect(&self) -> Connecting<'_>;
}

/// Sends a request on a connection of its own, which ends with the answer's body.
pub(crate) async fn execute(
    connector: &dyn Connector,
    request: reqwest::Request,
    target: &str,
) -> Result<reqwest::Response, FetchError> {
    let connect = |source| FetchError::Process { target: target.into(), source };
    let broken =
        |error: hyper::Error| FetchError::Interrupted { target: target.into(), source: Some(error.into()) };
    let handed = connector.connect().await.map_err(connect)?;
    let stream = stream(handed).map_err(|error| connect(error.into()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a process of ours broke off");
        }
    });
    let request = in_origin_form(request).map_err(connect)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok(response.map(reqwest::Body::wrap).into())
}

fn stream(handed: OwnedFd) -> io::Result<UnixStream> {
    UnixStream::from_std(std::os::unix::net::UnixStream::from(handed))
}

/// The request as a server that is no proxy is sent it: the path in its first line, and the host in a header.
fn in_origin_form(request: reqwest::Request) -> Result<http::Request<reqwest::Body>, Cause> {
    let host = HeaderValue::from_str(request.url().host_str().unwrap_or_default())?;
    let mut request = http::Request::<reqwest::Body>::try_from(request)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>()?;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}
