//! One way to change the config: sealed, valid, recorded, with the old text kept.

use moltbot_config::Sealed;
use moltbot_policy::secret::{ConfigPermit, KeyFileAct, SecretAct, SecretPermit};
use moltbot_store::Store;
use moltbot_vault::{BackupOutcome, Change, History, LockError, Vault};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home, LOCK, Running};
use crate::keeper::VaultKeeper;
use crate::{clock, credentials, keys, output};

/// The state db in the state folder.
const STATE: &str = "state.db";

/// The config's text, as it is now.
pub(crate) fn text(home: &Home) -> anyhow::Result<Zeroizing<String>> {
    let text = String::from_utf8(home.text()?);
    text.map(Zeroizing::new).map_err(|_| Exit::Config.because("the config is not UTF-8"))
}

/// Changes settings: each place gets its value, or is taken away.
pub(crate) fn settings(
    home: &Home,
    changes: &[(String, Option<Value>)],
    command: &str,
) -> anyhow::Result<()> {
    let old = text(home)?;
    let mut changed = old.to_string();
    for (place, value) in changes {
        changed = match value {
            Some(value) => moltbot_config::set(&changed, place, &value.to_string()),
            None => moltbot_config::unset(&changed, place),
        }
        .map_err(|error| home::failed(&error))?;
    }
    let book = CommandBook::open(home)?;
    write(home, &book, &old, &changed, command)?;
    book.close();
    Ok(())
}

/// Writes `new` in place of `old`. Keys of older generations in it go where they belong now, secrets are sealed first; it must be valid; the book is told what changes, and
/// the history keeps what was there. From then on the installation is sealed.
pub(crate) fn write(
    home: &Home,
    book: &CommandBook,
    old: &str,
    new: &str,
    command: &str,
) -> anyhow::Result<()> {
    write_by(home, book, old, new, command, OWNER)
}

/// The same for whoever the book is to name.
pub(crate) fn write_by(
    home: &Home,
    book: &CommandBook,
    old: &str,
    new: &str,
    command: &str,
    actor: &str,
) -> anyhow::Result<()> {
    let vault = home.vault()?;
    if !vault.is_sealed() {
        seal_state(home, vault)?;
    }
    // What is sealed is bound to its place, so that it is moved there first.
    let (new, moved) = moltbot_config::migrate(new).map_err(|error| home::failed(&error))?;
    let new = Zeroizing::new(new);
    for (from, to) in &moved {
        output::note(&format!("{from} of an older generation is {to} now"));
    }
    let sealed = seal(home, book, &new)?;
    home.load_text(sealed.text.as_bytes())?;
    let changes = moltbot_config::diff(old, &sealed.text).map_err(|error| home::failed(&error))?;
    let file = home.config_path.display().to_string();
    drop(book.record(ConfigPermit::for_owner(file, command, changes, actor))?);
    let history = History::new(&home.state, vault);
    let change = Change { at_ms: clock::now_ms(), actor, command };
    history.keep(old.as_bytes(), &change).map_err(|error| home::failed(&error))?;
    home.file().write(sealed.text.as_bytes()).map_err(|error| home::failed(&error))?;
    for path in &sealed.paths {
        output::note(&format!("{path} is sealed now"));
    }
    credentials::seal(home, book)?;
    if !vault.is_sealed() {
        keys::record(home, book, KeyFileAct::MarkSealed)?;
        vault.mark_sealed(&home.state).map_err(|error| home::failed(&error))?;
    }
    absorb_backups(home, &history)
}

/// Seals what was said before the installation is marked sealed: from then on a state db in plaintext is somebody
/// else's, and refused. A gateway that runs has done it.
fn seal_state(home: &Home, vault: &Vault) -> anyhow::Result<()> {
    let _lock = match home.state.lock(LOCK, &serde_json::to_vec(&Running::starting())?) {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => return Ok(()),
        Err(error) => return Err(home::failed(&error)),
    };
    let names = home.state.list().map_err(|error| home::failed(&error))?;
    if names.iter().any(|name| name == STATE) {
        Store::open(&home.state, vault).map_err(|error| home::failed(&error))?.close();
    }
    Ok(())
}

/// Seals what stands in `text` as plaintext, when anything does.
fn seal(home: &Home, book: &CommandBook, text: &str) -> anyhow::Result<Sealed> {
    let found = moltbot_config::secrets(text).map_err(|error| Exit::Config.because(error))?;
    let places: Vec<&str> =
        found.iter().filter(|entry| entry.state.is_to_be_sealed()).map(|entry| entry.path.as_str()).collect();
    if places.is_empty() {
        return Ok(Sealed { text: text.to_owned(), paths: Vec::new() });
    }
    let permit = book.record(SecretPermit::for_owner(SecretAct::Seal, places.join(" "), OWNER))?;
    let keeper = VaultKeeper::new(home.vault()?.secrets(&permit), &home.state);
    moltbot_config::seal_all(text, &keeper).map_err(|error| home::failed(&error))
}

/// Plaintext backups beside the config would make its sealing worth nothing.
fn absorb_backups(home: &Home, history: &History<'_>) -> anyhow::Result<()> {
    let reports = history.absorb_backups(&home.config_path, OWNER).map_err(|error| home::failed(&error))?;
    for report in reports {
        let path = report.path.display();
        output::note(&match report.outcome {
            BackupOutcome::Failed { source } => {
                format!(
                    "{path} is a plaintext backup that could not be sealed: {}; remove it",
                    home::chain(&source)
                )
            }
            BackupOutcome::Sealed { number } => {
                format!("{path} was a plaintext backup; it is version {number} of the sealed history now")
            }
            BackupOutcome::Shared { number, names } => format!(
                "{path} was a plaintext backup; it is version {number} of the sealed history now, but {names} other \
                 names of the file still lead to the plaintext; remove them"
            ),
        });
    }
    Ok(())
}

/// Says what a gateway that runs makes of it.
pub(crate) fn remind(home: &Home) -> anyhow::Result<()> {
    if home.running()?.is_some() {
        output::note(
            "the gateway takes up at once what it can; `moltbot status` tells what needs `moltbot gateway restart`",
        );
    }
    Ok(())
}
