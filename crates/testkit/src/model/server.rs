//! Just enough HTTP/1.1 to serve a client that behaves, and to misbehave towards it where the script says so.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::render::{Format, Piece, pieces};
use super::{ModelRequest, Shared, anthropic, gemini, ollama, openai, responses};

/// The largest request that is read, in bytes.
const REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// A listener on a free port of loopback.
#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in of the tests, on loopback; crate net holds our own door"
)]
pub(crate) fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.set_nonblocking(true).expect("a listener for Tokio");
    let address = listener.local_addr().expect("the port of the listener");
    (listener, address)
}

/// Serves until `stopped` is dropped.
pub(super) fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    serve_each(listener, stopped, |stream| converse(stream, Arc::clone(shared)));
}

/// Has each connection served by a task of its own, until `stopped` is dropped.
pub(crate) fn serve_each<F: Future<Output = ()> + Send + 'static>(
    listener: std::net::TcpListener,
    stopped: oneshot::Receiver<()>,
    converse: impl Fn(TcpStream) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener for Tokio");
        let accepting = async {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(converse(stream));
            }
        };
        tokio::select! {
            () = accepting => {}
            _stopped = stopped => {}
        }
    });
}

/// Answers the requests of one connection, one after the other, until either side closes it.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("an option of a connection that is open");
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    while let Some(request) = read_request(&mut reading).await {
        let last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        match answer(request, &shared, &mut reading, &mut writing).await {
            Ok(Next::Continue) if !last => {}
            Ok(Next::Close | Next::Continue) => return,
            Err(_gone) => return shared.hung_up(),
        }
    }
}

/// Whether the connection may be used again.
enum Next {
    Close,
    Continue,
}

/// The next request; nothing when the client is gone or sends what no client of ours sends.
async fn read_request(reading: &mut BufReader<OwnedReadHalf>) -> Option<ModelRequest> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reading.read_u8().await.ok()?);
        (head.len() < REQUEST_BYTES).then_some(())?;
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let mut request = ModelRequest { number: 0, method, path, headers, body: Value::Null };
    let length =
        request.header("content-length").unwrap_or("0").parse().ok().filter(|n| *n < REQUEST_BYTES)?;
    let mut body = vec![0; length];
    reading.read_exact(&mut body).await.ok()?;
    request.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(request)
}

async fn answer(
    request: ModelRequest,
    shared: &Shared,
    reading: &mut BufReader<OwnedReadHalf>,
    writing: &mut OwnedWriteHalf,
) -> std::io::Result<Next> {
    if request.path.ends_with("/models") {
        let head = Piece::Head(200, "application/json", None);
        return send(vec![head, Piece::Bytes(openai::models().into_bytes())], reading, writing).await;
    }
    let (request, reply) = shared.answer(request);
    let path = request.path.split('?').next().unwrap_or_default();
    let mut format: Box<dyn Format + Send> = match path {
        path if path.ends_with("/messages") => Box::new(anthropic::Anthropic::default()),
        path if path.ends_with("/responses") => Box::new(responses::Responses::default()),
        path if path.ends_with("/api/chat") => Box::new(ollama::Ollama::default()),
        path if path.contains("/v1beta/models/") => Box::new(gemini::Gemini::default()),
        _ => Box::new(openai::OpenAi::to(&request)),
    };
    let pieces = pieces(reply, &request, format.as_mut());
    drop(format);
    send(pieces, reading, writing).await
}

/// Sends the pieces as a chunked body. An error means that the client let go before its end.
async fn send(
    pieces: Vec<Piece>,
    reading: &mut BufReader<OwnedReadHalf>,
    writing: &mut OwnedWriteHalf,
) -> std::io::Result<Next> {
    for piece in pieces {
        match piece {
            Piece::Head(code, kind, retry_after) => {
                let retry =
                    retry_after.map_or(String::new(), |seconds| format!("retry-after: {seconds}\r\n"));
                let head = format!(
                    "HTTP/1.1 {code} Scripted\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n{retry}\r\n"
                );
                writing.write_all(head.as_bytes()).await?;
            }
            Piece::Bytes(bytes) if bytes.is_empty() => {}
            Piece::Bytes(bytes) => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend(bytes);
                chunk.extend(b"\r\n");
                writing.write_all(&chunk).await?;
            }
            Piece::Pause(delay) => until_gone(reading, delay).await?,
            Piece::Stall => until_gone(reading, std::time::Duration::MAX).await?,
            Piece::Cut => return Ok(Next::Close),
        }
    }
    writing.write_all(b"0\r\n\r\n").await?;
    Ok(Next::Continue)
}

/// Waits that long, or until the client closes the connection, which is an error.
async fn until_gone(
    reading: &mut BufReader<OwnedReadHalf>,
    delay: std::time::Duration,
) -> std::io::Result<()> {
    match tokio::time::timeout(delay, reading.read_u8()).await {
        Err(_elapsed) => Ok(()),
        Ok(_) => Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
}
