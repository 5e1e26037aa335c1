//! A server that answers each connection with the bytes it was given, and keeps what it was sent.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server does with one connection, after it has read the request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(String),
    /// Sends these bytes and then nothing more.
    Hang(String),
    /// Sends these bytes without waiting for a whole request, and closes.
    Interrupt(String),
}

pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers every connection alike.
    #[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
    pub(crate) async fn start(reply: Reply) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(answer(stream, reply.clone(), Arc::clone(&seen)));
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self, rest: &str) -> moltbot_net::Url {
        format!("http://127.0.0.1:{}{rest}", self.port).parse().expect("a URL")
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the requests").clone()
    }
}

async fn answer(mut stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let patient = !matches!(reply, Reply::Interrupt(_));
    while patient && !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    seen.lock().expect("the requests").push(String::from_utf8_lossy(&request).into_owned());
    match reply {
        Reply::Bytes(bytes) | Reply::Interrupt(bytes) => {
            stream.write_all(bytes.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Hang(bytes) => {
            stream.write_all(bytes.as_bytes()).await.ok();
            std::future::pending::<()>().await;
        }
    }
}

/// A whole answer with this status line and body.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}
