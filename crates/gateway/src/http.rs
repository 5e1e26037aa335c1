//! One HTTP request, in one order: its head, the open ways, tries of its source, its credential, the book,
//! and only then its route. A stranger learns nothing from asking for a path.

pub(crate) mod admission;
mod answer;
mod completions;
mod patient;
pub(crate) mod route;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::authentication::{Presented, UNAUTHORIZED};
use moltbot_policy::authorization::{Grant, grant_request};
use moltbot_policy::network::{Caller, RequestHead};
use moltbot_policy::pairing::TokenDigest;
use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::clients::{Opening, Registered};
use crate::shared::{Shared, lock};
use crate::sign_in::{Claim, SignInError, SignedIn};
use admission::Seat;
use answer::Body;
use patient::Patient;

/// Header lines of one request: browsers send 20.
const HEADERS: usize = 64;
/// The headers that carry the token, besides `Authorization`, under each brand.
const TOKEN_HEADERS: [&str; 3] = ["x-moltbot-token", "x-clawdbot-token", "x-openclaw-token"];
/// The headers by which a proxy shows itself.
const FORWARDING: [&str; 4] = ["forwarded", "x-real-ip", "via", "x-forwarded"];
/// What a connection beyond the limits is told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// One connection: its place, and who has signed in on it. A request's session lasts until the next one or the end.
struct Line {
    peer: SocketAddr,
    /// The user whose program is at the other end, when that is on this machine and can be told.
    user: Option<u32>,
    seat: Arc<Seat>,
    session: Mutex<Option<Registered>>,
    /// Cut when the session is ended from outside.
    cut: CancellationToken,
}

/// Serves one connection until it ends or becomes a WebSocket.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, seat: Seat) {
    let tracker = shared.connections.clone();
    let stopping = shared.stopping.clone();
    let user = user_of(&stream, peer);
    let cut = CancellationToken::new();
    let line =
        Arc::new(Line { peer, user, seat: Arc::new(seat), session: Mutex::default(), cut: cut.clone() });
    let service = service_fn(move |request| {
        let (shared, line) = (Arc::clone(&shared), Arc::clone(&line));
        async move { Ok::<_, Infallible>(Box::pin(respond(shared, line, request)).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .with_upgrades();
    let serving = async move {
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = cut.cancelled() => return tracing::debug!("a connection was cut: its session was ended"),
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a connection ended early");
        }
    };
    tracker.track_future(serving).await;
}

/// Asked before anything is read: whoever connects from this machine is there now.
fn user_of(stream: &TcpStream, peer: SocketAddr) -> Option<u32> {
    let local = stream.local_addr().ok().filter(|_| peer.ip().to_canonical().is_loopback())?;
    moltbot_net::owner_of(local, peer)
}

/// Tells a connection that there is no room, without waiting for anything.
pub(crate) fn turn_away(stream: &TcpStream) {
    if let Err(error) = stream.try_write(BUSY) {
        tracing::debug!(%error, "a connection was turned away unheard");
    }
}

async fn respond(shared: Arc<Shared>, line: Arc<Line>, mut request: Request<Incoming>) -> Response<Body> {
    let hops = Hops::of(request.headers());
    let head = head(request.headers(), &hops);
    let judged = shared.front.judge(&head).and_then(|()| shared.front.caller(line.peer.ip(), &head));
    let caller = match judged {
        Ok(caller) => caller.run_by(line.user, shared.owner),
        Err(refusal) => {
            tracing::debug!(code = refusal.code, cause = %refusal.cause, "a request was not looked at");
            return answer::error(StatusCode::FORBIDDEN, refusal.code, &refusal.message);
        }
    };
    if request.method() == Method::GET && request.uri().path() == "/healthz" {
        return answer::text("ok");
    }
    if upgrade::is_asked_for(request.headers()) {
        return upgrade::accept(shared, caller, Arc::clone(&line.seat), &mut request);
    }
    match sign_in(&shared, caller, &line, request.headers()).await {
        Ok(grant) => {
            line.seat.signed_in();
            route::answer(&shared, &grant, request).await
        }
        Err(error) => refused(&error),
    }
}

/// What the head says about where the request comes from. A header that is there twice or is not text counts
/// as there and as nobody's.
fn head<'a>(headers: &'a HeaderMap, hops: &'a Hops) -> RequestHead<'a> {
    RequestHead {
        host: single(headers, header::HOST).unwrap_or_default(),
        origin: single(headers, header::ORIGIN).unwrap_or(Some("null")),
        fetch_site: single(headers, HeaderName::from_static("sec-fetch-site")).unwrap_or(Some("cross-site")),
        forwarded: headers
            .keys()
            .any(|name| FORWARDING.iter().any(|prefix| name.as_str().starts_with(prefix))),
        x_forwarded_for: hops.x_forwarded_for.as_deref(),
        forwarded_for: hops.forwarded.as_deref(),
    }
}

/// The lines of the headers that name hops, joined in their order.
struct Hops {
    x_forwarded_for: Option<String>,
    forwarded: Option<String>,
}

impl Hops {
    fn of(headers: &HeaderMap) -> Self {
        let joined = |name: HeaderName| {
            // What is no text is no address either.
            let lines: Vec<&str> =
                headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("unreadable")).collect();
            (!lines.is_empty()).then(|| lines.join(","))
        };
        Self {
            x_forwarded_for: joined(HeaderName::from_static("x-forwarded-for")),
            forwarded: joined(header::FORWARDED),
        }
    }
}

/// The one value of a header; an error when it has several, or one that is not text.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

#[derive(Debug)]
struct Ambiguous;

async fn sign_in(
    shared: &Shared,
    caller: Caller,
    line: &Line,
    headers: &HeaderMap,
) -> Result<Arc<Grant>, SignInError> {
    let bearer = bearer(headers);
    let held = bearer.as_ref().map(TokenDigest::of);
    let claim = Claim {
        client: caller.client,
        presented: bearer.map(Presented::bearer).unwrap_or_default(),
        device: None,
        locality: caller.locality,
        bearers: Some(&shared.devices),
        way: "http",
    };
    let standing = |device: &str| shared.devices.standing(device);
    let signed_in = shared.sign_in.judge(claim, |identity| grant_request(identity, standing)).await?;
    register(shared, line, signed_in, held)
}

/// Lists the request's session. What was revoked or changed until then is seen here; what is from now on cuts the
/// connection.
fn register(
    shared: &Shared,
    line: &Line,
    signed_in: SignedIn,
    held: Option<TokenDigest>,
) -> Result<Arc<Grant>, SignInError> {
    let SignedIn { grant, credential } = signed_in;
    let grant = Arc::new(grant);
    let id = moltbot_vault::random_id().map_err(|error| {
        tracing::error!(%error, "no id can be drawn for a session");
        SignInError::Refused(Refusal::new("no_randomness", UNAUTHORIZED))
    })?;
    let opening = Opening { id, says: None, credential, since_ms: shared.now_ms() };
    let session = shared.clients.open_request(opening, Arc::clone(&grant), &line.cut);
    *lock(&line.session) = Some(session);
    let is_current = grant.by_device_token() || credential == shared.sign_in.credential();
    if is_current && shared.devices.stands(&grant, held) {
        return Ok(grant);
    }
    lock(&line.session).take();
    Err(SignInError::Refused(Refusal::new("outdated", UNAUTHORIZED)))
}

/// The credential of a request: `Authorization: Bearer`, else a brand's own header.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let authorization = single(headers, header::AUTHORIZATION).ok().flatten();
    let scheme = authorization.and_then(|value| value.split_once(' '));
    let token = scheme.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    let own = || {
        let names = TOKEN_HEADERS.iter().map(|name| HeaderName::from_static(name));
        names.filter_map(|name| single(headers, name).ok().flatten()).next()
    };
    token.or_else(own).map(|token| SecretString::from(token.trim().to_owned()))
}

