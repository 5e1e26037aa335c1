//! Posts updates to the webhook that is set: one at a time, in order, and again until it is answered yes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::state::{Webhook, update_id};
use super::{Fault, Shared};

/// The wait before a post that failed is tried again; twice as long each time, up to sixteen times.
const AGAIN: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Posts until the test is over.
pub(super) fn keep_posting(shared: &Arc<Shared>, port: u16) {
    let mut failures = 0;
    while !shared.ended.load(Ordering::Relaxed) {
        let next = {
            let state = shared.state();
            let state = if state.updates.is_empty() || state.webhook.is_none() || shared.is_down() {
                shared.changed.wait_timeout(state, AGAIN).expect("no thread panicked with the state").0
            } else {
                state
            };
            state.webhook.clone().zip(state.updates.front().cloned()).filter(|_| !shared.is_down())
        };
        let Some((webhook, update)) = next else { continue };
        let fault = shared.next_fault("post");
        let status = post(&webhook, &update, port, fault.as_ref());
        let number = update_id(&update);
        let mut state = shared.state();
        state.posts.push((number, status));
        if status.is_some_and(|status| (200..300).contains(&status)) {
            failures = 0;
            state.confirm(number + 1);
        } else {
            failures = (failures + 1).min(4);
            let why = status.map_or("Connection failed".into(), |status| {
                format!("Wrong response from the webhook: {status}")
            });
            let now = state.now();
            if let Some(webhook) = &mut state.webhook {
                webhook.failed = Some((now, why));
            }
        }
        drop(state);
        shared.touch();
        if failures > 0 {
            std::thread::sleep(AGAIN * 2_u32.pow(failures));
        }
    }
}

/// The status that is answered; nothing when the connection fails.
#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in of the tests, on loopback; crate net holds our own door"
)]
fn post(webhook: &Webhook, update: &Value, port: u16, fault: Option<&Fault>) -> Option<u16> {
    let rest = webhook.url.strip_prefix("https://").expect("an address that setWebhook took");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let secret = webhook.secret.as_ref();
    let secret =
        secret.map_or(String::new(), |secret| format!("X-Telegram-Bot-Api-Secret-Token: {secret}\r\n"));
    let body = update.to_string();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         X-Forwarded-For: 149.154.167.220\r\nX-Forwarded-Proto: https\r\n{secret}Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    if matches!(fault, Some(Fault::DropAfter)) {
        // The other side has answered, and nobody hears it.
        stream.read_exact(&mut [0]).ok()?;
        return None;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
