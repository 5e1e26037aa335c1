//! One function signs in HTTP requests and WebSocket connections alike.
//!
//! The order is: may this source try at all, is the credential right, what may it do, and then the book.
//! What the book cannot take does not happen, and a failure is as much in the book as a success.

use std::sync::Mutex;
use std::time::Instant;

use moltbot_ledger::Ledger;
use moltbot_policy::authentication::{self, Credential, DeviceClaim, Identity, Locality, Presented};
use moltbot_policy::authorization::Grant;
use moltbot_policy::throttle::{RateLimited, Source, Throttle};
use moltbot_policy::{Book, Decision, Entry, Refusal, Unrecorded, record};

use crate::shared::lock;

/// Judges sign-ins.
pub(crate) struct SignIn {
    credential: Credential,
    throttle: Mutex<Throttle>,
    ledger: Ledger,
    began: Instant,
}

/// Who wants in, and with what.
pub(crate) struct Claim<'a> {
    /// Where the peer is.
    pub(crate) source: Source,
    /// The shared credential.
    pub(crate) presented: Presented,
    /// The device's signature.
    pub(crate) device: Option<DeviceClaim<'a>>,
    /// Whether the peer is on this machine.
    pub(crate) locality: Locality,
    /// `http` or `websocket`, for the book.
    pub(crate) way: &'static str,
}

/// Why a sign-in failed.
#[derive(Debug)]
pub(crate) enum SignInError {
    /// Too many failures from there.
    Limited(RateLimited),
    /// Not let in.
    Refused(Refusal),
    /// The book cannot be written.
    Unrecorded(Unrecorded),
}

impl SignIn {
    pub(crate) fn new(credential: Credential, ledger: Ledger, began: Instant) -> Self {
        Self { credential, throttle: Mutex::default(), ledger, began }
    }

    /// How often the book was flushed to disk.
    pub(crate) fn flushes(&self) -> u64 {
        self.ledger.flushes()
    }

    /// Signs in. `rights` makes the grant of an identity.
    pub(crate) async fn judge(
        &self,
        claim: Claim<'_>,
        rights: impl FnOnce(Identity) -> Result<Grant, Refusal>,
    ) -> Result<Grant, SignInError> {
        let (source, way) = (claim.source, claim.way);
        match self.verify(claim).map_err(SignInError::Limited)?.and_then(rights) {
            Ok(grant) => self.record_success(grant).await,
            Err(refusal) => Err(self.record_failure(source, way, refusal).await),
        }
    }

    /// Tries one after the other: many honest clients that arrive at once are not taken for a guesser, as
    /// they would be if their tries were open at the same time.
    fn verify(&self, claim: Claim<'_>) -> Result<Result<Identity, Refusal>, RateLimited> {
        let mut throttle = lock(&self.throttle);
        let attempt = throttle.admit(claim.source, self.began.elapsed())?;
        let Claim { presented, device, locality, .. } = claim;
        let identity = authentication::verify(&attempt, &self.credential, &presented, device, locality);
        if identity.is_ok() {
            throttle.succeeded(claim.source);
        }
        Ok(identity)
    }

    async fn record_success(&self, grant: Grant) -> Result<Grant, SignInError> {
        let ledger = self.ledger.clone();
        let recorded = blocking(move || record(grant, &ledger)).await.map_err(SignInError::Unrecorded)?;
        Ok(recorded.into_permit())
    }

    async fn record_failure(&self, source: Source, way: &'static str, refusal: Refusal) -> SignInError {
        tracing::warn!(code = refusal.code, cause = %refusal.cause, way, "a sign-in was refused");
        let actor = format!("source:{}", source.address());
        let entry = Entry::new(actor, "auth.sign_in", "gateway", Decision::Refused)
            .with("code", refusal.code)
            .with("way", way);
        let ledger = self.ledger.clone();
        match blocking(move || ledger.enter(entry)).await {
            Ok(_) => SignInError::Refused(refusal),
            Err(unrecorded) => SignInError::Unrecorded(unrecorded),
        }
    }
}

/// The book blocks until it is on disk: not on a thread that serves others.
async fn blocking<T: Send + 'static>(
    write: impl FnOnce() -> Result<T, Unrecorded> + Send + 'static,
) -> Result<T, Unrecorded> {
    match tokio::task::spawn_blocking(write).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Unrecorded { action: "auth.sign_in", cause: error.to_string() }),
    }
}
