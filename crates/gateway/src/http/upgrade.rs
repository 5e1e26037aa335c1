//! From an HTTP request to a WebSocket, whose first act is the challenge.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use moltbot_policy::penalty::Offence;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answer::{self, Body};
use super::patient::Patient;
use super::{CROWDED, note_refusal, single};
use crate::connection::{Connection, Open, Peer};
use crate::gate::Seat;
use crate::shared::Shared;
use crate::socket::Socket;

/// Whether the request asks to become something else. Any path will do: clients use several.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Agrees to a proper request, and serves the WebSocket in a task of its own.
pub(super) fn accept(
    shared: Arc<Shared>,
    peer: Peer,
    seat: Arc<Seat>,
    request: &mut Request<Incoming>,
) -> Response<Body> {
    let Some(key) = websocket_key(request) else {
        let message = "only upgrades to WebSocket version 13 are answered";
        let mut response = answer::error(StatusCode::UPGRADE_REQUIRED, "upgrade_refused", message);
        let version = HeaderName::from_static("sec-websocket-version");
        response.headers_mut().insert(version, HeaderValue::from_static("13"));
        return response;
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return answer::error(StatusCode::BAD_REQUEST, "upgrade_refused", "the key cannot be used");
    };
    let upgrade = hyper::upgrade::on(request);
    let tracker = shared.connections.clone();
    tracker.spawn(serve(shared, peer, seat, upgrade));
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The key of a proper request for a WebSocket.
fn websocket_key(request: &Request<Incoming>) -> Option<&str> {
    let headers = request.headers();
    let value = |name| single(headers, name).ok().flatten();
    let has = |name, word: &str| {
        value(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let proper = request.method() == Method::GET
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    value(header::SEC_WEBSOCKET_KEY).filter(|key| proper && key.len() == 24)
}

/// A WebSocket from its challenge to its end. What happens once, at its beginning, is boxed, so that the
/// thousands that idle afterwards do not keep room for it.
async fn serve(shared: Arc<Shared>, peer: Peer, seat: Arc<Seat>, upgrade: OnUpgrade) {
    let Some(open) = Box::pin(open(shared, peer, &seat, upgrade)).await else { return };
    seat.makes_room();
    Box::pin(open.serve()).await;
}

/// Everything up to `hello-ok`. A peer that takes no bytes keeps its seat no longer than one that sends none, and neither
/// keeps it when it must make room for another one of this machine.
async fn open(
    shared: Arc<Shared>,
    peer: Peer,
    seat: &Arc<Seat>,
    upgrade: OnUpgrade,
) -> Option<Connection<Open>> {
    let (left, given_up, client) = (seat.time_left(), seat.given_up(), peer.client);
    let noted = Arc::clone(&shared);
    let opening = async {
        let challenging =
            async { Connection::challenge(socket(upgrade).await?, peer, shared, Arc::clone(seat)).await };
        match timeout(left, challenging).await {
            Ok(challenged) => challenged?.sign_in().await,
            Err(_) => {
                seat.is_to_blame(Offence::Late);
                None
            }
        }
    };
    tokio::select! {
        opened = opening => opened,
        () = given_up => {
            note_refusal(&noted, client, CROWDED);
            None
        }
    }
}

/// The socket under an upgraded connection. HTTP's buffers stay behind.
async fn socket(upgrade: OnUpgrade) -> Option<Socket> {
    let upgraded = upgrade.await.inspect_err(|error| tracing::debug!(%error, "an upgrade failed")).ok()?;
    match upgraded.downcast::<TokioIo<Patient>>() {
        Ok(Parts { io, read_buf, .. }) => {
            Some(Socket::new(io.into_inner().into_stream(), read_buf.to_vec()).await)
        }
        Err(_) => None, // every connection of ours is one of these
    }
}
