//! Attacks that are data: each file has the frames to send before anybody has signed in, and how it must end.

use std::path::Path;

use serde_json::{Value, json};

use crate::client::now_ms;
use crate::raw::{RawFrame, RawSocket};

/// One attack on the handshake.
pub struct Attack {
    /// The file's name without its end.
    pub name: String,
    frames: Vec<Value>,
    expect: Value,
}

/// Reads every attack of a folder, in the order of their names.
///
/// # Panics
/// When one of them cannot be read.
#[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
pub fn attacks(folder: &Path) -> Vec<Attack> {
    let entries = std::fs::read_dir(folder).expect("a folder of attacks");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an attack").path()).collect();
    files.sort();
    let read = |file: &Path| -> Value {
        let text = std::fs::read_to_string(file).expect("an attack");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let attack = |file: &Path| {
        let mut attack = read(file);
        Attack {
            name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            frames: attack.get("frames").and_then(Value::as_array).cloned().expect("frames"),
            expect: attack.get_mut("expect").map(Value::take).expect("how it must end"),
        }
    };
    files.iter().map(|file| attack(file)).collect()
}

impl Attack {
    /// Plays it against the gateway on `port`. In its frames `$TOKEN`, `$NONCE` and `"$NOW"` stand for the right
    /// ones. Failed sign-ins are counted by the gateway: sign in between two attacks.
    ///
    /// # Panics
    /// When it does not end as the file says.
    pub fn play(&self, port: u16, token: &str) {
        let name = &self.name;
        let mut socket = RawSocket::open(port);
        let nonce = nonce(&socket.next_frame());
        for frame in &self.frames {
            let text = frame.as_str().map_or_else(|| frame.to_string(), str::to_owned);
            let text = text.replace("$TOKEN", token).replace("$NONCE", &nonce);
            socket.text(&text.replace("\"$NOW\"", &now_ms().to_string())).expect("a gateway that reads");
        }
        if let Some(error) = self.expect.get("error").and_then(Value::as_str) {
            require_error(name, &socket.next_frame(), error, token);
        }
        let expected = (
            self.expect.get("close").and_then(Value::as_u64),
            self.expect.get("reason").and_then(Value::as_str).expect("a reason"),
        );
        match socket.next_frame() {
            RawFrame::Close(code, reason) => {
                assert_eq!(code.map(u64::from), expected.0, "{name}: {reason}");
                assert!(reason.starts_with(expected.1), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?} instead of a close frame"),
        }
    }
}

fn nonce(challenge: &RawFrame) -> String {
    let RawFrame::Text(challenge) = challenge else { panic!("{challenge:?} instead of a challenge") };
    let challenge: Value = serde_json::from_str(challenge).expect("a challenge");
    challenge.pointer("/payload/nonce").and_then(Value::as_str).expect("a nonce").to_owned()
}

fn require_error(name: &str, answer: &RawFrame, error: &str, token: &str) {
    let RawFrame::Text(answer) = answer else { panic!("{name}: {answer:?} instead of an answer") };
    assert!(!answer.contains(token), "{name}: the token is repeated");
    let answer: Value = serde_json::from_str(answer).expect("an answer");
    let (ok, id) = (answer.get("ok"), answer.get("id"));
    assert_eq!((ok, id), (Some(&json!(false)), Some(&json!("c1"))), "{name}: {answer}");
    let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    assert!(message.starts_with(error), "{name}: {answer}");
}
