//! HTTP/1.1 as far as clients of the Bot API use it: one request after the other on a connection, and its end when the test
//! wants it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::methods::{self, Refusal};
use super::parameters::{Parameters, decode};
use super::{Fault, Shared};
use crate::model::serve_each;

/// The largest request that is read, in bytes.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Serves until `stopped` is dropped.
pub(super) fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    serve_each(listener, stopped, |stream| converse(stream, Arc::clone(shared)));
}

struct Request {
    path: String,
    query: String,
    kind: String,
    body: Vec<u8>,
    last: bool,
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("an option of a connection that is open");
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    while let Some(request) = read_request(&mut reading).await {
        if shared.is_down() {
            return; // as a machine that is off, as far as TCP lets a listener play it
        }
        let last = request.last;
        let answering = answer(request, &shared);
        // A client that hangs up ends its long poll.
        let answered = tokio::select! {
            answered = answering => answered,
            _gone = reading.read_u8() => return,
        };
        // What was done before an outage is answered: a lost answer is a fault of its own.
        let Some(reply) = answered else { return };
        if send(&mut writing, reply).await.is_err() || last {
            return;
        }
    }
}

/// A status with a body.
struct Reply {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, kind: "application/json", body: body.to_string().into_bytes() }
    }

    fn refused(refusal: &Refusal) -> Self {
        let mut body = json!({"ok": false, "error_code": refusal.code, "description": refusal.description});
        if let (Some(parameters), Some(body)) = (&refusal.parameters, body.as_object_mut()) {
            body.insert("parameters".into(), parameters.clone());
        }
        Self::json(refusal.code, &body)
    }
}

/// What is answered; nothing when the connection is to end instead.
async fn answer(request: Request, shared: &Arc<Shared>) -> Option<Reply> {
    let mut parts = request.path.trim_start_matches('/').splitn(3, '/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if first == "file" {
        let token = second.strip_prefix("bot").unwrap_or_default();
        return Some(download(shared, token, parts.next().unwrap_or_default()));
    }
    let token = first.strip_prefix("bot").unwrap_or_default();
    if !shared.is_token(token) {
        return Some(Reply::refused(&Refusal::unauthorized()));
    }
    let fault = shared.next_fault(second);
    match &fault {
        Some(Fault::Busy(seconds)) => return Some(Reply::refused(&Refusal::busy(*seconds))),
        Some(Fault::Drop) => return None,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Refuse(code, description)) => {
            return Some(Reply::refused(&Refusal::new(*code, description)));
        }
        Some(Fault::Status(status)) => {
            return Some(Reply {
                status: *status,
                kind: "text/html",
                body: b"<html>upstream</html>".to_vec(),
            });
        }
        Some(Fault::DropAfter) | None => {}
    }
    let parameters = match Parameters::read(&request.query, &request.kind, &request.body) {
        Ok(parameters) => parameters,
        Err(refusal) => return Some(Reply::refused(&refusal)),
    };
    let result = methods::call(shared, second, parameters).await;
    let is_cut = matches!(&result, Err(refusal) if refusal.code == methods::CUT);
    if is_cut || matches!(fault, Some(Fault::DropAfter)) {
        return None;
    }
    Some(match result {
        Ok(result) => Reply::json(200, &json!({"ok": true, "result": result})),
        Err(refusal) => Reply::refused(&refusal),
    })
}

fn download(shared: &Shared, token: &str, path: &str) -> Reply {
    if !shared.is_token(token) {
        return Reply::refused(&Refusal::unauthorized());
    }
    match shared.state().file_at(path) {
        Some(body) => Reply { status: 200, kind: "application/octet-stream", body },
        None => Reply::refused(&Refusal::not_found()),
    }
}

/// The next request; nothing when the client is gone.
async fn read_request(reading: &mut BufReader<OwnedReadHalf>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reading.read_u8().await.ok()?);
        (head.len() < REQUEST_BYTES).then_some(())?;
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let length =
        header("content-length").unwrap_or("0").parse().ok().filter(|length| *length < REQUEST_BYTES)?;
    let mut body = vec![0; length];
    reading.read_exact(&mut body).await.ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        path: decode(path),
        query: query.to_owned(),
        kind: header("content-type").unwrap_or_default().to_lowercase(),
        body,
        last: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    })
}

async fn send(writing: &mut OwnedWriteHalf, reply: Reply) -> std::io::Result<()> {
    let Reply { status, kind, body } = reply;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Telegram\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    writing.write_all(head.as_bytes()).await?;
    writing.write_all(&body).await
}
