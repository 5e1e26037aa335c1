//! Callers of hooks sign in by the same function, limiter and book as everybody else, with keys of their own.

use moltbot_policy::hook::{self, HookKey, HookPermit, Shown};
use moltbot_policy::network::Caller;
use moltbot_policy::throttle::{Asking, RateLimited};
use moltbot_policy::{Recorded, Refusal, record};

use super::{SignIn, SignInError, Tried, blocking};
use crate::shared::lock;

/// What came of a try.
struct Judged {
    verdict: Result<HookPermit, Refusal>,
    /// Whether the throttle remembers something else than before it.
    changed: bool,
}

impl SignIn {
    /// Whether a caller may try at all. Asked before the body of a signed call is read.
    pub(crate) async fn look_at_hook(&self, caller: Caller) -> Result<(), SignInError> {
        let looked = lock(&self.tries.throttle).look(asking(caller), self.tries.now());
        match looked {
            Ok(()) => Ok(()),
            Err(limited) => Err(self.limit_hook(caller, limited).await),
        }
    }

    /// Signs in a caller. The try is counted before anything is compared.
    pub(crate) async fn judge_hook(
        &self,
        caller: Caller,
        key: HookKey<'_>,
        shown: Shown<'_>,
    ) -> Result<Recorded<HookPermit>, SignInError> {
        let Judged { verdict, changed } = match self.try_hook(caller, key, shown) {
            Ok(judged) => judged,
            Err(limited) => return Err(self.limit_hook(caller, limited).await),
        };
        match verdict {
            Ok(permit) => {
                let (ledger, tries) = (self.ledger.clone(), std::sync::Arc::clone(&self.tries));
                let write = move || {
                    let recorded = record(permit, &ledger)?;
                    if changed {
                        tries.keep();
                    }
                    Ok(recorded)
                };
                blocking(write).await.map_err(SignInError::Unrecorded)
            }
            Err(refusal) => {
                tracing::warn!(code = refusal.code, cause = %refusal.cause, "a call of a hook was refused");
                let Caller { client, locality } = caller;
                let device = match key {
                    HookKey::Signature(name, _) => Some(name.as_str().to_owned()),
                    HookKey::Token(_) => None,
                };
                let tried = Tried { client, way: "http", locality, device };
                Err(self.enter_failure(tried, refusal, changed, hook::CREDENTIAL).await)
            }
        }
    }

    /// One try after the other: calls that come at once are not taken for a guesser.
    fn try_hook(&self, caller: Caller, key: HookKey<'_>, shown: Shown<'_>) -> Result<Judged, RateLimited> {
        let mut throttle = lock(&self.tries.throttle);
        let attempt = throttle.admit(asking(caller), self.tries.now())?;
        let verdict = hook::verify(&attempt, key, shown, caller.locality);
        let changed = verdict.is_err() || throttle.succeeded(&attempt);
        Ok(Judged { verdict, changed })
    }

    async fn limit_hook(&self, caller: Caller, limited: RateLimited) -> SignInError {
        let told = lock(&self.limited_hooks).refused(caller.client, self.tries.now());
        self.enter_limited(told.into_iter().collect(), hook::CREDENTIAL).await;
        SignInError::Limited(limited)
    }
}

fn asking(caller: Caller) -> Asking {
    Asking { client: caller.client, locality: caller.locality, credential: hook::CREDENTIAL }
}
