//! The answers of HTTP: small texts, JSON, errors in the form that OpenAI's libraries read, streams.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use moltbot_protocol::openai::ErrorBody;
use serde::Serialize;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole body of that content type.
pub(super) fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// One word, for anybody. The connection is closed after it: a stranger keeps no place.
pub(super) fn text(word: &'static str) -> Response<Body> {
    plain(StatusCode::OK, word)
}

/// JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    whole(status, "application/json; charset=utf-8", serde_json::to_vec(body).unwrap_or_default())
}

/// A few words about what went wrong. The connection is closed after them.
pub(super) fn plain(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = whole(status, "text/plain; charset=utf-8", words);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// JSON about what went wrong. The connection is closed after it.
pub(super) fn closing(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut response = json(status, body);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An error. The connection is closed after it: whoever was refused keeps no place.
pub(super) fn error(status: StatusCode, kind: &'static str, message: &str) -> Response<Body> {
    closing(status, &ErrorBody::new(kind, message))
}

/// What every failed sign-in is answered, as upstream does.
pub(super) fn unauthorized() -> Response<Body> {
    let body = serde_json::json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
    let mut response = json(StatusCode::UNAUTHORIZED, &body);
    let headers = response.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Says when to come back, in whole seconds.
pub(super) fn retry_after(response: &mut Response<Body>, wait: Duration) {
    let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

/// Server-sent events.
pub(super) fn events(stream: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    use futures_util::StreamExt as _;
    let frames = stream.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
