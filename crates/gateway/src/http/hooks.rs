//! `POST` below `hooks.path`: a program elsewhere causes a turn.
//!
//! The order is that of every request: may this source try, is its key right, the book, and only then what it says. A signed
//! body is read before its key is known, within its own limits of number, size and time; it is parsed after.

mod failure;
mod leaving;

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use moltbot_channels::hooks::{self, AGENT, HookCall, WAKE};
use moltbot_config::limits;
use moltbot_config::settings::{HookAction, WakeMode};
use moltbot_policy::hook::{Delivery, HookKey, HookPermit, Shown, SignatureKey, Signed, Told, UNAUTHORIZED};
use moltbot_policy::network::Caller;
use moltbot_protocol::ids::{HookName, RunId};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Body};
use super::{bearer, single};
use crate::gate::Seat;
use crate::hooks::Hooks;
use crate::inbound::{self, Hearing, Received};
use crate::shared::Shared;
use failure::Failure;

/// A call whose caller is known.
struct Known {
    permit: HookPermit,
    body: bytes::Bytes,
    headers: HeaderMap,
    /// Given back when the call is answered.
    _place: OwnedSemaphorePermit,
}

/// Answers a call of the hook at `path`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    hooks: &Hooks,
    caller: Caller,
    seat: &Seat,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = hooks.below(request.uri().path()).unwrap_or_default().to_owned();
    let known = match hooks.key_at(&path) {
        None => by_token(shared, hooks, caller, seat, &path, request).await,
        Some(key) => by_signature(shared, hooks, caller, seat, key, request).await,
    };
    // Keys may have been changed while the call was read: an old one lets nothing in any more.
    let known = known.and_then(|known| if shared.answers(hooks) { Ok(known) } else { Err(Failure::busy()) });
    let taken = match known {
        Ok(known) => take(shared, hooks, &path, known).await,
        Err(failure) => Err(failure),
    };
    taken.unwrap_or_else(Failure::into_response)
}

/// A caller that presents the token is known before its body is read.
async fn by_token(
    shared: &Shared,
    hooks: &Hooks,
    caller: Caller,
    seat: &Seat,
    path: &str,
    request: Request<Incoming>,
) -> Result<Known, Failure> {
    let token = bearer(request.headers());
    let shown = match &token {
        _ if has_token(request.uri().query()) => Shown::TokenInUrl,
        None => Shown::Nothing,
        Some(token) => Shown::Token(token),
    };
    let permit = shared.sign_in.judge_hook(caller, HookKey::Token(&hooks.token), shown).await;
    let permit = permit?.into_permit();
    seat.makes_room();
    require_post(&request)?;
    if ![AGENT, WAKE].contains(&path) && hooks.mappings.at(path).next().is_none() {
        return Err(Failure::plain(StatusCode::NOT_FOUND, "Not Found"));
    }
    let place = place(hooks)?;
    let (parts, body) = request.into_parts();
    let body = read(body, hooks, limits::HOOK_BODY).await?;
    Ok(Known { permit, body, headers: parts.headers, _place: place })
}

/// A caller that signs is known by its body.
async fn by_signature(
    shared: &Shared,
    hooks: &Hooks,
    caller: Caller,
    seat: &Seat,
    key: (&HookName, &SignatureKey),
    request: Request<Incoming>,
) -> Result<Known, Failure> {
    let (name, signature) = key;
    let key = HookKey::Signature(name, signature);
    let unsigned = value(request.headers(), signature.header()).is_none();
    let early = if has_token(request.uri().query()) {
        Some(Shown::TokenInUrl)
    } else if unsigned || request.method() != Method::POST {
        Some(Shown::Nothing)
    } else {
        None
    };
    if let Some(shown) = early {
        let judged = shared.sign_in.judge_hook(caller, key, shown).await;
        return Err(judged.map_or_else(Failure::from, |_| Failure::busy()));
    }
    shared.sign_in.look_at_hook(caller).await?;
    let unverified = hooks.unverified.try_acquire().map_err(|_| Failure::busy())?;
    let (parts, body) = request.into_parts();
    // Until then it is a stranger, who has no more time than others.
    let body = read(body, hooks, limits::HOOK_BODY.min(seat.time_left())).await?;
    drop(unverified);
    let signed = Signed {
        signature: value(&parts.headers, signature.header()).unwrap_or_default(),
        timestamp: signature.timestamp_header().and_then(|name| value(&parts.headers, name)),
        body: &body,
        now_ms: shared.now_ms(),
    };
    let permit = shared.sign_in.judge_hook(caller, key, Shown::Signed(signed)).await;
    let permit = permit?.into_permit();
    seat.makes_room();
    Ok(Known { permit, body, headers: parts.headers, _place: place(hooks)? })
}

fn place(hooks: &Hooks) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(&hooks.places).try_acquire_owned().map_err(|_| Failure::busy())
}

/// Whether a token stands in the address.
fn has_token(query: Option<&str>) -> bool {
    let mut members = query.into_iter().flat_map(|query| query.split('&'));
    members.any(|member| member.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("token")))
}

