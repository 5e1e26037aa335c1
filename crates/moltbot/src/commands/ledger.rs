//! `moltbot ledger …`.

use crate::arguments::Ledger;
use crate::exit::Exit;
use crate::home::Home;

/// Does what the command says.
pub(crate) fn run(_home: &Home, command: Ledger) -> anyhow::Result<Exit> {
    Err(Exit::Failed.because(format!("not yet: {command:?}")))
}
