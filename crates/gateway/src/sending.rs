//! The book leaves the machine: new records go to the servers of the config, and its head to the files and servers that
//! remember it.
//!
//! At least once and in order: a place in the book is kept as sent only when the server showed that it has everything up
//! to there. What is sent twice has the same installation and number. A server that is away loses nothing and stops
//! nothing; the log and `status` say so. Nothing of this runs for a config that names no server, and a list that names no
//! anchor.

mod anchors;
mod error;
mod place;
mod server;
mod shipping;
mod telling;

use std::sync::Arc;

use moltbot_config::limits;
use moltbot_config::settings::LedgerConfig;
use moltbot_ledger::LEDGER_FOLDER;
use moltbot_ledger::Ledger;
use moltbot_ledger::export::Origin;
use moltbot_ledger::query::{Following, Reader};
use moltbot_vault::StateDir;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::SendError;
pub use server::{Connection, Server};

use anchors::Anchors;
use shipping::Shipping;
use telling::Told;

/// Everything of one gateway that sends the book elsewhere.
#[derive(Debug)]
pub(crate) struct Sending {
    servers: Vec<Arc<Told>>,
    anchors: Arc<Anchors>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What sending needs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) ledger: Ledger,
    pub(crate) origin: Origin,
    pub(crate) state: StateDir,
    pub(crate) clock: fn() -> u64,
}

impl Sending {
    /// Begins to send. Must be called inside a tokio runtime.
    pub(crate) fn start(servers: Vec<Server>, parts: &Parts) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let anchors = Arc::new(Anchors::default());
        tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&anchors).keep(parts.clone())));
        let mut told = Vec::with_capacity(servers.len());
        if !servers.is_empty() {
            let (news, heard) = watch::channel(parts.ledger.last());
            parts.ledger.watch(move |last| {
                news.send_replace(last);
            });
            for server in servers {
                let shipping = Shipping::new(server, parts.clone(), heard.clone(), stop.clone());
                told.push(shipping.told());
                tasks.spawn(shipping.run());
            }
        }
        tasks.close();
        Self { servers: told, anchors, stop, tasks }
    }

    /// What `status` says; nothing when nothing is sent.
    pub(crate) fn status(&self) -> Option<Value> {
        let servers: Vec<Value> = self.servers.iter().map(|told| told.status()).collect();
        let anchors = self.anchors.status();
        let any = !servers.is_empty() || !anchors.is_empty();
        any.then(|| json!({"servers": servers, "anchors": anchors}))
    }

    /// Sends what there is, and ends. What takes longer than [`limits::LEDGER_SENT_STOP`] is sent after the next start.
    pub(crate) async fn finish(&self) {
        self.stop.cancel();
        if tokio::time::timeout(limits::LEDGER_SENT_STOP, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "not everything of the book was sent before the stop; the next start sends the rest"
            );
        }
    }
}

/// The servers that a config names.
///
/// # Errors
/// When one of them cannot be, or its authorities cannot be read.
pub fn servers(config: &LedgerConfig, book: &moltbot_net::SharedBook) -> Result<Vec<Server>, SendError> {
    let syslog = config.syslog.as_ref().map(|settings| Server::syslog(settings, book));
    let otlp = config.otlp.as_ref().map(|settings| Server::otlp(settings, book));
    syslog.into_iter().chain(otlp).collect()
}

/// Sends the records `first` to `last` of the book in a state folder once, over one connection, and tells `progress` the
/// number of the last that was handed over. Answers with that number; 0 when there was none.
///
/// # Errors
/// When the server cannot be reached or does not take them all.
pub async fn send_once(
    server: &Server,
    state: &StateDir,
    origin: &Origin,
    (first, last): (u64, u64),
    actor: &str,
    at_ms: u64,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, SendError> {
    let mut following = Following::new(Reader::of(state.folder(LEDGER_FOLDER)?), first);
    let mut connection = server.connect(actor).await?;
    let mut sent = 0;
    loop {
        let items = following.batch(last)?;
        let Some(item) = items.last() else { break };
        sent = item.last();
        connection.send(&items, origin, at_ms).await?;
        progress(sent);
    }
    connection.finish().await?;
    Ok(sent)
}
