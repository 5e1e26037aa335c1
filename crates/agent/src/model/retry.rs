//! Tries again what may pass, with growing waits.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_vault::random;

use super::provider::Conversation;
use super::{Answer, Deltas, ModelDelta, ModelError, Prompt, exchange};

/// Asks, `tries` times at most. Once a piece of an answer has been handed on nothing is tried again: the
/// person would read it twice.
pub(super) async fn ask(
    conversation: &Conversation,
    prompt: &Prompt,
    events: Deltas<'_>,
    tries: u32,
) -> Result<Answer, ModelError> {
    let mut handed_on = false;
    let mut tried = 0;
    loop {
        tried += 1;
        let mut watch = |delta: ModelDelta| {
            handed_on = true;
            events(delta);
        };
        let error = match exchange::once(conversation, prompt, &mut watch).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if handed_on || tried >= tries || !error.may_pass() {
            return Err(error);
        }
        let wait = wait_after(tried, error.retry_after(), random()?);
        tracing::warn!(%error, ?wait, "asking the model again");
        tokio::time::sleep(wait).await;
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
