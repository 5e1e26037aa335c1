//! Requests to the one destination that a client is bound to.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use moltbot_config::limits;
use moltbot_policy::network::{Destination, EgressPermit, Purpose, egress, egress_through};
use moltbot_policy::{Book, Recorded, Refusal};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use url::Url;

use crate::authorities::Authorities;
use crate::environment_proxy::EnvironmentProxy;
use crate::error::FetchError;
use crate::http_client;
use crate::process::{self, Connector};
use crate::recording::{self, SharedBook};

/// What may connect to one destination for one purpose. Cheap to make and to clone: nothing is connected,
/// and no certificate is read, before the first request.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<ClientInner>,
}

struct ClientInner {
    purpose: Purpose,
    destination: Destination,
    book: SharedBook,
    authorities: Authorities,
    /// The proxy that it goes through.
    proxy: Option<EnvironmentProxy>,
    /// Who hands out the connections, where it is to a process of ours.
    connector: Option<Arc<dyn Connector>>,
    http: OnceCell<reqwest::Client>,
}

impl std::fmt::Debug for ClientInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientInner").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for one destination and one purpose, whose decisions `book` is told.
    pub fn new(purpose: Purpose, destination: Destination, book: impl Book + Send + Sync + 'static) -> Self {
        Self::trusting(Authorities::System, purpose, destination, Arc::new(book))
    }

    /// Like [`Self::new`], for a server that these authorities vouch for.
    pub fn trusting(
        authorities: Authorities,
        purpose: Purpose,
        destination: Destination,
        book: SharedBook,
    ) -> Self {
        let (connector, http) = (None, OnceCell::new());
        let inner = ClientInner { purpose, destination, book, authorities, proxy: None, connector, http };
        Self { inner: Arc::new(inner) }
    }

    /// What requests to the process of a local model are for: the beginning of their URLs.
    pub const PROCESS: &str = "http://moltbot-model.invalid/v1";

    /// A client for the process of a local model, whose connections `connector` hands out.
    pub fn of_process(connector: Arc<dyn Connector>, book: impl Book + Send + Sync + 'static) -> Self {
        let inner = ClientInner {
            purpose: Purpose::Provider,
            destination: Destination::process(),
            book: Arc::new(book),
            authorities: Authorities::System,
            proxy: None,
            connector: Some(connector),
            http: OnceCell::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same client, which goes through the proxy of the environment where that is for its destination.
    #[must_use]
    pub fn through(self, proxy: Option<&EnvironmentProxy>) -> Self {
        let inner = &self.inner;
        let Some(proxy) = proxy.filter(|proxy| proxy.rule.holds(&inner.destination)) else { return self };
        let inner = ClientInner {
            purpose: inner.purpose,
            destination: inner.destination.clone(),
            book: Arc::clone(&inner.book),
            authorities: inner.authorities.clone(),
            proxy: Some(proxy.clone()),
            connector: inner.connector.clone(),
            http: OnceCell::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Judges a connection to `url` and enters the decision into the book, also a refusal. The door may then send many
    /// requests: one decision for each provider and turn.
    ///
    /// # Errors
    /// When the URL is not at the client's destination, or the book cannot be written.
    pub async fn open(&self, url: &Url, actor: &str) -> Result<Door, FetchError> {
        let permit = match self.judge(url, actor) {
            Ok(permit) => permit,
            Err(refusal) => return Err(self.refused(url, actor, refusal).await),
        };
        let permit = recording::enter(permit, &self.inner.book).await?;
        Ok(Door { permit, client: self.clone() })
    }

    /// Like [`Self::open`] for several clients of one book, with one wait for it.
    pub(crate) async fn open_all(
        clients: Vec<(Self, &Url)>,
        book: &SharedBook,
        actor: &str,
    ) -> Result<Vec<Door>, FetchError> {
        let mut permits = Vec::with_capacity(clients.len());
        for (client, url) in &clients {
            match client.judge(url, actor) {
                Ok(permit) => permits.push(permit),
                Err(refusal) => return Err(client.refused(url, actor, refusal).await),
            }
        }
        let permits = recording::enter_all(permits, book).await?;
        let doors = permits.into_iter().zip(clients).map(|(permit, (client, _))| Door { permit, client });
        Ok(doors.collect())
    }

    fn judge(&self, url: &Url, actor: &str) -> Result<EgressPermit, Refusal> {
        let ClientInner { purpose, destination, proxy, .. } = &*self.inner;
        let permit = match proxy {
            Some(proxy) => {
                // A proxy that is an address is never resolved.
                if let Some(address) = proxy.rule.destination().address() {
                    http_client::judge(proxy.rule.destination(), address)?;
                }
                egress_through(*purpose, url, destination, &proxy.rule, actor)?
            }
            None => egress(*purpose, url, destination, actor)?,
        };
        http_client::judge_literal(&self.inner.destination, url)?;
        Ok(permit)
    }

    /// A refusal, once the book was told of it.
    async fn refused(&self, url: &Url, actor: &str, refusal: Refusal) -> FetchError {
        let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let target = format!("{}{port}", url.host_str().unwrap_or_default());
        let inner = &self.inner;
        recording::enter_refused(inner.purpose, target, actor, &refusal, &inner.book).await;
        FetchError::Refused(refusal)
    }
}

/// A judged and recorded way to one destination.
#[derive(Debug)]
pub struct Door {
    permit: Recorded<EgressPermit>,
    client: Client,
}

/// How a request acts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Reads.
    Get,
    /// Sends a body.
    Post,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// How it acts.
    pub method: Method,
    /// What it asks for: a URL at the door's destination.
    pub url: Url,
    /// Headers. Each value is treated as a secret.
    pub headers: Vec<(String, SecretString)>,
    /// The body.
    pub body: Option<Bytes>,
    /// The longest silence: until the head of the answer is there, and between two pieces of its body.
    pub idle: Duration,
}

impl Door {
    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When the URL or an address is out of reach, nothing answers in time, or the answer is a redirect.
    /// Any other status is an answer.
    pub async fn send(&self, request: Request) -> Result<Response, FetchError> {
        self.send_with(None, request).await
    }

    /// Like [`Self::send`], at a path that has a secret in it, as some vendors want it. It takes the place of the URL's path;
    /// the URL itself, which errors and logs may tell of, has no part of it.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_at(&self, path: &SecretString, request: Request) -> Result<Response, FetchError> {
        self.send_with(Some(path), request).await
    }

    async fn send_with(&self, path: Option<&SecretString>, request: Request) -> Result<Response, FetchError> {
        let url = request.url.clone();
        match self.try_send(path, request).await {
            Err(FetchError::Refused(refusal)) => {
                Err(self.client.refused(&url, self.permit.permit().actor(), refusal).await)
            }
            answer => answer,
        }
    }

    async fn try_send(&self, path: Option<&SecretString>, request: Request) -> Result<Response, FetchError> {
        let target = self.judge(&request.url)?;
        let idle = request.idle;
        let asked = timeout(idle, self.execute(path, request, &target)).await;
        let answer = match asked {
            Ok(answer) => answer?,
            Err(_) => return Err(FetchError::Timeout { target, what: "answering", limit: idle }),
        };
        let status = answer.status().as_u16();
        if (300..400).contains(&status) {
            return Err(FetchError::Redirected { target, status });
        }
        Ok(Response::new(answer, target, idle))
    }

    async fn execute(
        &self,
        path: Option<&SecretString>,
        request: Request,
        target: &str,
    ) -> Result<reqwest::Response, FetchError> {
        let http = match &self.client.inner.connector {
            Some(connector) => {
                return process::execute(&**connector, into_http(request, target)?, target).await;
            }
            None => self.http(&request.url, target).await?,
        };
        let mut request = into_http(request, target)?;
        if let Some(path) = path {
            request.url_mut().set_path(path.expose_secret());
        }
        http.execute(request).await.map_err(|error| FetchError::sending(error, target.to_owned()))
    }

    /// Whether anything accepts connections at a literal address, without a word of HTTP: much cheaper than a
    /// request when nothing does.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door to the network, and the permit is recorded"
    )]
    pub(crate) async fn knock(&self, url: &Url, patience: Duration) -> bool {
        if self.judge(url).is_err() {
            return false;
        }
        let destination = self.permit.permit().destination();
        let host = destination.host().trim_matches(['[', ']']);
        let Ok(address) = host.parse::<std::net::IpAddr>() else { return false };
        let connected = timeout(patience, TcpStream::connect((address, destination.port()))).await;
        matches!(connected, Ok(Ok(_)))
    }

    /// Judges a URL by the permit, and names its target.
    fn judge(&self, url: &Url) -> Result<String, Refusal> {
        let permit = self.permit.permit();
        let destination = permit.destination();
        let target = destination.target();
        if !permit.covers(url) {
            let host = url.host_str().unwrap_or_default();
            return Err(Refusal::new(
                "egress_refused",
                format!("{host} is not {target}, which is all this client may reach"),
            ));
        }
        http_client::judge_literal(destination, url)?;
        Ok(target)
    }

    async fn http(&self, url: &Url, target: &str) -> Result<&reqwest::Client, FetchError> {
        let failed = |source| FetchError::Client { target: target.to_owned(), source };
        let inner = &self.client.inner;
        let made = inner.http.get_or_try_init(|| async {
            let (destination, url) = (inner.destination.clone(), url.clone());
            let (authorities, proxy) = (inner.authorities.clone(), inner.proxy.clone());
            let build = move || http_client::build(&destination, &url, &authorities, proxy.as_ref());
            let built = tokio::task::spawn_blocking(build).await;
            built.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.without_url().into()))
        });
        made.await
    }
}

