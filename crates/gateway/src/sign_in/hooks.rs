//! Callers of hooks, and vendors that post, sign in by the same function, limiter and book as everybody else, with keys of their own.

use moltbot_policy::hook::{self, HookKey, HookPermit, Shown};
use moltbot_policy::network::Caller;
use moltbot_policy::throttle::{Asking, Attempt, Source};
use moltbot_policy::webhook::{self, VendorKey, VendorPermit};
use moltbot_policy::{Permit, Recorded, Refusal, record_soon};
use secrecy::SecretString;

use super::{SignIn, SignInError, Tried, Unheard, used_up};
use crate::shared::lock;

/// What came of a try.
struct Judged<P> {
    verdict: Result<P, Refusal>,
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

    /// Signs in a caller of hooks.
    pub(crate) async fn judge_hook(
        &self,
        caller: Caller,
        key: HookKey<'_>,
        shown: Shown<'_>,
    ) -> Result<Recorded<HookPermit>, SignInError> {
        let whose = match key {
            HookKey::Signature(name, _) => Some(name.as_str().to_owned()),
            HookKey::Token(_) => None,
        };
        let judged = self.try_hook(caller, |attempt| hook::verify(attempt, key, shown, caller.locality));
        self.settle_hook(caller, whose, judged).await
    }

    /// Signs in a vendor that posts.
    pub(crate) async fn judge_vendor(
        &self,
        caller: Caller,
        key: &VendorKey,
        shown: Option<&SecretString>,
    ) -> Result<Recorded<VendorPermit>, SignInError> {
        let judged = self.try_hook(caller, |attempt| webhook::verify(attempt, key, shown, caller.locality));
        self.settle_hook(caller, Some(key.place().to_owned()), judged).await
    }

    async fn settle_hook<P: Permit + Send + 'static>(
        &self,
        caller: Caller,
        whose: Option<String>,
        judged: Result<Judged<P>, Unheard>,
    ) -> Result<Recorded<P>, SignInError> {
        let Judged { verdict, changed } = match judged {
            Ok(judged) => judged,
            Err(unheard) => return Err(self.limit_hook(caller, unheard).await),
        };
        match verdict {
            Ok(permit) => {
                let recorded = record_soon(permit, &self.ledger).await.map_err(SignInError::Unrecorded)?;
                if changed {
                    self.keep().await;
                }
                Ok(recorded)
            }
            Err(refusal) => {
                tracing::warn!(code = refusal.code, cause = %refusal.cause, "a call of a hook was refused");
                let Caller { client, locality } = caller;
                let tried = Tried { client, way: "http", locality, device: whose, tailnet: None };
                Err(self.enter_failure(tried, refusal, changed, hook::CREDENTIAL).await)
            }
        }
    }

    /// One try after the other: calls that come at once are not taken for a guesser. The try is counted before anything is
    /// compared.
    fn try_hook<P>(
        &self,
        caller: Caller,
        verify: impl FnOnce(&Attempt) -> Result<P, Refusal>,
    ) -> Result<Judged<P>, Unheard> {
        let source = Source::of_peer(caller.client, caller.locality);
        self.refuse_punished(source)?;
        let mut throttle = lock(&self.tries.throttle);
        let attempt = throttle.admit(asking(caller), self.tries.now()).map_err(used_up)?;
        let verdict = verify(&attempt);
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
