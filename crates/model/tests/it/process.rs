//! The real program, with a control socket; and a client of its connections.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    socketpair,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The name of models in tests.
pub(crate) const NAME: &str = "test/model-1";

/// A running program.
pub(crate) struct Model {
    child: Child,
    control: Option<OwnedFd>,
}

impl Model {
    /// Starts the program, and hands it nothing.
    #[expect(clippy::disallowed_methods, reason = "the program that is tested")]
    pub(crate) fn start() -> Self {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (near, far) = pair.unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_moltbot-model"))
            .stdin(Stdio::from(far))
            .env_clear()
            .spawn()
            .unwrap();
        Self { child, control: Some(near) }
    }

    /// Starts it with the file of these bytes: what it says to that.
    pub(crate) fn load(file: &[u8]) -> (Self, Value) {
        Self::load_with(file, json!({}))
    }

    /// The same, with other members of the packet.
    pub(crate) fn load_with(file: &[u8], members: Value) -> (Self, Value) {
        let digest: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut load = json!({ "name": NAME, "sha256": digest, "context": 4096, "threads": 1 });
        for (key, value) in members.as_object().unwrap() {
            load[key] = value.clone();
        }
        let mut model = Self::start();
        model.send(&json!({ "load": load }), &memory_file(file));
        let said = model.hear().expect("an answer to load");
        (model, said)
    }

    /// One that is ready.
    pub(crate) fn ready(file: &[u8]) -> Self {
        let (model, said) = Self::load(file);
        assert!(said["ready"].is_object(), "{said}");
        model
    }

    /// Sends a packet with a descriptor.
    pub(crate) fn send(&self, packet: &Value, descriptor: &OwnedFd) {
        let text = packet.to_string();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let socket = self.control.as_ref().unwrap();
        rustix::net::sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)
            .unwrap();
    }

    /// The next packet; `None` when the program has closed its end.
    pub(crate) fn hear(&mut self) -> Option<Value> {
        let mut bytes = [0; 4096];
        let socket = self.control.as_ref().unwrap();
        let (_, length) = rustix::net::recv(socket, &mut bytes, RecvFlags::empty()).ok()?;
        (length > 0).then(|| serde_json::from_slice(&bytes[..length]).unwrap())
    }

    /// Closes the control socket: how the program ends.
    pub(crate) fn close(mut self) -> ExitStatus {
        drop(self.control.take());
        self.child.wait().unwrap()
    }

    /// How the program ends by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// What the kernel says of the process.
    #[expect(clippy::disallowed_methods, reason = "what the kernel says of a process is a file")]
    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap()
    }

    /// A connection.
    pub(crate) fn connect(&self) -> Connection {
        let (near, far) = UnixStream::pair().unwrap();
        self.send(&json!({ "connection": {} }), &OwnedFd::from(far));
        Connection(near)
    }

    /// The answer to one request on a connection of its own.
    pub(crate) fn chat(&self, request: &Value) -> (u16, Value) {
        let mut connection = self.connect();
        connection.post(request);
        connection.answer()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file in memory.
pub(crate) fn memory_file(bytes: &[u8]) -> OwnedFd {
    let file = rustix::fs::memfd_create("model", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).unwrap();
    file.into()
}

/// A connection to the program.
pub(crate) struct Connection(UnixStream);

impl Connection {
    /// Sends a request for an answer.
    pub(crate) fn post(&mut self, request: &Value) {
        self.raw("POST", "/v1/chat/completions", request.to_string().as_bytes());
    }

    /// Sends a request.
    pub(crate) fn raw(&mut self, method: &str, path: &str, body: &[u8]) {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: model\r\ncontent-length: {}\r\n\r\n", body.len());
        self.0.write_all(head.as_bytes()).unwrap();
        self.0.write_all(body).unwrap();
    }

    /// An answer that is one JSON value.
    pub(crate) fn answer(&mut self) -> (u16, Value) {
        let (status, head, mut body) = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let length: usize = length.trim().parse().unwrap();
        while body.len() < length {
            let mut more = vec![0; length - body.len()];
            let read = self.0.read(&mut more).unwrap();
            assert!(read > 0, "the answer is cut off");
            body.extend(&more[..read]);
        }
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The head of an answer, and what came with it.
    pub(crate) fn head(&mut self) -> (u16, String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_lowercase();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, head, bytes[at + 4..].to_vec());
            }
            let mut more = [0; 4096];
            let read = self.0.read(&mut more).unwrap();
            assert!(read > 0, "no whole head of an answer: {}", String::from_utf8_lossy(&bytes));
            bytes.extend(&more[..read]);
        }
    }

    /// The events of an answer, up to the last one.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        let (status, head, body) = self.head();
        assert_eq!(status, 200, "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        let mut text = body;
        while !text.ends_with(b"\r\n0\r\n\r\n") {
            let mut more = [0; 4096];
            let read = self.0.read(&mut more).unwrap();
            assert!(read > 0, "the events are cut off");
            text.extend(&more[..read]);
        }
        let text = String::from_utf8(text).unwrap();
        let mut events: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"));
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// Waits until some bytes of an answer have come.
    pub(crate) fn wait(&mut self) {
        assert!(self.0.read(&mut [0; 64]).unwrap() > 0);
    }

    /// All that comes until the connection is closed.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// A request with one message of a user, and other members.
pub(crate) fn request(content: &str, members: Value) -> Value {
    let messages = json!([{ "role": "user", "content": content }]);
    let mut request = json!({ "model": NAME, "messages": messages, "temperature": 0 });
    for (key, value) in members.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

/// The text of an answer.
pub(crate) fn said(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

/// The text of events.
pub(crate) fn told(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}
