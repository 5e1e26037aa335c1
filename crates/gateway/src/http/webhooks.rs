//! `POST` of a vendor at the path of one account's webhook.
//!
//! The order is that of every request: may this source try, is the secret in the header right, the book, and only then the
//! body. The vendor hears yes when what it posted is on disk, and posts again otherwise.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use moltbot_channels::driver::NotPosted;
use moltbot_config::limits;
use moltbot_policy::network::Caller;
use secrecy::SecretString;

use super::answer::{self, Body};
use super::{refused, single};
use crate::channels::{Inlet, Served, take_post};
use crate::gate::Seat;
use crate::shared::Shared;

/// Answers a post for an account.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    served: &Arc<Served>,
    inlet: &Inlet,
    caller: Caller,
    seat: &Seat,
    request: Request<Incoming>,
) -> Response<Body> {
    // Of two headers neither is the vendor's.
    let shown = single(request.headers(), inlet.header.clone()).ok().flatten();
    let shown = shown.map(|text| SecretString::from(text.to_owned()));
    // Recorded: what it permits is to read the body.
    let _permit = match shared.sign_in.judge_vendor(caller, &inlet.key, shown.as_ref()).await {
        Ok(permit) => permit,
        Err(error) => {
            seat.makes_room();
            return refused(&error);
        }
    };
    seat.makes_room();
    if request.method() != Method::POST {
        return answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path takes POST");
    }
    let Ok(_place) = Arc::clone(&inlet.places).try_acquire_owned() else {
        return later(StatusCode::TOO_MANY_REQUESTS, "too many posts at once; post again");
    };
    match read(request.into_body(), inlet.body).await {
        Err(response) => *response,
        Ok(body) => match take_post(shared, served, &body).await {
            Ok(()) => answer::text("ok"),
            Err(NotPosted::Unreadable) => {
                answer::error(StatusCode::BAD_REQUEST, "invalid_request", "this is no update")
            }
            Err(NotPosted::Later(why)) => {
                tracing::warn!(
                    place = inlet.key.place(),
                    why,
                    "what was posted is not taken; the vendor posts it again"
                );
                later(StatusCode::SERVICE_UNAVAILABLE, "not taken now; post it again")
            }
        },
    }
}

fn later(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = answer::error(status, "unavailable", message);
    answer::retry_after(&mut response, std::time::Duration::from_secs(1));
    response
}

async fn read(body: Incoming, most: usize) -> Result<bytes::Bytes, Box<Response<Body>>> {
    let fail = |status, message: &str| Box::new(answer::error(status, "invalid_request", message));
    let too_large = || fail(StatusCode::PAYLOAD_TOO_LARGE, "payload too large");
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large()); // said beforehand: not one byte of it is taken
    }
    match tokio::time::timeout(limits::WEBHOOK_BODY, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(fail(StatusCode::BAD_REQUEST, "the body could not be read")),
        Err(_) => Err(fail(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}
