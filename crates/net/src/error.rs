//! Why a request has no answer.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use moltbot_policy::{Refusal, Unrecorded};
use thiserror::Error;

/// Any cause, for a person to read.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// Why a request has no answer. Names the host and port, and never a header, a query or a body.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum FetchError {
    /// The HTTP client could not be made, most often because this machine has no certificates.
    #[error("cannot prepare a connection to {target}; install the system's CA certificates")]
    Client { target: String, source: Cause },
    /// Nothing accepts connections there.
    #[error("cannot connect to {target}; check that it is running and that the address is right")]
    Connect { target: String, source: Cause },
    /// A header or the body cannot be sent.
    #[error("cannot send a request to {target}: {what} has characters that HTTP does not allow")]
    Header { target: String, what: String },
    /// The connection ended before the answer did.
    #[error("the connection to {target} ended before the answer was complete; try again")]
    Interrupted { target: String, source: Option<Cause> },
    /// A process of ours cannot be asked.
    #[error("cannot ask {target}")]
    Process { target: String, source: Cause },
    /// A redirect would lead to a place that nobody judged.
    #[error("{target} answered with a redirect ({status}), which is not followed; set the final address")]
    Redirected { target: String, status: u16 },
    /// The judge said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The name stands for no address.
    #[error("cannot find {host}; check the name and this machine's network")]
    Resolve { host: String, source: io::Error },
    /// Nothing was heard for too long.
    #[error("{target} was silent for {} s while {what}; try again", limit.as_secs_f32())]
    Timeout { target: String, what: &'static str, limit: Duration },
    /// The connection cannot be trusted.
    #[error(
        "cannot set up an encrypted connection to {target}; check the address and this machine's clock and certificates"
    )]
    Tls { target: String, source: Cause },
    /// The answer is larger than it may be.
    #[error("the answer of {target} is larger than {max} bytes")]
    TooLarge { target: String, max: usize },
    /// The book could not be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// What the resolver found wrong. Travels inside the HTTP client's error, and is taken out of it again.
#[derive(Debug, Error)]
pub(crate) enum ResolveError {
    #[error("the name stands for no address")]
    Lookup { host: String, source: io::Error },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl FetchError {
    /// Sorts what the HTTP client reports while it connects, sends and waits for the head of the answer.
    pub(crate) fn sending(error: reqwest::Error, target: String) -> Self {
        if let Some(found) = cause::<ResolveError>(&error) {
            return match found {
                ResolveError::Lookup { host, source } => {
                    let source = io::Error::new(source.kind(), source.to_string());
                    Self::Resolve { host: host.clone(), source }
                }
                ResolveError::Refused(refusal) => Self::Refused(refusal.clone()),
            };
        }
        let timed_out = error.is_timeout();
        let connecting = error.is_connect();
        let broken_tls = connecting && is_broken_tls(&error);
        let source: Cause = error.without_url().into();
        if timed_out {
            let limit = moltbot_config::limits::PROVIDER_CONNECT;
            return Self::Timeout { target, what: "connecting", limit };
        }
        if broken_tls {
            return Self::Tls { target, source };
        }
        if connecting {
            return Self::Connect { target, source };
        }
        Self::Interrupted { target, source: Some(source) }
    }
}

/// The first cause of a kind.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref::<E>())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        error.source()
    })
}

/// The TLS library reports through `io::Error`: an alert, a bad certificate, or an end in mid-handshake.
fn is_broken_tls(error: &reqwest::Error) -> bool {
    std::iter::successors(cause::<io::Error>(error), |outer| inner(outer))
        .any(|error| matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof))
}

/// An `io::Error` made of another does not name it as its source.
fn inner(error: &io::Error) -> Option<&io::Error> {
    error.get_ref()?.downcast_ref()
}
