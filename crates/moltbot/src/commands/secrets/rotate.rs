//! `moltbot secrets rotate`: a new root key, and everything sealed again with it.
//!
//! The key file has both keys from the first step to the last, and each thing that is sealed again is replaced as a
//! whole: whatever stops it, all opens, and the next run goes on.

use moltbot_policy::Recorded;
use moltbot_policy::secret::{KeyFileAct, SecretAct, SecretPermit};
use moltbot_store::{Resealed, Store};
use moltbot_vault::{History, LockError, SecretStore, Vault};
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use crate::arguments::Facts;
use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home, LOCK};
use crate::keeper::VaultKeeper;
use crate::{change, credentials, keys, output};

/// What was sealed again.
struct Done {
    config: usize,
    files: usize,
    history: usize,
    named: u64,
    state: usize,
}

/// Rotates while no gateway runs: its memory has the old key alone.
pub(super) fn run(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let lock = home.state.lock(LOCK, &serde_json::to_vec(&home::Running::starting())?);
    let _lock = lock.map_err(|error| match error {
        LockError::Held { .. } => {
            Exit::Busy.because("a gateway runs; stop it first with `moltbot gateway stop`")
        }
        other => home::failed(&other),
    })?;
    let before = home.vault()?.key_id();
    let book = CommandBook::Own(home.ledger()?.clone());
    let permit = book.record(SecretPermit::for_owner(SecretAct::Rotate, moltbot_vault::KEY_FILE, OWNER))?;
    keys::record(home, &book, KeyFileAct::BeginRotation)?;
    let vault = home.vault()?.begin_rotation(&home.state).map_err(|error| home::failed(&error))?;
    let home = home.clone().with_vault(vault.clone());
    let keeper = VaultKeeper::new(vault.secrets(&permit), &home.state);
    let done = Done {
        config: config(&home, &keeper)?,
        files: files(&home, &vault, &permit)?,
        history: history(&home, &vault, &keeper)?,
        named: SecretStore::of(&home.state)
            .reseal(&vault.secrets(&permit))
            .map_err(|error| home::failed(&error))?,
        state: state(&home, &vault)?,
    };
    home.ledger()?.reseal(&vault).map_err(|error| home::failed(&error))?;
    keys::record(&home, &book, KeyFileAct::EndRotation)?;
    let vault = vault.end_rotation(&home.state).map_err(|error| home::failed(&error))?;
    book.close();
    tell(&done, &before, &vault, facts)
}

/// The config, in one replacement. What it was needs no version: only the seals differ.
fn config(home: &Home, keeper: &VaultKeeper<'_>) -> anyhow::Result<usize> {
    let old = change::text(home)?;
    let invalid = |error: moltbot_config::EditError| Exit::Config.because(home::chain(&error));
    let again = moltbot_config::reseal_all(&old, keeper).map_err(invalid)?;
    if !again.paths.is_empty() {
        home.file().write(again.text.as_bytes()).map_err(|error| home::failed(&error))?;
    }
    Ok(again.paths.len())
}

/// The files of credentials, each in one replacement.
fn files(home: &Home, vault: &Vault, permit: &Recorded<SecretPermit>) -> anyhow::Result<usize> {
    let files = credentials::files(home)?;
    files.iter().try_fold(0, |sum, file| Ok(file.reseal(home, vault.secrets(permit))?.saturating_add(sum)))
}

/// The versions that are kept, with what is sealed inside them.
fn history(home: &Home, vault: &Vault, keeper: &VaultKeeper<'_>) -> anyhow::Result<usize> {
    let mut renew =
        |text: &[u8]| -> Result<Option<Zeroizing<Vec<u8>>>, Box<dyn std::error::Error + Send + Sync>> {
            // What is no config any more holds nothing that could be sealed again.
            let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
            if moltbot_config::secrets(text).is_err() {
                return Ok(None);
            }
            let again = moltbot_config::reseal_all(text, keeper)?;
            Ok((!again.paths.is_empty()).then(|| Zeroizing::new(again.text.into_bytes())))
        };
    History::new(&home.state, vault).reseal(&mut renew).map_err(|error| home::failed(&error))
}

/// What was said, in the state db.
fn state(home: &Home, vault: &Vault) -> anyhow::Result<usize> {
    let store = Store::open(&home.state, vault).map_err(|error| home::failed(&error))?;
    let done = crate::serve::block_on(async {
        let told = |done: Resealed| tracing::debug!(seen = done.seen, sealed = done.sealed, "the state db");
        let done = store.reseal(told).await.map_err(|error| home::failed(&error))?;
        let left = store.sealed_with_old().await.map_err(|error| home::failed(&error))?;
        anyhow::ensure!(left == 0, "{left} words of the state db have the older key; rotate again");
        Ok(done)
    });
    store.close();
    Ok(usize::try_from(done?.sealed).unwrap_or(usize::MAX))
}

fn tell(done: &Done, before: &str, vault: &Vault, facts: Facts) -> anyhow::Result<Exit> {
    let Done { config, files, history, named, state } = done;
    if facts.json {
        let key = vault.key_id();
        output::json(&json!({
            "before": before, "keyId": key, "generation": vault.generation(),
            "sealedAgain": {"config": config, "files": files, "history": history, "named": named, "state": state},
        }))?;
        return Ok(Exit::Done);
    }
    output::line(&format!(
        "sealed again: {config} of the config, {files} of files of credentials, {history} of the history, {named} named, \
         {state} rows of the state db"
    ))?;
    output::line(&format!("key {before} is erased; {} seals now", vault.key_id()))?;
    Ok(Exit::Done)
}
