//! The line to the gateway: signs in, calls, hears, and signs in again after a break. It shows nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::timeout;

use super::app::{Event, Then, Ticket};
use crate::client::{Connection, Heard, outcome};
use crate::exit::{self, Exit};
use crate::home::Home;

/// What the client may: all that its owner may.
const SCOPES: [Scope; 3] = [Scope::Admin, Scope::Read, Scope::Write];
/// Seconds until the next try, by the number of tries that failed.
const PAUSES: [u64; 6] = [1, 2, 4, 8, 15, 30];

/// What the line is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Call the gateway. Of a connection that is gone nothing is called on the next one.
    Call { ticket: Ticket, method: Method, params: Value, connection: u64 },
    /// Try the connection now.
    Reconnect,
}

/// The line.
pub(crate) struct Line {
    home: Home,
    orders: Receiver<Order>,
    events: Sender<Event>,
    /// Connections so far.
    connections: u64,
}

/// Why a connection is not served any more.
enum Ended {
    /// It broke.
    Broke(anyhow::Error),
    /// Nobody listens to this line any more.
    Left,
}

impl Line {
    /// Signs in. The line is served by [`Self::serve`].
    pub(crate) async fn open(home: &Home) -> anyhow::Result<Connection> {
        Connection::open(home, &SCOPES).await
    }

    /// A line whose orders come here, and that tells here what happens.
    pub(crate) fn new(home: Home, orders: Receiver<Order>, events: Sender<Event>) -> Self {
        Self { home, orders, events, connections: 0 }
    }

    /// Serves this connection and those after it, until nobody listens.
    pub(crate) async fn serve(mut self, first: Connection) {
        let mut next = Some(first);
        let mut failures = 0_usize;
        loop {
            let opened = match next.take() {
                Some(connection) => Ok(connection),
                None => Self::open(&self.home).await,
            };
            let why = match opened {
                Err(error) => error,
                Ok(connection) => match self.serve_one(connection).await {
                    Ended::Left => return,
                    Ended::Broke(error) => {
                        failures = 0;
                        error
                    }
                },
            };
            let then = then(&why, failures);
            let told = Event::Disconnected { why: format!("{why:#}"), then };
            if self.events.send(told).await.is_err() || self.pause(then).await.is_none() {
                return;
            }
            failures = failures.saturating_add(1);
        }
    }

    async fn serve_one(&mut self, mut connection: Connection) -> Ended {
        self.connections = self.connections.saturating_add(1);
        if self.events.send(Event::Connected(connection.hello().clone())).await.is_err() {
            return Ended::Left;
        }
        let mut calls = BTreeMap::new();
        loop {
            let event = tokio::select! {
                heard = connection.next() => match heard {
                    Err(error) => return Ended::Broke(error),
                    Ok(Heard::Event(frame)) => Event::Heard(frame),
                    Ok(Heard::Response(response)) => match calls.remove(&response.id) {
                        Some(ticket) => Event::Answer(ticket, outcome(response)),
                        None => continue,
                    },
                },
                order = self.orders.recv() => match order {
                    None => {
                        connection.close().await;
                        return Ended::Left;
                    }
                    Some(Order::Call { ticket, method, params, connection: of }) if of == self.connections => {
                        match connection.send(method.name(), params).await {
                            Err(error) => return Ended::Broke(error),
                            Ok(id) => {
                                calls.insert(id, ticket);
                                continue;
                            }
                        }
                    }
                    Some(Order::Call { .. } | Order::Reconnect) => continue,
                },
            };
            if self.events.send(event).await.is_err() {
                return Ended::Left;
            }
        }
    }

    /// Waits until the connection is to be tried again. Nothing when nobody listens any more.
    async fn pause(&mut self, then: Then) -> Option<()> {
        let until_told = async {
            loop {
                match self.orders.recv().await {
                    None => return None,
                    Some(Order::Reconnect) => return Some(()),
                    Some(Order::Call { .. }) => {}
                }
            }
        };
        match then {
            Then::Asks => until_told.await,
            Then::Tries(seconds) => {
                timeout(Duration::from_secs(seconds), until_told).await.unwrap_or(Some(()))
            }
        }
    }
}

/// A sign-in that was refused is not tried again by itself: the gateway counts it.
fn then(why: &anyhow::Error, failures: usize) -> Then {
    match exit::of(why) {
        Exit::Config | Exit::Refused => Then::Asks,
        _ => Then::Tries(PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_sign_in_is_not_repeated_and_others_ever_more_slowly() {
        let unreachable = Exit::Unreachable.because("gone");
        let pauses: Vec<Then> = (0..8).map(|failures| then(&unreachable, failures)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 15, 30, 30, 30].map(Then::Tries));
        assert_eq!(then(&Exit::Refused.because("no"), 0), Then::Asks);
        assert_eq!(then(&Exit::Config.because("no"), 3), Then::Asks);
    }
}
