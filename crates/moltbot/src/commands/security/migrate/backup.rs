//! What a migration changes, as it was before: sealed, in the state folder, until it is brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use moltbot_policy::secret::{ConfigPermit, SecretAct, SecretPermit};
use moltbot_store::Store;
use moltbot_vault::{FileError, OwnerFile, StateDir, config_backups};
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::data::{self, Conversation};
use super::{Source, alone, workspace};
use crate::book::{CommandBook, OWNER};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::{self, CONFIG, Home};
use crate::serve::block_on;
use crate::{clock, output};

/// The file in the state folder, and what it is sealed for.
const FILE: &str = "migration.sealed";
/// The largest, in bytes.
const BYTES: u64 = 64 * 1024 * 1024;
/// The largest file that is kept, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// What stands in the book of it.
const COMMAND: &str = "security migrate --rollback";

/// What was there.
#[derive(Deserialize, Serialize)]
pub(super) struct Backup {
    /// The foreign folder that was read.
    from: Option<PathBuf>,
    at_ms: u64,
    /// Files that the migration writes anew, byte for byte.
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Files of the state folder that were not there, and are brought from the foreign one.
    made: Vec<String>,
    /// Whether they were.
    is_brought: bool,
    /// Conversations that were not there, with the messages that they get.
    conversations: BTreeMap<String, u64>,
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.files.values_mut().for_each(Vec::zeroize);
    }
}

/// Whether a migration can be brought back. Nothing is opened.
pub(super) fn is_there(environment: &Environment) -> anyhow::Result<bool> {
    let state = StateDir::find(&environment.state_dir).map_err(|error| home::failed(&error))?;
    let names = state.as_ref().map(StateDir::list).transpose().map_err(|error| home::failed(&error))?;
    Ok(names.unwrap_or_default().iter().any(|name| name == FILE))
}

/// Whether what is kept is of a migration from that source: then this is the same one again.
pub(super) fn is_of(environment: &Environment, source: &Source) -> anyhow::Result<bool> {
    if !is_there(environment)? {
        return Ok(false);
    }
    let home = Home::ensure(environment.clone())?;
    Ok(read(&home)?.is_some_and(|backup| backup.from.as_deref() == Some(source.state.path())))
}

/// Keeps what a migration changes, before it does. Of one that was begun before, what was kept then stays.
pub(super) fn keep(
    home: &Home,
    book: &CommandBook,
    source: &Source,
    conversations: &[Conversation],
) -> anyhow::Result<Backup> {
    let from = source.is_foreign.then(|| source.state.path().to_owned());
    let earlier = read(home)?;
    if earlier.as_ref().is_some_and(|earlier| earlier.from != from) {
        return Err(Exit::Failed.because(
            "another migration of this installation is kept; bring it back first (`moltbot security migrate --rollback`)",
        ));
    }
    let mut backup = match earlier {
        Some(earlier) => earlier,
        None => Backup {
            files: if source.is_foreign { BTreeMap::new() } else { files(home)? },
            made: if source.is_foreign { new_files(home, source)? } else { Vec::new() },
            is_brought: !source.is_foreign,
            from,
            at_ms: clock::now_ms(),
            conversations: BTreeMap::new(),
        },
    };
    for (key, messages) in new_conversations(home, conversations)? {
        backup.conversations.entry(key).or_insert(messages);
    }
    write(home, book, &backup)?;
    Ok(backup)
}

/// Takes conversations out of what is kept: where what they were brought from is gone, they are not taken away. Answers which of
/// them the migration has brought.
pub(super) fn forget(
    home: &Home,
    book: &CommandBook,
    conversations: &[Conversation],
) -> anyhow::Result<BTreeSet<String>> {
    let Some(mut backup) = read(home)? else { return Ok(BTreeSet::new()) };
    let keys = conversations.iter().map(|one| one.key.as_str());
    let brought = keys.filter(|key| backup.conversations.remove(*key).is_some()).map(str::to_owned).collect();
    write(home, book, &backup)?;
    Ok(brought)
}

/// The files of the source that are not here. The config is: it was just made, to be replaced.
fn new_files(home: &Home, source: &Source) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    for name in data::files(&source.state)?.into_iter().chain(workspace::texts(&source.state)?) {
        if data::file(&source.state, &name)?.is_some() && data::file(&home.state, &name)?.is_none() {
            made.push(name);
        }
    }
    made.push(CONFIG.to_owned());
    Ok(made)
}

/// Brings the files of a foreign installation, the config last, unless that was done before.
pub(super) fn bring(
    home: &Home,
    book: &CommandBook,
    source: &Source,
    mut backup: Backup,
) -> anyhow::Result<()> {
    if backup.is_brought {
        return Ok(());
    }
    let command = format!("security migrate --from {}", source.state.path().display());
    for name in &backup.made {
        let bytes = if name == CONFIG { Some(source.config()?) } else { data::file(&source.state, name)? };
        let Some(bytes) = bytes else { continue };
        drop(book.record(ConfigPermit::for_owner(name.clone(), command.clone(), Vec::new(), OWNER))?);
        let (path, file) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = made_folder(&home.state, path)?;
        folder.write(file, &bytes).map_err(|error| home::failed(&error))?;
    }
    backup.is_brought = true;
    write(home, book, &backup)
}

