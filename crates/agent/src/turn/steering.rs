//! Messages that come while a turn is at work, and are told to its model before the next step.

use moltbot_protocol::message::{Message, Part};
use moltbot_store::{PendingTurn, TurnState};

use super::Turn;
use crate::report::{TurnEvent, TurnReport};

impl Turn<'_> {
    /// Takes in what waits for it. What cannot be kept as a part of this turn goes on waiting for its own.
    pub(super) async fn take_in(&mut self) {
        let Some(steer) = self.control.steer.clone() else { return };
        if self.stop.is_cancelled() {
            return;
        }
        for taken in steer().await {
            let (now, results) = ((self.clock)(), self.transcript.unsaved().to_vec());
            let kept = self.inside.store.absorb(self.pending.id, taken.id, results, now).await;
            if let Err(error) = kept {
                tracing::warn!(run = taken.message.run.as_str(), %error, "a message was not taken into a turn");
                return;
            }
            let PendingTurn { message, accepted_ms, .. } = taken;
            let (content, principal) = (vec![Part::text(message.text)], message.principal);
            self.transcript.push(Message::User { content, timestamp: accepted_ms, principal });
            self.transcript.mark_saved();
            let mut report = TurnReport::begun(message.run, message.session, now);
            report.state = TurnState::Done;
            (self.watcher)(TurnEvent::Absorbed(&report));
        }
    }
}
