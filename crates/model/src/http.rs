//! Requests over one connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use moltbot_config::limits::LOCAL_MODEL_REQUEST_BYTES;
use rustix::time::ClockId;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::answer::{Answer, Heading};
use crate::refusal::Refusal;
use crate::request::{self, Request, Telling};
use crate::work::{Question, Queue};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct House {
    model: String,
    context: Value,
    /// When the model was loaded, in seconds since 1970.
    created: i64,
    queue: Arc<Queue>,
    answers: AtomicU64,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl House {
    /// A house that serves the model that was said to be ready.
    pub(crate) fn new(model: String, ready: &Value, queue: Arc<Queue>) -> Self {
        let context = ready.get("context").cloned().unwrap_or_default();
        Self { model, context, created: now(), queue, answers: AtomicU64::new(0) }
    }

    /// Serves a connection until it ends.
    pub(crate) async fn serve(self: Arc<Self>, stream: UnixStream) {
        let service = service_fn(move |request| {
            let house = Arc::clone(&self);
            async move { Ok::<_, Infallible>(house.respond(request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.max_buf_size(HEAD_BYTES).header_read_timeout(None);
        // How a connection ends is of no use to anybody but its other end.
        drop(server.serve_connection(TokioIo::new(stream), service).await);
    }

    async fn respond(&self, request: http::Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let answered = match (path.as_str(), request.method()) {
            ("/v1/chat/completions", &Method::POST) => self.chat(request.into_body()).await,
            ("/v1/models", &Method::GET) => Ok(json(StatusCode::OK, &self.models())),
            ("/v1/chat/completions", _) => Ok(wrong_method("POST")),
            ("/v1/models", _) => Ok(wrong_method("GET")),
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing here but /v1/chat/completions and /v1/models",
            )),
        };
        answered.unwrap_or_else(|refusal| json(refusal.status, &refusal.body()))
    }

    async fn chat(&self, body: Incoming) -> Result<Response<Body>, Refusal> {
        let body = Limited::new(body, LOCAL_MODEL_REQUEST_BYTES).collect().await.map_err(|cause| {
            if cause.is::<LengthLimitError>() {
                let message = format!("the request is longer than {LOCAL_MODEL_REQUEST_BYTES} bytes");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
            } else {
                Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", "the request did not come whole")
            }
        })?;
        let request = request::read(&body.to_bytes(), &self.model)?;
        let Request { conversation, offered, choice, stops, most, telling } = request;
        let (asker, words) = mpsc::unbounded_channel();
        self.queue.put(Question { conversation, choice, stops, most, asker })?;
        let answer = Answer::begin(self.heading(), offered, words).await?;
        match telling {
            Telling::Whole => Ok(json(StatusCode::OK, &answer.whole().await?)),
            Telling::Stream => Ok(events(answer, false)),
            Telling::StreamWithUsage => Ok(events(answer, true)),
        }
    }

    fn heading(&self) -> Heading {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        let id = format!("chatcmpl-{:x}-{number}", self.created);
        Heading { id, created: now(), model: self.model.clone() }
    }

    fn models(&self) -> Value {
        let model = json!({
            "id": self.model,
            "object": "model",
            "created": self.created,
            "owned_by": "local",
            "context_length": self.context,
        });
        json!({ "object": "list", "data": [model] })
    }
}

/// What a connection is told that is one too many, in the bytes of HTTP.
pub(crate) fn too_many() -> String {
    let body = Refusal::busy("too many connections to the local model; close one").body().to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The largest head of a request.
const HEAD_BYTES: usize = 16 * 1024;

/// The time, in seconds since 1970.
fn now() -> i64 {
    rustix::time::clock_gettime(ClockId::Realtime).tv_sec
}

fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn wrong_method(allowed: &'static str) -> Response<Body> {
    let refusal = Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path takes {allowed} alone"),
    );
    let mut response = json(refusal.status, &refusal.body());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn events(answer: Answer, usage: bool) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(answer.stream(usage)).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
