//! What reaches a turn from outside while it runs.

use std::pin::Pin;
use std::sync::Arc;

use moltbot_protocol::sender::Origin;
use moltbot_store::PendingTurn;
use tokio_util::sync::CancellationToken;

use crate::processes::Later;

/// Messages on their way to a turn.
pub type Steered = Pin<Box<dyn Future<Output = Vec<PendingTurn>> + Send>>;

/// How a turn is stopped, and how it hears of messages that came since it began.
#[derive(Clone)]
pub struct Control {
    /// Cancelled to end the turn within a second and to kill a running tool.
    pub abort: CancellationToken,
    /// Asked before each further step for the messages to take in, oldest first. They are of the turn's own session and have no
    /// end; each that is taken in is told by [`crate::TurnEvent::Absorbed`].
    pub steer: Option<Arc<dyn Fn() -> Steered + Send + Sync>>,
    /// Told of an incident that puts the session into quarantine and that a command of the turn made after the turn had
    /// ended. Without it none outlives the turn.
    pub later: Option<Later>,
    /// Who on channels hears what a turn says that nobody asked for: told in the commit that ends it.
    pub hears: Vec<Origin>,
}

impl From<CancellationToken> for Control {
    fn from(abort: CancellationToken) -> Self {
        Self { abort, steer: None, later: None, hears: Vec::new() }
    }
}

/// Why a turn gets no answer of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PassedOver {
    /// Too many wait; a later one is answered with it in view.
    Later,
    /// The next one is answered with it.
    Together,
    /// Too many wait. Its sender is told.
    TooMany,
}
