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

use std::net::IpAddr;
use std::sync::Arc;

use moltbot_config::limits;
use moltbot_policy::Book as _;
use moltbot_policy::authentication::{Locality, Tailnet};
use moltbot_policy::authorization::Grant;
use moltbot_policy::clients;

use crate::clients::Registered;
use crate::dispatch;
use crate::gate::Seat;
use crate::hub::Membership;
use crate::nodes::OnDuty;
use crate::outbox::Closing;
use crate::shared::Shared;
use crate::socket::{Gone, Goodbye, Incoming, Socket};

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
    pub(crate) connection_id: String,
    pub(crate) seat: Arc<Seat>,
}

/// Somebody has signed in, with these rights.
pub struct Open {
    pub(crate) grant: Arc<Grant>,
    pub(crate) membership: Membership,
    pub(crate) session: Registered,
    /// That it is there as a node.
    pub(crate) node: Option<Arc<OnDuty>>,
}

/// The other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address, which its tries are counted for.
    pub(crate) client: IpAddr,
    /// Whether it is on this machine.
    pub(crate) locality: Locality,
    /// Who it is on the tailnet, as far as that is known.
    pub(crate) tailnet: Tailnet,
    /// Whether it came through the gateway's own socket.
    pub(crate) socket: bool,
}

/// How a conversation ended.
enum End {
    Close(Goodbye),
    Gone,
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
        let outbox = Arc::clone(self.state.membership.outbox());
        loop {
            match self.socket.next_while_sending(&outbox).await {
                Incoming::Gone => return End::Gone,
                Incoming::Broken(goodbye) => return End::Close(goodbye),
                Incoming::Life => {}
                Incoming::Text(text) => {
                    self.state.session.is_active();
                    if let Some(answer) = dispatch::dispatch(&self.shared, &self.state, &text) {
                        outbox.push_response(answer);
                    }
                }
            }
            outbox.is_alive();
        }
    }

    /// That the client does not read, to the log and to the book.
    fn tell_slow(&self) {
        let (session, whose) = (self.state.session.id(), self.state.grant.actor());
        let client = self.peer.client;
        tracing::warn!(%client, whose, "a client that does not read what it is sent was dropped");
        // Buffered: it permits nothing, and does not wait for the disk.
        if let Err(error) = self.shared.ledger.enter(clients::over(session, whose, "slow_consumer")) {
            tracing::error!(%error, "the end of a session could not be recorded");
        }
    }

    /// What a client is still told when the gateway ends the connection.
    async fn last_words(&mut self, closing: Closing) -> End {
        let goodbye = match closing {
            Closing::Dead => return End::Gone,
            Closing::Ended => {
                return End::Close(Goodbye::new(Goodbye::POLICY, "the owner ended this session"));
            }
            Closing::Expired => Goodbye::new(Goodbye::POLICY, "the session is over: sign in again"),
            Closing::Restart => Goodbye::new(Goodbye::RESTART, "service restart"),
            Closing::Revoked => {
                return End::Close(Goodbye::new(Goodbye::POLICY, "the device's approval or token ended"));
            }
            // Who changed it hears the answer to that.
            Closing::Rotated => Goodbye::new(Goodbye::POLICY, "the gateway's token or password was changed"),
            Closing::SlowConsumer => {
                self.tell_slow();
                return End::Close(Goodbye::new(Goodbye::POLICY, "slow consumer"));
            }
        };
        let outbox = Arc::clone(self.state.membership.outbox());
        let sending = tokio::time::timeout(limits::LINGER, self.socket.send_waiting(&outbox));
        match Box::pin(sending).await {
            Ok(Ok(())) => End::Close(goodbye),
            Ok(Err(Gone)) | Err(_) => End::Gone,
        }
    }
}
