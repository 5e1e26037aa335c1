//! One HTTP request, in one order: its head, the open ways, tries of its source, its credential, the book,
//! and only then its route. A stranger learns nothing from asking for a path.

mod answer;
mod completions;
mod embeddings;
mod hooks;
mod invoke;
mod openapi;
mod patient;
mod responses;
pub(crate) mod route;
mod upgrade;
mod views;
mod webhooks;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use moltbot_config::limits;
use moltbot_net::{Accepted, Wire};
use moltbot_policy::Refusal;
use moltbot_policy::authentication::{Locality, Presented, Tailnet, UNAUTHORIZED};
use moltbot_policy::authorization::{Grant, grant_request};
use moltbot_policy::network::{Caller, RequestHead};
use moltbot_policy::pairing::TokenDigest;
use moltbot_policy::penalty::Offence;
use moltbot_policy::throttle::Source;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::clients::{Opening, Registered};
use crate::connection::Peer;
use crate::gate::Seat;
use crate::shared::{Shared, lock};
use crate::sign_in::{Claim, SignInError, SignedIn};
use answer::Body;
use patient::Patient;

/// The headers that carry the token, besides `Authorization`, under each brand.
const TOKEN_HEADERS: [&str; 3] = ["x-moltbot-token", "x-clawdbot-token", "x-openclaw-token"];
/// The headers by which a proxy shows itself.
const FORWARDING: [&str; 4] = ["forwarded", "x-real-ip", "via", "x-forwarded"];
/// The code of a refusal for want of a place, in the book.
const CROWDED: &str = "too_many_connections";
/// When somebody may come back for whom there was no place.
const CROWDED_PAUSE: Duration = Duration::from_secs(5);
/// The code of a refusal of another user at the owner's socket, in the book.
const OTHER_USER: &str = "other_user";
/// What such a connection is told.
const OTHERS: &[u8] = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// What a connection beyond the limits is told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The connection that requests come over.
#[derive(Clone, Copy)]
struct Link {
    peer: SocketAddr,
    /// Whether nobody between the peer and this machine can read it.
    encrypted: bool,
    /// The user whose program is at the other end, when that is on this machine and can be told.
    user: Option<u32>,
    /// Whether it came through the gateway's own socket.
    socket: bool,
}

/// One connection: its place, and who has signed in on it. A request's session lasts until the next one or the end.
struct Line {
    link: Link,
    seat: Arc<Seat>,
    session: Mutex<Option<Registered>>,
    /// Cut when the session is ended from outside.
    cut: CancellationToken,
}

/// Sets up TLS where it is asked for, then serves one connection until it ends or becomes a WebSocket.
pub(crate) async fn serve(shared: Arc<Shared>, accepted: Accepted, peer: SocketAddr, seat: Seat) {
    // Asked before anything is read: whoever connects from this machine is there now.
    let (user, socket) = (accepted.user(peer), accepted.is_through_socket());
    let given_up = seat.given_up();
    // Boxed, so that who is served does not keep room for it.
    let opened = tokio::select! {
        opened = Box::pin(accepted.open()) => opened,
        () = given_up => return note_refusal(&shared, peer.ip(), CROWDED),
    };
    match opened {
        Ok(wire) => {
            let link = Link { peer, encrypted: wire.is_encrypted(), user, socket };
            serve_wire(shared, wire, link, seat).await;
        }
        Err(error) => {
            if error.kind() == std::io::ErrorKind::TimedOut {
                seat.is_to_blame(Offence::Late);
            }
            tracing::debug!(%error, "a connection ended before TLS was set up");
        }
    }
}