/// The folder of that path in the state folder, made where it is missing.
fn made_folder(state: &StateDir, path: &str) -> anyhow::Result<StateDir> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .into_iter()
        .try_fold(state.clone(), |folder, part| folder.folder(part).map_err(|error| home::failed(&error)))
}

/// Conversations that are not here, with the messages that they get.
fn new_conversations(home: &Home, conversations: &[Conversation]) -> anyhow::Result<Vec<(String, u64)>> {
    let _lock = alone(&home.state)?;
    let store = Store::open(&home.state, home.vault()?).map_err(|error| home::failed(&error))?;
    let found = block_on(async {
        let mut found = Vec::new();
        for one in conversations {
            if store.session(&one.key).await.map_err(|error| home::failed(&error))?.is_none() {
                found.push((one.key.as_str().to_owned(), one.messages));
            }
        }
        Ok(found)
    });
    store.close();
    found
}

/// The config, its backups, and the files that the gateway takes over.
fn files(home: &Home) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut paths = vec![home.config_path.clone()];
    paths.extend(config_backups(home.state.path(), &home.config_path));
    paths.extend(data::files(&home.state)?.iter().map(|name| home.state.path().join(name)));
    let mut files = BTreeMap::new();
    for path in paths {
        if let Some(bytes) = OwnerFile::at(&path).look(FILE_BYTES).map_err(|error| home::failed(&error))? {
            files.insert(path, bytes);
        }
    }
    Ok(files)
}

fn write(home: &Home, book: &CommandBook, backup: &Backup) -> anyhow::Result<()> {
    drop(book.record(SecretPermit::for_owner(SecretAct::Seal, FILE, OWNER))?);
    let plain = Zeroizing::new(serde_json::to_vec(backup)?);
    let sealed = home.vault()?.seal(FILE, &plain).map_err(|error| home::failed(&error))?;
    home.state.write(FILE, &sealed).map_err(|error| home::failed(&error))
}

fn read(home: &Home) -> anyhow::Result<Option<Backup>> {
    let Some(sealed) = home.state.read(FILE, BYTES).map_err(|error| home::failed(&error))? else {
        return Ok(None);
    };
    let plain = home.vault()?.unseal(FILE, &sealed).map_err(|error| home::failed(&error))?;
    let wrong = |error: serde_json::Error| Exit::Failed.because(format!("{FILE} cannot be read: {error}"));
    serde_json::from_slice(&plain).map(Some).map_err(wrong)
}

/// Brings back what the migration changed, byte for byte, and takes away what it made. Conversations that somebody went on with
/// stay.
pub(super) fn roll_back(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let Some(backup) = read(home)? else {
        return Err(Exit::Failed.because("there is no migration to bring back"));
    };
    let book = CommandBook::open(home)?;
    let mut told = Vec::new();
    for (path, bytes) in &backup.files {
        let place = path.display().to_string();
        drop(book.record(ConfigPermit::for_owner(place.clone(), COMMAND, Vec::new(), OWNER))?);
        OwnerFile::at(path).write(bytes).map_err(|error| home::failed(&error))?;
        told.push(format!("{place} is as it was"));
    }
    take_away(home, &backup, &mut told)?;
    for name in &backup.made {
        if workspace::is_text(name) {
            told.push(format!("{name} stays: it is yours"));
            continue;
        }
        drop(book.record(ConfigPermit::for_owner(name.clone(), COMMAND, Vec::new(), OWNER))?);
        remove(home, name)?;
        told.push(format!("{name} is removed"));
    }
    home.state.remove(FILE).map_err(|error| home::failed(&error))?;
    book.close();
    if as_json {
        output::json(&json!({"broughtBack": told}))?;
    } else {
        told.iter().try_for_each(|line| output::line(&output::harmless(line)))?;
        output::note(
            "secrets stand in those files as the other program wrote them; moltbot refuses plaintext until they are migrated again",
        );
    }
    Ok(Exit::Done)
}

fn remove(home: &Home, name: &str) -> anyhow::Result<()> {
    let (path, file) = name.rsplit_once('/').unwrap_or(("", name));
    match made_folder(&home.state, path)?.remove(file) {
        // A gateway has taken it over.
        Ok(()) | Err(FileError::Missing { .. }) => Ok(()),
        Err(error) => Err(home::failed(&error)),
    }
}

/// Removes conversations that the migration brought and nobody has gone on with.
fn take_away(home: &Home, backup: &Backup, told: &mut Vec<String>) -> anyhow::Result<()> {
    let _lock = alone(&home.state)?;
    let store = Store::open(&home.state, home.vault()?).map_err(|error| home::failed(&error))?;
    let done = block_on(async {
        for (key, messages) in &backup.conversations {
            let Ok(session) = data::session_key(key) else { continue };
            let row = store.session(&session).await.map_err(|error| home::failed(&error))?;
            match row {
                Some(row) if row.message_count == *messages => {
                    store.delete_session(&session, true).await.map_err(|error| home::failed(&error))?;
                    told.push(format!("conversation {key} is removed"));
                }
                Some(_) => told.push(format!("conversation {key} stays: somebody went on with it")),
                None => {}
            }
        }
        Ok(())
    });
    store.close();
    done
}
