//! The book for commands: this process's own, or that of the gateway that has it open.

use std::sync::Arc;

use moltbot_config::settings::AuthConfig;
use moltbot_ledger::{Ledger, Relayed};
use moltbot_net::SharedBook;
use moltbot_policy::{Entry, Permit, Recorded, Unrecorded, record};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::json;

use crate::client::Connection;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::serve::block_on;

/// Who acts when a person uses the command line.
pub(crate) const OWNER: &str = "owner:cli";

/// Where a command's acts are recorded.
pub(crate) enum CommandBook {
    /// No gateway runs: this process has the book open until it ends.
    Own(Ledger),
    /// A gateway runs and is asked.
    Gateway(Relayed),
}

impl CommandBook {
    /// Opens the book, or finds the gateway that has it open.
    pub(crate) fn open(home: &Home) -> anyhow::Result<Self> {
        if home.running()?.is_none() {
            return Ok(Self::Own(home.ledger()?.clone()));
        }
        // Read once: what the command changes may be the credential, which the gateway takes up at the end.
        let auth = home.credentials()?;
        // Asked once before anything else, so that a refused sign-in is told as what it is.
        block_on(async {
            Connection::open_with(home, &auth, &[Scope::Admin]).await?.close().await;
            Ok(())
        })?;
        let home = home.clone();
        Ok(Self::Gateway(Relayed::through(move |entry| {
            relay(&home, &auth, entry).map_err(|error| format!("{error:#}"))
        })))
    }

    /// Records what is about to happen. Without a line in the book it does not.
    pub(crate) fn record<P: Permit>(&self, permit: P) -> anyhow::Result<Recorded<P>> {
        let refused = |unrecorded: Unrecorded| Exit::Busy.because(unrecorded);
        match self {
            Self::Own(ledger) => record(permit, ledger),
            Self::Gateway(relayed) => record(permit, relayed),
        }
        .map_err(refused)
    }

    /// The book for what connects to elsewhere.
    pub(crate) fn shared(self) -> SharedBook {
        match self {
            Self::Own(ledger) => Arc::new(ledger),
            Self::Gateway(relayed) => Arc::new(relayed),
        }
    }

    /// Closes this process's own book, so that its end is recorded as well.
    pub(crate) fn close(self) {
        if let Self::Own(ledger) = self {
            ledger.shutdown();
        }
    }
}

fn relay(home: &Home, auth: &AuthConfig, entry: &Entry) -> anyhow::Result<u64> {
    block_on(async {
        let mut connection = Connection::open_with(home, auth, &[Scope::Admin]).await?;
        let params = json!({"action": entry.action, "target": entry.target, "details": entry.details});
        let answer = connection.ask(Method::LedgerRelay.name(), params).await?;
        connection.close().await;
        let sequence = answer.get("sequence").and_then(serde_json::Value::as_u64);
        sequence.ok_or_else(|| home::failed(&std::io::Error::other("the gateway gave no number of a line")))
    })
}
