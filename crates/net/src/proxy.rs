//! The proxy by which a command in its sandbox reaches the hosts that its owner named.
//!
//! It is given a socket that listens within the sandbox, so that there is no path, no port of this machine and no process
//! between the two. Each connection is judged by `policy`, entered into the book, looked up here, and made to an address
//! that was judged after the lookup. Requests in clear are read and written anew; a tunnel carries TLS alone, to the host
//! that its first message names (RFC 9110 sections 7.6 and 9.3.6; RFC 6066 section 3).

mod budget;
mod forward;
mod hello;
mod tunnel;

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use moltbot_config::limits;
use moltbot_config::settings::OutboundConfig;
use moltbot_policy::network::{EgressPermit, Purpose, Way, outbound};
use moltbot_policy::{Recorded, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::authorities::Authorities;
use crate::error::FetchError;
use crate::recording::{self, SharedBook};
use crate::stream::LazyConnector;
use budget::Budget;
pub use budget::Traffic;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// The way out of one command's sandbox. Cheap to make: no certificate is read before one is needed.
pub struct Proxy {
    rules: OutboundConfig,
    book: SharedBook,
    actor: String,
    budget: Arc<Budget>,
    connector: LazyConnector,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("actor", &self.actor).finish_non_exhaustive()
    }
}

impl Proxy {
    /// A way out for one command, whose connections `book` is told as those of `actor`.
    pub fn new(rules: OutboundConfig, authorities: Authorities, book: SharedBook, actor: String) -> Self {
        let bytes = u64::from(rules.max_megabytes).saturating_mul(1_000_000);
        let budget = Arc::new(Budget::new(bytes));
        Self { rules, book, actor, budget, connector: LazyConnector::new(authorities) }
    }

    /// What went through until now.
    pub fn traffic(&self) -> Traffic {
        self.budget.traffic()
    }

    /// Answers at a socket that listens within the sandbox, until the future is dropped, which ends every connection.
    ///
    /// # Errors
    /// When the descriptor is no socket that listens.
    pub async fn serve(self: Arc<Self>, listener: OwnedFd) -> io::Result<()> {
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(limits::PROXY_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let (stream, _) = listener.accept().await?;
            while connections.try_join_next().is_some() {}
            let proxy = Arc::clone(&self);
            connections.spawn(async move {
                proxy.converse(stream).await;
                drop(place);
            });
        }
    }

    /// One connection of a command, for as long as it may last.
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let longest = Duration::from_secs(self.rules.max_seconds.into());
        let mut tunnels = JoinSet::new();
        let (ready, mut upgraded) = tokio::sync::mpsc::channel(1);
        let answer = |request| {
            let (proxy, ready) = (Arc::clone(&self), ready.clone());
            async move { Ok::<_, Infallible>(proxy.answer(request, ready).await) }
        };
        let served = async {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .half_close(true)
                .header_read_timeout(limits::PROXY_HEAD)
                .max_buf_size(limits::PROXY_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer))
                .with_upgrades()
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a command's connection to its proxy broke off");
            }
            if let Ok(tunnel) = upgraded.try_recv() {
                tunnels.spawn(Arc::clone(&self).tunnel(tunnel));
                tunnels.join_next().await;
            }
        };
        if timeout(longest, served).await.is_err() {
            tracing::info!(actor = %self.actor, "a connection of a command was ended: it lasted too long");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        ready: tokio::sync::mpsc::Sender<tunnel::Opened>,
    ) -> Answer {
        let answered = match *request.method() {
            Method::CONNECT => self.open_tunnel(request, &ready).await,
            _ => self.forward(request).await,
        };
        answered.unwrap_or_else(|error| told(&error))
    }

    /// Judges a connection and enters it, or its refusal, into the book.
    async fn judge(&self, host: &str, port: u16, way: Way) -> Result<Recorded<EgressPermit>, FetchError> {
        match outbound(&self.rules, host, port, way, &self.actor) {
            Ok(permit) => {
                let permit = recording::enter(permit, &self.book).await?;
                self.budget.opened();
                Ok(permit)
            }
            Err(refusal) => Err(self.refused(&format!("{host}:{port}"), refusal).await),
        }
    }

    /// A refusal, once the book was told of it.
    async fn refused(&self, target: &str, refusal: Refusal) -> FetchError {
        self.budget.refused();
        let target = target.chars().take(300).flat_map(char::escape_default).collect();
        recording::enter_refused(Purpose::Command, target, &self.actor, &refusal, &self.book).await;
        FetchError::Refused(refusal)
    }
}

/// What a command is told when it has no connection.
fn told(error: &FetchError) -> Answer {
    let status = match error {
        FetchError::Refused(_) => StatusCode::FORBIDDEN,
        FetchError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        FetchError::Unrecorded(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    plain_answer(status, format!("moltbot: {error}\n"))
}

fn plain_answer(status: StatusCode, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// A request that is no plain question to a proxy.
fn unclear(message: &str) -> Refusal {
    Refusal::new("outbound_request_unclear", message)
}
