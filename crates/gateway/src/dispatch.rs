//! From one text message of an open connection to its answer: read, look up, demand the scope, call.
//!
//! Methods that only look at memory are answered at once; the others in a task of their own, so that one
//! that waits does not hold up those behind it.

use std::sync::Arc;

use moltbot_protocol::error::WireError;
use moltbot_protocol::frame::{FrameError, RequestFrame, ResponseFrame};
use moltbot_protocol::method::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connection::Open;
use crate::methods::{self, Call};
use crate::shared::Shared;

/// Answers a message now, or sees to it that it is answered later.
pub(crate) fn dispatch(shared: &Arc<Shared>, open: &Open, text: &str) -> Option<String> {
    let frame = match RequestFrame::parse(text) {
        Ok(frame) => frame,
        Err(error) => return Some(malformed(text, &error)),
    };
    match judge(&frame, open) {
        Ok(Method::Health) => answer_from_cache(shared, &frame, methods::health::Kind::Health),
        Ok(Method::Status) => answer_from_cache(shared, &frame, methods::health::Kind::Status),
        Ok(method) => answer_later(shared, open, frame, method),
        Err(error) => Some(failure(frame.id, error)),
    }
}

/// Which method it is, if this connection may call it.
fn judge(frame: &RequestFrame<'_>, open: &Open) -> Result<Method, WireError> {
    let Some(method) = Method::parse(&frame.method) else {
        return Err(WireError::invalid(match frame.method.as_str() {
            "connect" => "connect is only valid as the first request".to_owned(),
            unknown => format!("unknown method: {}", shortened(unknown)),
        }));
    };
    open.grant.require(method.scope()).map_err(|refusal| WireError::invalid(refusal.message))?;
    Ok(method)
}

fn shortened(name: &str) -> &str {
    name.get(..name.floor_char_boundary(100)).unwrap_or_default()
}

fn answer_from_cache(
    shared: &Arc<Shared>,
    frame: &RequestFrame<'_>,
    kind: methods::health::Kind,
) -> Option<String> {
    if frame.params.is_some()
        && let Err(error) = frame.params::<methods::health::Params>(&frame.method)
    {
        return Some(failure(frame.id.clone(), error));
    }
    // The cache is filled before the first `hello-ok` that tells of a health.
    let payload = shared.health.text(shared, kind)?;
    Some(success(&frame.id, &payload))
}

fn answer_later(
    shared: &Arc<Shared>,
    open: &Open,
    frame: RequestFrame<'_>,
    method: Method,
) -> Option<String> {
    let Some(place) = open.membership.outbox().begin_request() else {
        let error = WireError::unavailable("too many requests at once on this connection; wait for answers");
        return Some(failure(frame.id, error));
    };
    let params = frame.params.map(RawValue::to_owned);
    let call = Call {
        id: frame.id,
        method,
        params,
        grant: Arc::clone(&open.grant),
        session: Arc::clone(open.session.id()),
        node: open.node.clone(),
    };
    tokio::spawn(methods::answer(Arc::clone(shared), call, place));
    None
}

/// The answer to something that is no request: under its id, when it has one.
fn malformed(text: &str, error: &FrameError) -> String {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let named = serde_json::from_str::<Named>(text).ok().map(|named| named.id);
    let id = named.filter(|id| !id.is_empty() && id.len() <= moltbot_protocol::frame::REQUEST_ID_MAX);
    failure(id.unwrap_or_else(|| "invalid".into()), WireError::invalid(error.to_string()))
}

/// A failure as text.
pub(crate) fn failure(id: String, error: WireError) -> String {
    serde_json::to_string(&ResponseFrame::failure(id, error)).unwrap_or_default()
}

/// A success as text, around a payload that is text already.
pub(crate) fn success(id: &str, payload: &str) -> String {
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    let mut text = String::with_capacity(id.len() + payload.len() + 64);
    text.push_str(r#"{"type":"res","id":"#);
    if plain {
        text.push('"');
        text.push_str(id);
        text.push('"');
    } else {
        text.push_str(&serde_json::to_string(id).unwrap_or_default());
    }
    text.push_str(r#","ok":true,"payload":"#);
    text.push_str(payload);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_the_same_text_as_a_response_frame() {
        for id in ["1", "a b", "q\"\\\u{1}ä"] {
            let frame = ResponseFrame::success(id, serde_json::json!({"ok": true}));
            let expected = serde_json::to_string(&frame).unwrap();
            assert_eq!(success(id, r#"{"ok":true}"#), expected, "id {id:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_answered_under_its_id_when_it_has_one() {
        for (text, id) in [
            ("garbage", "invalid"),
            (r#"{"type":"event","id":"7","method":"health"}"#, "7"),
            (r#"{"type":"req","id":"","method":"health"}"#, "invalid"),
            (r#"{"type":"req","id":"7","method":"health","extra":1}"#, "7"),
        ] {
            let error = RequestFrame::parse(text).unwrap_err();
            let answer: ResponseFrame = serde_json::from_str(&malformed(text, &error)).unwrap();
            assert_eq!((answer.ok, answer.id.as_str()), (false, id), "{text}");
        }
    }
}
