//! A WebSocket connection, by what it may do: answer a challenge, or call methods.
//!
//! Each state is a type, so that the wrong call does not compile:
//!
//! ```compile_fail
//! async fn early(connection: moltbot_gateway::Connection<moltbot_gateway::Challenged>) {
//!     connection.serve().await; // nobody has signed in
//! }
//! ```
//!
//! ```
//! async fn signed_in(connection: moltbot_gateway::Connection<moltbot_gateway::Challenged>) {
//!     if let Some(open) = connection.sign_in().await {
//!         open.serve().await;
//!     }
//! }
//! ```
//!
//! A connection that is open cannot sign in again:
//!
//! ```compile_fail
//! async fn again(connection: moltbot_gateway::Connection<moltbot_gateway::Open>) {
//!     connection.sign_in().await;
//! }
//! ```

use std::sync::Arc;

use moltbot_policy::authentication::Locality;
use moltbot_policy::authorization::Grant;
use moltbot_policy::throttle::Source;

use crate::dispatch;
use crate::hub::Membership;
use crate::outbox::Closing;
use crate::shared::Shared;
use crate::socket::{Gone, Goodbye, Incoming, Socket};

/// Messages that are answered before what was gathered is sent, so that a client that asks without pause
/// still hears.
const BATCH: usize = 256;

/// A WebSocket connection in one of its states: [`Challenged`] or [`Open`].
pub struct Connection<State> {
    pub(crate) socket: Socket,
    pub(crate) peer: Peer,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
}

/// The challenge is sent; nobody has signed in.
pub struct Challenged {
    pub(crate) nonce: String,
}

/// Somebody has signed in, with these rights.
pub struct Open {
    pub(crate) grant: Arc<Grant>,
    pub(crate) membership: Membership,
}

/// The other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What its tries are counted for.
    pub(crate) source: Source,
    /// Whether it is on this machine.
    pub(crate) locality: Locality,
}

/// How a conversation ended.
enum End {
    Close(Goodbye),
    Gone,
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl Connection<Open> {
    /// Answers requests and sends events until either end closes.
    pub async fn serve(mut self) {
        let outbox = Arc::clone(self.state.membership.outbox());
        let end = tokio::select! {
            biased;
            closing = outbox.closed() => self.last_words(closing).await,
            end = self.converse() => end,
        };
        self.shared.hub.leave(&self.state.membership);
        if let End::Close(goodbye) = end {
            Box::pin(self.socket.close(goodbye)).await;
        }
    }

    async fn converse(&mut self) -> End {
        loop {
            if let Err(gone) = self.send_waiting().await {
                return gone.into();
            }
            let outbox = self.state.membership.outbox();
            let outcome = tokio::select! {
                biased;
                () = outbox.ready() => continue,
                incoming = self.socket.next() => self.take_batch(incoming).await,
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Sends everything that waits.
    async fn send_waiting(&mut self) -> Result<(), Gone> {
        let outbox = self.state.membership.outbox();
        while let Some(frame) = outbox.pop() {
            self.socket.feed(frame.into_text()).await?;
        }
        if outbox.take_ping() {
            self.socket.ping().await?;
        }
        self.socket.flush().await
    }

    /// Answers the message, and those that came with it.
    async fn take_batch(&mut self, first: Incoming) -> Result<(), End> {
        self.state.membership.outbox().is_alive();
        let mut incoming = first;
        let mut left = BATCH;
        loop {
            match incoming {
                Incoming::Gone => return Err(End::Gone),
                Incoming::Broken(goodbye) => return Err(End::Close(goodbye)),
                Incoming::Life => {}
                Incoming::Text(text) => {
                    if let Some(answer) = dispatch::dispatch(&self.shared, &self.state, &text) {
                        self.socket.feed(answer).await?;
                    }
                }
            }
            left = left.saturating_sub(1);
            match if left == 0 { None } else { self.socket.next_now() } {
                Some(next) => incoming = next,
                None => return Ok(()),
            }
        }
    }

    /// What a client is still told when the gateway ends the connection.
    async fn last_words(&mut self, closing: Closing) -> End {
        let goodbye = match closing {
            Closing::Dead => return End::Gone,
            Closing::Restart => Goodbye::new(Goodbye::RESTART, "service restart"),
            Closing::SlowConsumer => {
                return End::Close(Goodbye::new(Goodbye::POLICY, "slow consumer"));
            }
        };
        let sending = tokio::time::timeout(moltbot_config::limits::LINGER, self.send_waiting());
        match Box::pin(sending).await {
            Ok(Ok(())) => End::Close(goodbye),
            Ok(Err(Gone)) | Err(_) => End::Gone,
        }
    }
}