/// The one value of a header, by its name in lower case.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    single(headers, HeaderName::from_bytes(name.as_bytes()).ok()?).ok().flatten()
}

fn require_post(request: &Request<Incoming>) -> Result<(), Failure> {
    if request.method() == Method::POST { Ok(()) } else { Err(Failure::method()) }
}

async fn read(body: Incoming, hooks: &Hooks, patience: Duration) -> Result<bytes::Bytes, Failure> {
    let most = usize::try_from(hooks.config.max_body_bytes).unwrap_or(usize::MAX);
    let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "payload too large");
    if body.size_hint().lower() > u64::from(hooks.config.max_body_bytes) {
        return Err(too_large()); // said beforehand: not one byte of it is taken
    }
    match tokio::time::timeout(patience, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::new(StatusCode::BAD_REQUEST, "the body could not be read")),
        Err(_) => Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// Makes a call a message, and answers when it is kept.
async fn take(
    shared: &Arc<Shared>,
    hooks: &Hooks,
    path: &str,
    known: Known,
) -> Result<Response<Body>, Failure> {
    let Known { permit, body, headers, _place } = known;
    let value_of = hooks::body(&body, value(&headers, "content-type"))?;
    if let Some(challenge) = slack_challenge(hooks, path, &value_of) {
        return Ok(challenge);
    }
    let (call, wakes) = call(shared, hooks, path, &value_of)?;
    let principal = permit.principal(&call.hook).ok_or_else(|| {
        Failure::plain(StatusCode::UNAUTHORIZED, UNAUTHORIZED) // another hook than the key's
    })?;
    let delivery = delivery(hooks, path, &call, &value_of, &body, &headers)?;
    if wakes && call.wake_mode == WakeMode::NextHeartbeat {
        return leaving::leave(shared, call, principal, delivery).await;
    }
    if call.wake_mode == WakeMode::NextHeartbeat {
        leaving::require_look(shared, call.agent.as_ref().unwrap_or(&shared.default_agent()), &principal)
            .await?;
    }
    leaving::require_not_left(shared, &call.hook, &delivery).await?;
    let run = match delivery.run {
        Some(run) => run,
        None => drawn_run()?,
    };
    let from = principal.to_string();
    let message = call.message(principal, &shared.default_agent(), run, delivery.content)?;
    let run = match inbound::receive(shared, message, &from, Hearing::Answer).await {
        Ok(Received::Fresh(run)) => run.id.clone(),
        Ok(Received::Duplicate(status)) => status.run,
        Err(error) => return Err(error.into()),
    };
    Ok(if wakes {
        answer::json(StatusCode::OK, &json!({"ok": true, "mode": "now"}))
    } else {
        answer::json(StatusCode::ACCEPTED, &json!({"ok": true, "runId": run.as_str()}))
    })
}

/// What the call says, and whether it is told to the main session.
fn call(shared: &Shared, hooks: &Hooks, path: &str, body: &Value) -> Result<(HookCall, bool), Failure> {
    match path {
        AGENT => Ok((hooks::agent(body, &hooks.config, &shared.default_agent())?, false)),
        WAKE => Ok((hooks::wake(body)?, true)),
        _ => {
            let mapping = hooks.mappings.at(path).find(|mapping| mapping.takes(body));
            let mapping = mapping.ok_or_else(|| {
                Failure::new(StatusCode::NOT_FOUND, "no hook of this path takes this `source`")
            })?;
            Ok((mapping.read(body)?, mapping.action() == HookAction::Wake))
        }
    }
}

fn delivery(
    hooks: &Hooks,
    path: &str,
    call: &HookCall,
    body_value: &Value,
    body: &[u8],
    headers: &HeaderMap,
) -> Result<Delivery, Failure> {
    let key = hooks.key_at(path).map(|(_, key)| key);
    let name = key.map_or(Some("idempotency-key"), |key| key.delivery_header());
    let event = key.and_then(|key| key.event_member()).and_then(|member| body_value.get(member));
    let told = Told {
        hook: &call.hook,
        name: name.and_then(|name| value(headers, name)),
        event: event.and_then(Value::as_str),
        timestamp: key.and_then(|key| key.timestamp_header()).and_then(|name| value(headers, name)),
        body,
    };
    Delivery::of(told, key).map_err(|error| Failure::new(StatusCode::BAD_REQUEST, &error.to_string()))
}

fn drawn_run() -> Result<RunId, Failure> {
    let failed = |error: String| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, &error);
    let id = moltbot_vault::random_id().map_err(|error| failed(error.to_string()))?;
    RunId::parse(&id).map_err(|error| failed(error.to_string()))
}

/// Slack asks whether an address is ours, once and signed.
fn slack_challenge(hooks: &Hooks, path: &str, body: &Value) -> Option<Response<Body>> {
    let (_, key) = hooks.key_at(path)?;
    let text = |name| body.get(name).and_then(Value::as_str);
    if key.kind() != "slack" || text("type") != Some("url_verification") {
        return None;
    }
    Some(answer::json(StatusCode::OK, &json!({"challenge": text("challenge")})))
}
