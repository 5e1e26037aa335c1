//! Lines to and from an IRC server.

use irc_proto::{Command, Message, Prefix};
use moltbot_config::limits;
use moltbot_net::{StreamReader, StreamWriter};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::driver::Broken;

/// Reads lines.
pub(super) struct Reader {
    stream: StreamReader,
    bytes: Vec<u8>,
}

impl Reader {
    pub(super) const fn new(stream: StreamReader) -> Self {
        Self { stream, bytes: Vec::new() }
    }

    /// The next message. What is none is passed over. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> Result<Message, Broken> {
        loop {
            while let Some(line) = self.take_line() {
                if let Ok(message) = line.parse() {
                    return Ok(message);
                }
            }
            if self.bytes.len() > limits::IRC_LINE_BYTES {
                return Err(Broken::passing("the IRC server sent a line that is longer than a line may be"));
            }
            let mut piece = [0; 2048];
            let read =
                self.stream.read(&mut piece).await.map_err(|error| Broken::passing(error.to_string()))?;
            if read == 0 {
                return Err(Broken::passing("the IRC server closed the connection"));
            }
            self.bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Writes lines, whoever wants to.
pub(super) struct Writer(Mutex<StreamWriter>);

impl Writer {
    pub(super) fn new(stream: StreamWriter) -> Self {
        Self(Mutex::new(stream))
    }

    /// Sends one line. A line end within it would be a command of whoever wrote it: the line ends there.
    pub(super) async fn line(&self, line: &str) -> Result<(), Broken> {
        let one = line.split(['\r', '\n', '\0']).next().unwrap_or_default();
        let bytes = Zeroizing::new([one.as_bytes(), b"\r\n"].concat());
        self.0.lock().await.send(&bytes).await.map_err(|error| Broken::passing(error.to_string()))
    }
}

/// The value of a tag of a message.
pub(super) fn tag<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let tags = message.tags.as_ref()?;
    tags.iter().find(|tag| tag.0 == name).and_then(|tag| tag.1.as_deref()).filter(|value| !value.is_empty())
}

/// A numeric answer and its parameters, known to the library or not.
pub(super) fn numeric(message: &Message) -> Option<(u16, &[String])> {
    match &message.command {
        #[expect(clippy::as_conversions, reason = "the discriminants are the three digits of the answer")]
        Command::Response(response, parameters) => Some((*response as u16, parameters)),
        Command::Raw(command, parameters) => Some((command.parse().ok()?, parameters)),
        _ => None,
    }
}

/// Who sent a message: nick, user and host. Nothing for one of the server's own.
pub(super) fn source(message: &Message) -> Option<(&str, &str, &str)> {
    match message.prefix.as_ref()? {
        Prefix::Nickname(nick, user, host) => Some((nick, user, host)),
        Prefix::ServerName(_) => None,
    }
}