fn refused(error: &SignInError) -> Response<Body> {
    match error {
        SignInError::Limited(limited) => {
            let seconds = limited.retry_after.as_millis().div_ceil(1000);
            let message = format!("too many failed sign-ins; try again in {seconds} s");
            let mut response = answer::error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", &message);
            answer::retry_after(&mut response, limited.retry_after);
            response
        }
        SignInError::Refused(_) => answer::unauthorized(),
        SignInError::Unrecorded(unrecorded) => {
            tracing::error!(%unrecorded, "a sign-in could not be recorded");
            let message = "sign-in is not possible now: it cannot be recorded";
            answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_credential_is_read_from_one_of_its_headers() {
        for (lines, expected) in [
            (vec![("authorization", "Bearer t1")], Some("t1")),
            (vec![("authorization", "bearer  t1 ")], Some("t1")),
            (vec![("authorization", "Basic dTpw")], None),
            (vec![("authorization", "Bearer a"), ("authorization", "Bearer b")], None),
            (vec![("x-openclaw-token", "t2")], Some("t2")),
            (vec![("authorization", "Bearer t1"), ("x-moltbot-token", "t2")], Some("t1")),
            (vec![], None),
        ] {
            let found = bearer(&headers(&lines));
            assert_eq!(found.as_ref().map(|secret| secret.expose_secret()), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_nobodys() {
        let told = |lines: &[(&'static str, &'static str)], check: fn(RequestHead<'_>) -> bool| {
            let headers = headers(lines);
            check(head(&headers, &Hops::of(&headers)))
        };
        assert!(told(&[("host", "localhost"), ("host", "evil.test")], |head| head.host.is_none()));
        let origins = [("origin", "http://localhost"), ("origin", "http://evil.test")];
        assert!(told(&origins, |head| head.origin == Some("null")));
        assert!(told(&[("x-forwarded-for", "10.0.0.1")], |head| head.forwarded));
        assert!(told(&[("host", "localhost")], |head| !head.forwarded));
        let twice = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        assert!(told(&twice, |head| head.x_forwarded_for == Some("1.1.1.1,2.2.2.2")));
    }
}
