//! The key file and the book: each file that is written is recorded with its generation, and an older one that was put
//! back is refused, with an alarm.

use moltbot_ledger::query::{Filter, Reader, search};
use moltbot_ledger::{LEDGER_FOLDER, Ledger, alarm};
use moltbot_policy::secret::{KEYS, KeyFileAct, KeyFilePermit, found_keys, refused_keys};
use moltbot_policy::{Book as _, Unrecorded};
use moltbot_vault::{KEY_FILE, Vault, VaultError};

use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home, chain};

/// Records that the key file is about to be written.
pub(crate) fn record(home: &Home, book: &CommandBook, act: KeyFileAct) -> anyhow::Result<()> {
    let generation = home.vault()?.next_generation(&home.state).map_err(|error| home::failed(&error))?;
    drop(book.record(KeyFilePermit::for_owner(act, KEY_FILE, generation, OWNER))?);
    Ok(())
}

/// An error of the keys, for the person. When the file may be an older one that was put back, the book is told.
pub(crate) fn refused(home: &Home, error: &VaultError) -> anyhow::Error {
    if !error.is_put_back() {
        return Exit::Config.because(chain(error));
    }
    let told = match raise(home, error) {
        Ok(Some(sequence)) => format!("the book has the alarm as record {sequence}"),
        Ok(None) => "the book could not be told: it is missing, or does not fit".into(),
        Err(error) => format!("the book could not be told: {error:#}"),
    };
    Exit::Config.because(format!("{} ({told})", chain(error)))
}

fn raise(home: &Home, error: &VaultError) -> anyhow::Result<Option<u64>> {
    let entry = refused_keys(KEY_FILE, chain(error));
    alarm(&home.state, &home.anchors()?, &entry).map_err(|error| home::failed(&error))
}

/// Refuses keys whose newest generation is remembered no more, although the book has a record of one.
pub(crate) fn require_register(home: &Home, vault: &Vault) -> anyhow::Result<()> {
    let recorded = vault.recorded_generation(&home.state).map_err(|error| refused(home, &error))?;
    // The book is read only where there is no register: before the first record of a key file, or when it was removed.
    if recorded.is_some() || newest_in_book(home)?.is_none() {
        return Ok(());
    }
    Err(refused(home, &VaultError::missing_register(&home.state)))
}

/// The largest generation that the book tells of.
pub(crate) fn newest_in_book(home: &Home) -> anyhow::Result<Option<u64>> {
    let folder = home.state.folder(LEDGER_FOLDER).map_err(|error| home::failed(&error))?;
    let filter = Filter { action: Some(KEYS.into()), ..Filter::default() };
    let found = search(&Reader::of(folder), &filter).map_err(|error| home::failed(&error))?;
    let generations =
        found.records.iter().filter_map(|record| record.details.get("generation")?.parse().ok());
    Ok(generations.max())
}

/// Remembers the generation of the key file, which is new or which a crash left newer than what is remembered.
pub(crate) fn remember(home: &Home, ledger: &Ledger) -> anyhow::Result<()> {
    let vault = home.vault()?;
    // First the register: were the record there alone, the register would seem to have been removed.
    if vault.remember_generation(&home.state).map_err(|error| home::failed(&error))? {
        let entered = ledger.enter(found_keys(KEY_FILE, vault.generation()));
        entered.map_err(|refused: Unrecorded| Exit::Busy.because(refused))?;
    }
    Ok(())
}
