//! `moltbot security …`.

use moltbot_policy::secret::{SecretAct, SecretPermit};

use crate::arguments::Security;
use crate::book::{CommandBook, OWNER};
use crate::change;
use crate::commands::files::new_file;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::keeper::VaultKeeper;
use crate::output;

/// Does what the command says.
pub(crate) fn run(home: &Home, command: &Security) -> anyhow::Result<Exit> {
    let Security::Decrypt { export } = command;
    let text = change::text(home)?;
    let book = CommandBook::open(home)?;
    let place = format!("{} -> {}", home.config_path.display(), export.display());
    let permit = book.record(SecretPermit::for_owner(SecretAct::Export, place, OWNER))?;
    let keeper = VaultKeeper::new(home.vault()?.secrets(&permit), &home.state);
    let plain = moltbot_config::unseal_all(&text, &keeper)
        .map_err(|error| Exit::Config.because(home::chain(&error)))?;
    new_file(export, plain.as_bytes())?;
    book.close();
    output::line(&format!(
        "{} has every secret in plaintext; remove it when it is no longer needed",
        export.display()
    ))?;
    Ok(Exit::Done)
}