async fn serve_wire(shared: Arc<Shared>, wire: Wire, link: Link, seat: Seat) {
    let tracker = shared.connections.clone();
    let stopping = shared.stopping.clone();
    let peer = link.peer;
    let seat = Arc::new(seat);
    let given_up = seat.given_up();
    let sat = Arc::clone(&seat);
    let noted = Arc::clone(&shared);
    let cut = CancellationToken::new();
    let line = Arc::new(Line { link, seat, session: Mutex::default(), cut: cut.clone() });
    let service = service_fn(move |request| {
        let (shared, line) = (Arc::clone(&shared), Arc::clone(&line));
        async move { Ok::<_, Infallible>(Box::pin(respond(shared, line, request)).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(limits::HEADERS)
        .serve_connection(TokioIo::new(Patient::new(wire)), service)
        .with_upgrades();
    let serving = async move {
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = given_up => return note_refusal(&noted, peer.ip(), CROWDED),
            () = cut.cancelled() => return tracing::debug!("a connection was cut: its session was ended"),
            () = stopping.cancelled() => {
                sat.makes_room();
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            if let Some(offence) = offence(&error) {
                sat.is_to_blame(offence);
            }
            tracing::debug!(%error, "a connection ended early");
        }
    };
    tracker.track_future(serving).await;
}

/// Tells a connection that there is no room, without waiting for anything.
pub(crate) fn turn_away(shared: &Arc<Shared>, accepted: Accepted, peer: SocketAddr) {
    if let Err(error) = accepted.turn_away(BUSY) {
        tracing::debug!(%error, "a connection was turned away unheard");
    }
    note_refusal(shared, peer.ip(), CROWDED);
}

/// Lets a connection go that came through the owner's socket and is of somebody else. Nothing of it is read.
pub(crate) fn refuse_other(shared: &Arc<Shared>, accepted: Accepted, peer: SocketAddr) {
    if let Err(error) = accepted.turn_away(OTHERS) {
        tracing::debug!(%error, "a connection was turned away unheard");
    }
    note_refusal(shared, peer.ip(), OTHER_USER);
}

/// Counts a refusal for the book, which has one record of each source and minute.
fn note_refusal(shared: &Arc<Shared>, client: IpAddr, code: &'static str) {
    if let Some(told) = shared.sign_in.count_refusal(client, code) {
        let shared = Arc::clone(shared);
        drop(tokio::spawn(async move { shared.sign_in.enter_refusals(vec![told]).await }));
    }
}

/// What is wrong with a connection that ends like that before anybody has signed in.
fn offence(error: &hyper::Error) -> Option<Offence> {
    if error.is_timeout() {
        Some(Offence::Late)
    } else if error.is_parse() {
        Some(Offence::Malformed)
    } else {
        None
    }
}

async fn respond(shared: Arc<Shared>, line: Arc<Line>, mut request: Request<Incoming>) -> Response<Body> {
    let (link, seat) = (line.link, &line.seat);
    let hops = Hops::of(request.headers());
    let head = RequestHead { encrypted: link.encrypted, ..head(request.headers(), &hops) };
    let caller = shared.front.caller(link.peer.ip(), &head);
    let judged = shared.front.judge(&head).and_then(|()| caller.clone());
    let caller = match judged {
        Ok(caller) => caller.run_by(link.user, shared.owner),
        Err(refusal) => {
            seat.makes_room(); // what it is charged with is charged here, and to whom
            not_looked_at(&shared, caller.map_or(link.peer.ip(), |caller| caller.client), &refusal);
            return answer::error(StatusCode::FORBIDDEN, refusal.code, &refusal.message);
        }
    };
    if request.method() == Method::GET && request.uri().path() == "/healthz" {
        seat.makes_room();
        return answer::text("ok");
    }
    if shared.readyz && request.method() == Method::GET && request.uri().path() == "/readyz" {
        seat.makes_room();
        return views::ready(&shared).await;
    }
    if seat.speaks_for(caller).is_err() {
        seat.makes_room();
        note_refusal(&shared, caller.client, CROWDED);
        return crowded();
    }
    if let Some(hooks) = shared.hooks()
        && hooks.below(request.uri().path()).is_some()
    {
        seat.is_judged();
        return hooks::answer(&shared, &hooks, caller, seat, request).await;
    }
    if let Some(served) = shared.channels.posted_at(request.uri().path())
        && let Some(inlet) = &served.inlet
    {
        seat.is_judged();
        return webhooks::answer(&shared, served, inlet, caller, seat, request).await;
    }
    let tailnet = match &shared.tailscale {
        None => Tailnet::Unclaimed,
        Some(tailscale) => tailscale.ask(link.peer.ip(), &head).await,
    };
    let Caller { client, locality } = caller;
    let peer = Peer { client, locality, tailnet, socket: link.socket };
    if upgrade::is_asked_for(request.headers()) {
        return upgrade::accept(shared, peer, Arc::clone(seat), &mut request);
    }
    seat.is_judged();
    match sign_in(&shared, peer, &line, request.headers()).await {
        Ok(grant) => {
            seat.makes_room();
            route::answer(&shared, &grant, request).await
        }
        Err(error) => {
            seat.makes_room();
            refused(&error)
        }
    }
}

/// A request for a foreign name or of a foreign page is charged to whom it comes from. On this machine that is a page or a
/// proxy, and never the console, which sends neither.
fn not_looked_at(shared: &Arc<Shared>, client: IpAddr, refusal: &Refusal) {
    tracing::debug!(code = refusal.code, cause = %refusal.cause, "a request was not looked at");
    if matches!(refusal.code, "host_refused" | "origin_refused") {
        shared.gate.punish(Source::of_peer(client, Locality::Remote), Offence::Foreign);
    }
    note_refusal(shared, client, refusal.code);
}

/// There are too many others that have not signed in.
fn crowded() -> Response<Body> {
    let message = "too many connections that have not signed in; try again in a moment";
    let mut response = answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    answer::retry_after(&mut response, CROWDED_PAUSE);
    response
}

/// What the head says about where the request comes from. A header that is there twice or is not text counts
/// as there and as nobody's.
fn head<'a>(headers: &'a HeaderMap, hops: &'a Hops) -> RequestHead<'a> {
    RequestHead {
        encrypted: false,
        host: single(headers, header::HOST).unwrap_or_default(),
        origin: single(headers, header::ORIGIN).unwrap_or(Some("null")),
        fetch_site: single(headers, HeaderName::from_static("sec-fetch-site")).unwrap_or(Some("cross-site")),
        forwarded: headers
            .keys()
            .any(|name| FORWARDING.iter().any(|prefix| name.as_str().starts_with(prefix))),
        forwarded_host: headers.contains_key("x-forwarded-host"),
        forwarded_proto: headers.contains_key("x-forwarded-proto"),
        tailscale_login: single(headers, HeaderName::from_static("tailscale-user-login")).unwrap_or(Some("")),
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
    peer: Peer,
    line: &Line,
    headers: &HeaderMap,
) -> Result<Arc<Grant>, SignInError> {
    let bearer = bearer(headers);
    let held = bearer.as_ref().map(TokenDigest::of);
    let Peer { client, locality, tailnet, socket } = peer;
    let claim = Claim {
        client,
        presented: bearer.map(Presented::bearer).unwrap_or_default(),
        device: None,
        locality,
        tailnet,
        bearers: Some(&shared.devices),
        way: if socket { "unix-http" } else { "http" },
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
