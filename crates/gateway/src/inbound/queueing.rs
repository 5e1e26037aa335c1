//! What becomes of messages that come while another is answered: answered together, told to the model at its work, or each by
//! itself. A message is on disk before any of this; whatever is decided ends in the store, and what has no end there is taken up
//! again at the next start.

use std::sync::Arc;
use std::time::Duration;

use moltbot_agent::{PassedOver, TurnReport};
use moltbot_channels::webchat;
use moltbot_config::settings::{QueueConfig, QueueDrop, QueueMode};
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::principal::Principal;
use moltbot_store::{PendingTurn, SessionOptions};

use super::progress::Progress;
use super::run::{End, Run};
use crate::methods::sessions;
use crate::shared::Shared;

/// How often a conversation is looked at while it has to become quiet.
const LOOK: Duration = Duration::from_millis(50);
/// How many times the quiet time is waited for at most: who writes without end is answered.
const PATIENCE: u32 = 10;

/// How messages of a conversation wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Policy {
    pub(crate) mode: QueueMode,
    pub(crate) debounce: Duration,
    pub(crate) cap: usize,
    pub(crate) drop: QueueDrop,
}

impl Policy {
    /// What the session says, else the channel's setting, else that of all; in the web chat, where somebody waits for the answer
    /// to each message, each is answered by itself when neither of the first two says otherwise.
    pub(crate) fn of(config: &QueueConfig, options: &SessionOptions, channel: &str) -> Self {
        let of_all = if channel == webchat::CHANNEL { QueueMode::Followup } else { config.mode };
        let of_channel = config.by_channel.get(channel).copied().unwrap_or(of_all);
        let debounce = options.queue_debounce_ms.unwrap_or(config.debounce_ms);
        Self {
            mode: options.queue_mode.unwrap_or(of_channel),
            debounce: Duration::from_millis(u64::from(debounce)),
            cap: usize::try_from(options.queue_cap.unwrap_or(config.cap)).unwrap_or(usize::MAX),
            drop: options.queue_drop.unwrap_or(config.drop),
        }
    }

    /// Whether messages are answered together.
    const fn gathers(&self) -> bool {
        !matches!(self.mode, QueueMode::Followup)
    }
}

/// Whether a message that waits may be answered together with others, or have no answer of its own: nobody waits for exactly its
/// answer, nothing was done for it yet, and it is no command.
pub(super) fn is_loose(turn: &PendingTurn, run: &Run) -> bool {
    let message = &turn.message;
    run.may_be_gathered
        && !run.is_aborted()
        && turn.steps.is_empty()
        && turn.tail.is_empty()
        && message.extra_system_prompt.is_none()
        && message.timeout_ms.is_none()
        && message.thinking.is_none()
        && !matches!(message.principal, Principal::Heartbeat(_) | Principal::Hook(_))
        && !message.text.trim_start().starts_with('/')
}

/// Whether two messages are of one sender in one place.
pub(super) fn is_alike(one: &InboundMessage, other: &InboundMessage) -> bool {
    let place = |message: &InboundMessage| message.origin.as_ref().map(|origin| origin.conversation.clone());
    one.channel == other.channel
        && one.account == other.account
        && one.principal == other.principal
        && place(one) == place(other)
}

/// How messages of that channel wait in that session. What cannot be read is as the config says.
pub(super) async fn policy(shared: &Shared, session: &SessionKey, channel: &str) -> Policy {
    let options = match shared.store.session(session).await {
        Ok(row) => row.map(|row| row.options).unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "what is set of a session cannot be read");
            SessionOptions::default()
        }
    };
    Policy::of(&shared.inbound.queue, &options, channel)
}

/// Sees to a message that has just begun to wait behind another: the one at work may have to stop for it, and one of those that
/// wait may be too many.
pub(super) async fn attend(shared: &Arc<Shared>, turn: &PendingTurn) {
    let session = &turn.message.session;
    if !shared.inbound.is_busy(session) {
        return;
    }
    // Who writes does not wait for what nobody asked for.
    if !turn.message.principal.is_heartbeat() {
        shared.inbound.abort_heartbeat(session);
    }
    let policy = policy(shared, session, &turn.message.channel).await;
    if policy.mode == QueueMode::Interrupt
        && !matches!(turn.message.principal, Principal::Heartbeat(_) | Principal::Hook(_))
    {
        shared.inbound.abort_working(session, turn.id);
    }
    if !policy.gathers() {
        return;
    }
    while let Some((turn, run)) = shared.inbound.take_one_too_many(session, &policy) {
        let why = if policy.drop == QueueDrop::Summarize { PassedOver::Later } else { PassedOver::TooMany };
        pass_over(shared, turn, &run, why).await;
    }
}

/// Waits until nobody has said anything for a while, where messages are to be answered together.
pub(super) async fn settle(shared: &Shared, session: &SessionKey) {
    let Some(channel) = shared.inbound.front_channel(session) else { return };
    let policy = policy(shared, session, &channel).await;
    if !policy.gathers() || policy.debounce.is_zero() {
        return;
    }
    let _waited = tokio::time::timeout(policy.debounce.saturating_mul(PATIENCE), async {
        while shared.inbound.is_noisy(session, shared.now_ms(), policy.debounce) {
            tokio::time::sleep(LOOK.min(policy.debounce)).await;
        }
    })
    .await;
}

