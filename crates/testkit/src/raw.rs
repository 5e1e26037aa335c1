//! A peer that breaks the rules: bytes as they are, and WebSocket frames of any shape. Blocking.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a port of loopback, with a deadline for every read.
///
/// # Panics
/// When nobody listens.
#[expect(clippy::disallowed_methods, reason = "a peer of the tests, to a gateway on loopback")]
pub fn dial(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a gateway that listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option of a connection");
    stream.set_nodelay(true).expect("an option of a connection");
    stream
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status; 0 when the peer closed the connection without one.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body, without its chunk headers.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The `data:` lines of an event stream.
    pub fn events(&self) -> Vec<String> {
        let text = self.text();
        text.lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.trim().to_owned())
            .collect()
    }
}

/// Sends a whole request with these headers and a body, and reads the answer to its end.
pub fn http(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("host: 127.0.0.1:{port}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    http_bytes(port, &[head.as_bytes(), body].concat())
}

/// Sends these bytes and reads until the peer closes the connection.
pub fn http_bytes(port: u16, request: &[u8]) -> HttpAnswer {
    let mut stream = dial(port);
    // A peer that refuses early may close while we still write; its answer is there all the same.
    let sent = stream.write_all(request);
    let mut bytes = Vec::new();
    let received = stream.read_to_end(&mut bytes);
    if bytes.is_empty() {
        drop((sent, received));
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> HttpAnswer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (head, body) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut answer = HttpAnswer { status, head, body: body.to_vec() };
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        answer.body = unchunk(body);
    }
    answer
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        let (size, after) = rest.split_at(at);
        let size =
            std::str::from_utf8(size).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        let chunk = after.get(2..).unwrap_or_default();
        body.extend_from_slice(chunk.get(..size).unwrap_or(chunk));
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    body
}

/// A WebSocket whose frames are written by hand.
pub struct RawSocket {
    stream: TcpStream,
}

/// One frame that came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RawFrame {
    /// The peer closes, with a code unless it gave none.
    Close(Option<u16>, String),
    /// The connection ended without a close frame.
    Gone,
    /// Any other frame: its opcode and payload.
    Other(u8, Vec<u8>),
    /// A text.
    Text(String),
}

impl RawSocket {
    /// Upgrades a connection at `/`.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn open(port: u16) -> Self {
        Self::upgrade(port, &[]).unwrap_or_else(|answer| panic!("no upgrade: {answer:?}"))
    }

    /// Upgrades a connection and signs in with the token, to read and to write.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn sign_in(port: u16, token: &str) -> Self {
        let mut socket = Self::open(port);
        let params = json!({
            "minProtocol": 3, "maxProtocol": 4, "scopes": ["operator.read", "operator.write"],
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
            "auth": {"token": token},
        });
        let connect = json!({"type": "req", "id": "c", "method": "connect", "params": params});
        socket.text(&connect.to_string()).expect("a gateway that reads");
        for expected in ["connect.challenge", "hello-ok", "health"] {
            match socket.next_frame() {
                RawFrame::Text(text) if text.contains(expected) => {}
                other => panic!("{other:?} instead of {expected}"),
            }
        }
        socket
    }

    /// Upgrades a connection with these headers besides; `host` replaces the usual one.
    ///
    /// # Errors
    /// The answer, when it is not 101.
    pub fn upgrade(port: u16, headers: &[(&str, &str)]) -> Result<Self, HttpAnswer> {
        let mut stream = dial(port);
        let mut head = String::from("GET / HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("host: 127.0.0.1:{port}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n";
        head += "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("a gateway that reads");
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            answer.extend(byte);
        }
        if answer.starts_with(b"HTTP/1.1 101") {
            return Ok(Self { stream });
        }
        drop(stream.shutdown(Shutdown::Write));
        drop(stream.read_to_end(&mut answer));
        Err(parse(&answer))
    }

    /// A second handle on the same connection, to write on one thread and read on another.
    ///
    /// # Panics
    /// When the process has no more file descriptors.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a file descriptor") }
    }

    /// Lets the kernel take only so many bytes, give or take, before somebody reads them.
    ///
    /// # Panics
    /// When the kernel does not know that option.
    pub fn receive(&self, bytes: usize) {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, bytes)
            .expect("an option of a connection");
    }

    /// Lets writes fail that the peer does not take in that time.
    ///
    /// # Panics
    /// When the time is zero.
    pub fn give_up_writing_after(&self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).expect("an option of a connection");
    }

    /// Sends any bytes.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a text in one frame.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.frame(true, 1, text.as_bytes())
    }

    /// Sends one masked frame. Opcodes: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn frame(&mut self, last: bool, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = head(last, opcode, u64::try_from(payload.len()).unwrap_or(u64::MAX));
        frame.extend_from_slice(payload); // the mask of `head` is zero, so masking changes nothing
        self.stream.write_all(&frame)
    }

    /// Sends the head of a frame of `length` bytes, and nothing of its payload.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn declare(&mut self, opcode: u8, length: u64) -> io::Result<()> {
        self.stream.write_all(&head(true, opcode, length))
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> RawFrame {
        self.read().unwrap_or(RawFrame::Gone)
    }

    /// Reads on to the end of the connection: the close frame, or that there was none.
    pub fn end(&mut self) -> RawFrame {
        loop {
            match self.next_frame() {
                RawFrame::Other(..) | RawFrame::Text(_) => {}
                end @ (RawFrame::Close(..) | RawFrame::Gone) => return end,
            }
        }
    }

    /// The next frame that is no event.
    pub fn next_answer(&mut self) -> RawFrame {
        loop {
            match self.next_frame() {
                RawFrame::Text(text) if text.starts_with(r#"{"type":"event""#) => {}
                other => return other,
            }
        }
    }

    fn read(&mut self) -> io::Result<RawFrame> {
        let [first, second] = self.exactly::<2>()?;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.exactly()?)),
            127 => u64::from_be_bytes(self.exactly()?),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.stream.read_exact(&mut payload)?;
        Ok(match first & 0x0f {
            1 => RawFrame::Text(String::from_utf8_lossy(&payload).into_owned()),
            8 => {
                let (code, reason) = payload.split_at_checked(2).unwrap_or((&[], &[]));
                let code = code.try_into().ok().map(u16::from_be_bytes);
                RawFrame::Close(code, String::from_utf8_lossy(reason).into_owned())
            }
            opcode => RawFrame::Other(opcode, payload),
        })
    }

    fn exactly<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).map(|()| bytes)
    }
}

/// The head of a masked frame, with a mask of zeros.
fn head(last: bool, opcode: u8, length: u64) -> Vec<u8> {
    let mut head = vec![(u8::from(last) << 7) | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => head.push(0x80 | short),
        (_, Ok(medium)) => {
            head.push(0x80 | 126);
            head.extend(medium.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}
