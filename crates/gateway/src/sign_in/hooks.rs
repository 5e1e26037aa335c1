//! Callers of hooks sign in by the same function, limiter and book as everybody else, with keys of their own.

use moltbot_policy::hook::{self, HookKey, HookPermit, Shown};
use moltbot_policy::network::Caller;
use moltbot_policy::throttle::{Asking, Source};
use moltbot_policy::{Recorded, Refusal, record};

use super::{SignIn, SignInError, Tried, Unheard, blocking, used_up};
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
        let source = Source::of_peer(caller.client, caller.locality);
        let looked = self.look(source, caller);
        match looked {
            Ok(()) => Ok(()),
            Err(unheard) => Err(self.limit_hook(caller, unheard).await),
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
            Err(unheard) => return Err(self.limit_hook(caller, unheard).await),
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
                let tried = Tried { client, way: "http", locality, device, tailnet: None };
                Err(self.enter_failure(tried, refusal, changed, hook::CREDENTIAL).await)
            }
        }
    }

    /// One try after the other: calls that come at once are not taken for a guesser.
    fn try_hook(&self, caller: Caller, key: HookKey<'_>, shown: Shown<'_>) -> Result<Judged, Unheard> {
        let source = Source::of_peer(caller.client, caller.locality);
        self.refuse_punished(source)?;
        let mut throttle = lock(&self.tries.throttle);
        let attempt = throttle.admit(asking(caller), self.tries.now()).map_err(used_up)?;
        let verdict = hook::verify(&attempt, key, shown, caller.locality);
        self.charge(source, caller.locality, verdict.is_ok());
        let changed = verdict.is_err() || throttle.succeeded(&attempt);
        Ok(Judged { verdict, changed })
    }

    /// Whether the source may try, without counting that it asked.
    fn look(&self, source: Source, caller: Caller) -> Result<(), Unheard> {
        self.refuse_punished(source)?;
        lock(&self.tries.throttle).look(asking(caller), self.tries.now()).map_err(used_up)
    }

    async fn limit_hook(&self, caller: Caller, unheard: Unheard) -> SignInError {
        let Unheard { code, limited } = unheard;
        let told = lock(&self.limited_hooks).refused(caller.client, code, self.tries.now());
        self.enter_refusals_of(told.into_iter().collect(), hook::CREDENTIAL).await;
        self.locked(limited)
    }
}

fn asking(caller: Caller) -> Asking {
    Asking { client: caller.client, locality: caller.locality, credential: hook::CREDENTIAL }
}
