//! `moltbot secrets accept-keys`: the owner goes on with a key file that is not the newest one the book knows.

use moltbot_policy::record;
use moltbot_policy::secret::{KeyFileAct, KeyFilePermit};
use moltbot_vault::{KEY_FILE, Vault, VaultError};

use crate::book::OWNER;
use crate::exit::Exit;
use crate::home::{self, Home, chain};
use crate::{keys, output, prompt};

/// Writes the key file again as the newest, once the owner has said yes and the book knows.
pub(super) fn run(home: &Home, yes: bool) -> anyhow::Result<Exit> {
    if home.running()?.is_some() {
        return Err(Exit::Busy.because("a gateway runs; stop it first with `moltbot gateway stop`"));
    }
    let cannot = |error: VaultError| Exit::Config.because(chain(&error));
    let vault = Vault::open_as_it_is(&home.state, &home.unlocker()).map_err(cannot)?;
    let vault = vault.ok_or_else(|| Exit::Failed.because("there is no key file"))?;
    let in_book = keys::newest_in_book(home)?;
    let recorded = match vault.recorded_generation(&home.state) {
        Ok(Some(recorded)) if recorded <= vault.generation() => return nothing_to_do(),
        Ok(None) if in_book.is_none() => return nothing_to_do(),
        Ok(recorded) => recorded,
        Err(error) if error.is_put_back() => None,
        Err(error) => return Err(cannot(error)),
    };
    let found = vault.generation();
    let newest = [Some(found), recorded, in_book].into_iter().flatten().max().unwrap_or(found);
    output::line(&format!("the key file is of generation {found}; the newest that is known is {newest}"))?;
    let question = "Go on with this key file? What was sealed with a newer key stays closed.";
    if !yes && !prompt::confirm(question)? {
        return Err(Exit::Failed.because("nobody said yes; the key file stays refused"));
    }
    let home = home.clone().with_vault(vault.clone());
    let ledger = home.ledger_as_it_is()?;
    let generation = newest.saturating_add(1);
    let permit = KeyFilePermit::for_owner(KeyFileAct::Accept, KEY_FILE, generation, OWNER);
    drop(record(permit, ledger).map_err(|error| Exit::Busy.because(error))?);
    vault.accept(&home.state, generation).map_err(|error| home::failed(&error))?;
    output::line(&format!("the key file is the newest now, of generation {generation}"))?;
    if ledger.lockdown().is_some() {
        output::line(
            "the book's signing key does not open with it, so the book goes on beside the old one, locked down; \
             `moltbot ledger accept` ends that",
        )?;
    }
    home.close_book();
    Ok(Exit::Done)
}

fn nothing_to_do() -> anyhow::Result<Exit> {
    Err(Exit::Failed.because("the key file is the newest that is known; nothing has to be accepted"))
}
