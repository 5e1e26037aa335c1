//! A turn's conversation with its models: the first that answers, with the first key that is taken.
//!
//! A key that is refused, spent or limited rests, and so does a provider that does not answer; what rests is asked last.
//! Once a piece of an answer has been handed on nothing is tried again: the person would read it twice.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_net::Door;
use moltbot_vault::random;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Failure;
use super::provider::{Key, Model};
use super::{Answer, Deltas, ModelDelta, ModelError, Prompt, exchange};
use crate::history;

/// The models that a turn may ask: one, and those to try after it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Route {
    first: Model,
    others: Vec<Model>,
}

impl Route {
    /// A way to `first`, and to the others when it fails. Whom it names twice is asked once.
    pub(super) fn new(first: Model, others: impl IntoIterator<Item = Model>) -> Self {
        let mut route = Self { first, others: Vec::new() };
        for other in others {
            if !route.models().any(|known| known.is_same(&other)) {
                route.others.push(other);
            }
        }
        route
    }

    /// The model that is asked first.
    pub const fn first(&self) -> &Model {
        &self.first
    }

    /// All of them, in order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Opens the way to the first provider for one turn: judged and in the book once, however often it is asked. Those to
    /// the others are opened when they are needed.
    ///
    /// # Errors
    /// When there is no other and the judge refuses, or the book cannot be written.
    pub async fn open(&self, actor: &str) -> Result<Conversation, ModelError> {
        let legs = self.models().map(|model| Leg { model: model.clone(), door: OnceCell::new() }).collect();
        let conversation = Conversation { legs, actor: actor.into() };
        if let [only] = conversation.legs.as_slice() {
            only.door(actor).await?;
        }
        Ok(conversation)
    }
}

/// One turn's way to its models.
#[derive(Debug)]
pub struct Conversation {
    legs: Vec<Leg>,
    actor: String,
}

/// The way to one model.
#[derive(Debug)]
struct Leg {
    model: Model,
    door: OnceCell<Door>,
}

/// A try that came to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tried {
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// What kind of failure, such as `rate-limited`.
    pub kind: &'static str,
    /// Why, in a sentence without secrets.
    pub why: String,
}

impl Leg {
    async fn door(&self, actor: &str) -> Result<&Door, ModelError> {
        let model = &self.model;
        let open = || async {
            let opened = model.with.client.open(&model.with.base, actor).await;
            opened.map_err(|error| model.named(None).fetch(error))
        };
        self.door.get_or_try_init(open).await
    }

    /// The places of the keys to try, `None` for no key; none at all while everything here rests.
    fn keys(&self, now: Instant) -> Vec<Option<usize>> {
        let (rest, count) = (&self.model.with.rest, self.model.with.keys.len());
        match count {
            _ if !rest.may_ask(now) => Vec::new(),
            0 => vec![None],
            count => rest.keys(count, now).into_iter().map(Some).collect(),
        }
    }

    /// All of them, rested or not.
    fn all_keys(&self) -> Vec<Option<usize>> {
        match self.model.with.keys.len() {
            0 => vec![None],
            count => (0..count).map(Some).collect(),
        }
    }

    async fn once(
        &self,
        actor: &str,
        key: Option<usize>,
        prompt: &Prompt,
        events: Deltas<'_>,
    ) -> Result<Answer, ModelError> {
        let needed = history::estimate_all(prompt);
        if needed > self.model.context_tokens() {
            return Err(ModelError::ContextTooLong { model: self.model.id().into() });
        }
        let door = self.door(actor).await?;
        let key: Option<&Key> = key.and_then(|place| self.model.with.keys.get(place));
        exchange::once((&self.model, door), key, prompt, events).await
    }

    /// Lets rest what failed. Answers whether another key of the same provider is worth a try.
    fn note(&self, error: &ModelError, key: Option<usize>) -> bool {
        let (rest, now, asked) = (&self.model.with.rest, Instant::now(), error.retry_after());
        match (error.failure(), key) {
            (Failure::Key { spent }, Some(place)) => {
                rest.rest_key(place, spent, asked, now);
                true
            }
            (Failure::Key { .. } | Failure::Provider, _) => {
                rest.rest_provider(asked, now);
                false
            }
            (Failure::Final | Failure::Model, _) => false,
        }
    }
}

/// What a round of tries came to, in which nobody answered.
struct Round {
    error: Option<ModelError>,
    /// How often it may be tried in all.
    tries: u32,
    /// The shortest wait that a provider asks for.
    asked: Option<Duration>,
}

impl Conversation {
    /// Asks the model and waits for its whole answer; its pieces go to `events` as they come. Where it fails the next key
    /// and the next model are asked, and what may pass (429, 5xx, no connection) is tried again with growing waits, as
    /// long as no piece has been handed on. An abort ends the call at once and closes the connection.
    ///
    /// # Errors
    /// A sentence for the person who asked: see [`ModelError`].
    pub async fn ask(
        &self,
        prompt: &Prompt,
        events: Deltas<'_>,
        abort: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        tokio::select! {
            biased;
            () = abort.cancelled() => Err(ModelError::Aborted),
            outcome = Box::pin(self.ask_all(prompt, events)) => outcome,
        }
    }