/// The turn that answers all that waits and may be answered together with `turn`: the last of them. The others are ended, in
/// their order; what they say stands before it in the transcript.
pub(super) async fn gather(
    shared: &Arc<Shared>,
    mut turn: PendingTurn,
    mut run: Arc<Run>,
) -> (PendingTurn, Arc<Run>) {
    let session = turn.message.session.clone();
    if !is_loose(&turn, &run) || !shared.inbound.has_like(&session, &turn.message) {
        return (turn, run);
    }
    if !policy(shared, &session, &turn.message.channel).await.gathers() {
        return (turn, run);
    }
    while let Some((next, next_run)) = shared.inbound.next_like(&session, &turn.message) {
        pass_over(shared, turn, &run, PassedOver::Together).await;
        (turn, run) = (next, next_run);
    }
    (turn, run)
}

/// What waits and is to be told to the turn at work. It stays where it is until the turn has taken it in.
pub(super) async fn steering(shared: &Shared, message: &InboundMessage) -> Vec<PendingTurn> {
    if !shared.inbound.has_like(&message.session, message) {
        return Vec::new();
    }
    let policy = policy(shared, &message.session, &message.channel).await;
    if policy.mode.steers() { shared.inbound.all_like(&message.session, message) } else { Vec::new() }
}

/// Ends a turn that gets no answer of its own, and tells whoever watches.
async fn pass_over(shared: &Arc<Shared>, turn: PendingTurn, run: &Arc<Run>, why: PassedOver) {
    let (channel, account) = (turn.message.channel.clone(), turn.message.account.clone());
    let report = shared.agent.pass_over(turn, why, shared.now_ms()).await;
    end(shared, run, report);
    shared.channels.wake(&channel, &account);
}

/// Tells whoever watches that a run has an end, which is in the store.
pub(super) fn end(shared: &Arc<Shared>, run: &Arc<Run>, report: TurnReport) {
    let report = Arc::new(report);
    shared.inbound.forget(&report.run);
    run.end(End::Report(Arc::clone(&report)));
    Progress::new(run).tell_end(&shared.hub, &report);
    sessions::ended(shared, &report, &run.session_id);
}

/// What a person says about how messages wait in a session: nothing to be told, `default`, or a mode with settings such as
/// `debounce:500ms cap:5 drop:old`. The options with it.
///
/// # Errors
/// A sentence that says what can be said.
pub(crate) fn said(words: &[&str], options: &SessionOptions) -> Result<SessionOptions, String> {
    let mut options = options.clone();
    for word in words {
        let word = word.to_ascii_lowercase();
        let (name, value) = word.split_once([':', '=']).unwrap_or((word.as_str(), ""));
        let number = value.trim_end_matches("ms").parse::<u32>().ok();
        match (name, number) {
            ("default" | "reset", _) => {
                let (thinking_level, verbose_level) = (options.thinking_level, options.verbose_level);
                options = SessionOptions { thinking_level, verbose_level, ..SessionOptions::default() };
            }
            ("debounce", Some(ms)) if ms <= 60_000 => options.queue_debounce_ms = Some(ms),
            ("cap", Some(cap)) if (1..=100).contains(&cap) => options.queue_cap = Some(cap),
            ("drop", _) => options.queue_drop = Some(QueueDrop::named(value).ok_or(USAGE)?),
            (mode, _) => options.queue_mode = Some(QueueMode::named(mode).ok_or(USAGE)?),
        }
    }
    Ok(options)
}

/// What can be said about how messages wait.
const USAGE: &str =
    "/queue collect|followup|steer|interrupt|default debounce:<ms> cap:<1 to 100> drop:old|new|summarize";

/// How messages wait in a session, in words.
pub(crate) fn told(shared: &Shared, options: &SessionOptions, channel: &str) -> String {
    let policy = Policy::of(&shared.inbound.queue, options, channel);
    format!(
        "queue: {} debounce:{}ms cap:{} drop:{}\n{USAGE}",
        policy.mode.name(),
        policy.debounce.as_millis(),
        policy.cap,
        policy.drop.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_goes_before_the_channel_and_the_web_chat_answers_each() {
        let mut config = QueueConfig::default();
        let none = SessionOptions::default();
        let mode = |config: &QueueConfig, options: &SessionOptions, channel| {
            Policy::of(config, options, channel).mode
        };
        assert_eq!(mode(&config, &none, "telegram"), QueueMode::Collect);
        assert_eq!(mode(&config, &none, "webchat"), QueueMode::Followup);
        config.by_channel.insert("webchat".into(), QueueMode::Steer);
        config.mode = QueueMode::Followup;
        assert_eq!(mode(&config, &none, "webchat"), QueueMode::Steer);
        assert_eq!(mode(&config, &none, "irc"), QueueMode::Followup);
        let own = SessionOptions { queue_mode: Some(QueueMode::Interrupt), ..none };
        assert_eq!(mode(&config, &own, "webchat"), QueueMode::Interrupt);
    }

    #[test]
    fn what_a_person_says_is_read_whole_or_not_at_all() {
        let none = SessionOptions::default();
        let all = said(&["collect", "debounce:500ms", "cap:5", "drop:old"], &none).unwrap();
        let expected = SessionOptions {
            queue_mode: Some(QueueMode::Collect),
            queue_debounce_ms: Some(500),
            queue_cap: Some(5),
            queue_drop: Some(QueueDrop::Old),
            ..SessionOptions::default()
        };
        assert_eq!(all, expected);
        assert_eq!(said(&["default"], &all).unwrap(), none);
        assert_eq!(said(&["steer"], &all).unwrap().queue_cap, Some(5));
        for wrong in ["", "fast", "cap:0", "cap:101", "debounce:x", "debounce:99999", "drop:all"] {
            assert!(said(&["steer", wrong], &none).is_err(), "{wrong}");
        }
    }
}