fn into_http(request: Request, target: &str) -> Result<reqwest::Request, FetchError> {
    let method = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
    };
    let mut made = reqwest::Request::new(method, request.url);
    for (name, value) in &request.headers {
        let unusable = || FetchError::Header { target: target.into(), what: format!("header {name:?}") };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| unusable())?;
        value.set_sensitive(true);
        made.headers_mut().insert(header, value);
    }
    *made.body_mut() = request.body.map(Into::into);
    Ok(made)
}

/// The head of an answer, with its body still to come.
#[derive(Debug)]
pub struct Response {
    /// The status, never 3xx.
    pub status: u16,
    /// How long the server asks us to wait.
    pub retry_after: Option<Duration>,
    /// What the body is.
    pub content_type: Option<String>,
    answer: reqwest::Response,
    target: String,
    idle: Duration,
}

impl Response {
    fn new(answer: reqwest::Response, target: String, idle: Duration) -> Self {
        let header = |name| header_text(answer.headers(), &name);
        Self {
            status: answer.status().as_u16(),
            retry_after: wait_asked(answer.headers()),
            content_type: header(CONTENT_TYPE),
            answer,
            target,
            idle,
        }
    }

    /// Reads the body as text; what is not UTF-8 in it is replaced.
    ///
    /// # Errors
    /// When it is larger than `max` bytes, ends early or pauses for too long.
    pub async fn text(self, max: usize) -> Result<String, FetchError> {
        let mut body = self.stream(max);
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.chunk().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The body, piece by piece, `max` bytes at most.
    pub fn stream(self, max: usize) -> Body {
        Body { answer: self.answer, target: self.target, idle: self.idle, max, left: max }
    }
}

/// A body that arrives in pieces. Dropping it ends the connection.
#[derive(Debug)]
pub struct Body {
    answer: reqwest::Response,
    target: String,
    idle: Duration,
    max: usize,
    left: usize,
}

impl Body {
    /// The next piece, or nothing at the end. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// When the body is too large, ends early, or pauses for longer than the request allowed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let target = || self.target.clone();
        let piece = match timeout(self.idle, self.answer.chunk()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => {
                let source = Some(error.without_url().into());
                return Err(FetchError::Interrupted { target: target(), source });
            }
            Err(_) => {
                return Err(FetchError::Timeout {
                    target: target(),
                    what: "sending its answer",
                    limit: self.idle,
                });
            }
        };
        let length = piece.as_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return Err(FetchError::TooLarge { target: target(), max: self.max }),
        }
        Ok(piece)
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. A date counts from the `Date` of the same answer, so that it does
/// not matter whether the server's clock agrees with ours; without that it says nothing.
fn wait_asked(headers: &HeaderMap) -> Option<Duration> {
    let asked = header_text(headers, &RETRY_AFTER)?;
    let asked = asked.trim();
    let wait = match asked.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
            date(asked)?.duration_since(date(&header_text(headers, &DATE)?)?).ok()?
        }
    };
    Some(wait.min(limits::PROVIDER_WAIT))
}