    async fn ask_all(&self, prompt: &Prompt, events: Deltas<'_>) -> Result<Answer, ModelError> {
        let mut tried: Vec<Tried> = Vec::new();
        let mut count: u32 = 0;
        loop {
            count = count.saturating_add(1);
            let round = match self.round(prompt, events, &mut tried).await {
                Ok(answer) => return Ok(Answer { tried, ..answer }),
                Err(round) => round,
            };
            let Some(error) = round.error else { return Err(ModelError::all_failed(tried)) };
            if count >= round.tries {
                let one = tried.iter().all(|it| tried.first().is_some_and(|first| first.is_same(it)));
                return Err(if one || !error.is_one_of_many() {
                    error
                } else {
                    ModelError::all_failed(tried)
                });
            }
            let wait = wait_after(count, round.asked, random()?);
            tracing::warn!(%error, ?wait, "asking the model again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks each model with each of its keys until one answers.
    async fn round(
        &self,
        prompt: &Prompt,
        events: Deltas<'_>,
        tried: &mut Vec<Tried>,
    ) -> Result<Answer, Round> {
        let mut round = Round { error: None, tries: 1, asked: None };
        let mut handed_on = false;
        for (leg, keys) in self.order(Instant::now()) {
            for key in keys {
                let mut watch = |delta: ModelDelta| {
                    handed_on = true;
                    events(delta);
                };
                let error = match leg.once(&self.actor, key, prompt, &mut watch).await {
                    Ok(answer) => {
                        leg.model.with.rest.answered(key.unwrap_or_default());
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                let again = leg.note(&error, key);
                let it = Tried::of(&leg.model, &error);
                tracing::warn!(
                    provider = it.provider,
                    model = it.model,
                    kind = it.kind,
                    why = it.why,
                    "a model did not answer"
                );
                tried.push(it);
                if handed_on || error.failure() == Failure::Final {
                    return Err(Round { error: Some(error), tries: 1, asked: None });
                }
                round.add(error);
                if !again {
                    break;
                }
            }
        }
        Err(round)
    }

    /// The models and keys in the order in which they are asked: what rests comes last.
    fn order(&self, now: Instant) -> Vec<(&Leg, Vec<Option<usize>>)> {
        let awake: Vec<_> = self.legs.iter().map(|leg| (leg, leg.keys(now))).collect();
        let resting = awake.iter().map(|(leg, awake)| {
            let rest: Vec<_> = leg.all_keys().into_iter().filter(|key| !awake.contains(key)).collect();
            (*leg, rest)
        });
        let resting: Vec<_> = resting.collect();
        awake.into_iter().chain(resting).filter(|(_, keys)| !keys.is_empty()).collect()
    }
}

impl Round {
    fn add(&mut self, error: ModelError) {
        if error.tries() > 1 {
            let asked = error.retry_after().unwrap_or_default();
            self.asked = Some(self.asked.map_or(asked, |known| known.min(asked)));
        }
        // Of several the first is told: it is of the model that was wanted. What may pass decides about another round.
        self.tries = self.tries.max(error.tries());
        self.error.get_or_insert(error);
    }
}

impl Tried {
    fn of(model: &Model, error: &ModelError) -> Self {
        let (provider, model) = (model.provider().to_owned(), model.id().to_owned());
        Self { provider, model, kind: error.kind(), why: error.to_string() }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.provider, &self.model) == (&other.provider, &other.model)
    }
}

/// The wait after the try numbered `tried`: doubling, shortened by chance to a half at most so that many
/// clients do not come back together, and never shorter than the provider asked for.
fn wait_after(tried: u32, asked: Option<Duration>, [chance]: [u8; 1]) -> Duration {
    let doubled = limits::PROVIDER_BACKOFF.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1)));
    let shortened = doubled.min(limits::PROVIDER_WAIT) * (256 - u32::from(chance) / 2) / 256;
    shortened.max(asked.unwrap_or_default()).min(limits::PROVIDER_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_keep_to_what_the_provider_asks_and_to_the_limit() {
        let second = Duration::from_secs(1);
        assert_eq!(wait_after(1, None, [0]), limits::PROVIDER_BACKOFF);
        assert_eq!(wait_after(3, None, [0]), limits::PROVIDER_BACKOFF * 4);
        assert!(wait_after(3, None, [255]) >= limits::PROVIDER_BACKOFF * 2);
        assert_eq!(wait_after(1, Some(7 * second), [200]), 7 * second);
        assert_eq!(wait_after(1, Some(7000 * second), [0]), limits::PROVIDER_WAIT);
        assert_eq!(wait_after(u32::MAX, None, [0]), limits::PROVIDER_WAIT);
    }
}
