//! Secrets on their way to another installation, under a passphrase.

use std::collections::BTreeMap;
use std::path::Path;

use moltbot_config::SecretState;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_vault::{SecretStore, open_export, seal_export};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::book::{CommandBook, OWNER};
use crate::commands::files::{new_file, read_file};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::keeper::VaultKeeper;
use crate::{change, clock, credentials, output, prompt};

/// The largest file that is read, in bytes.
const BYTES: u64 = 4 * 1024 * 1024;

/// What an exported file holds. In memory for as long as it takes to seal it.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    config: BTreeMap<String, String>,
    /// Files of credentials, whole.
    #[serde(default)]
    files: BTreeMap<String, String>,
    store: BTreeMap<String, String>,
}

impl Exchange {
    fn count(&self) -> String {
        let secrets = self.config.len().saturating_add(self.store.len());
        format!("{secrets} secrets and {} files of credentials", self.files.len())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for values in [&mut self.config, &mut self.files, &mut self.store] {
            values.values_mut().for_each(secrecy::zeroize::Zeroize::zeroize);
        }
    }
}

/// Writes every secret that does not stand elsewhere to `file`.
pub(super) fn export(home: &Home, file: &Path) -> anyhow::Result<Exit> {
    let passphrase = prompt::new_secret("passphrase of the exported file")?;
    let book = CommandBook::open(home)?;
    let permit =
        book.record(SecretPermit::for_owner(SecretAct::Export, file.display().to_string(), OWNER))?;
    let vault = home.vault()?;
    let keeper = VaultKeeper::new(vault.secrets(&permit), &home.state);
    let invalid = |error: &dyn std::error::Error| Exit::Config.because(home::chain(error));
    let text = change::text(home)?;
    let mut exchange = Exchange::default();
    for entry in moltbot_config::secrets(&text).map_err(|error| invalid(&error))? {
        if matches!(entry.state, SecretState::Empty | SecretState::Reference(_)) {
            continue;
        }
        let secret =
            moltbot_config::secret_at(&text, &entry.path, &keeper).map_err(|error| invalid(&error))?;
        exchange.config.insert(entry.path, secret.expose_secret().to_owned());
    }
    let (store, secrets) = (SecretStore::of(&home.state), vault.secrets(&permit));
    for one in store.list().map_err(|error| invalid(&error))? {
        if let Some(secret) = store.get(&one.name, &secrets).map_err(|error| invalid(&error))? {
            exchange.store.insert(one.name, secret.expose_secret().to_owned());
        }
    }
    for file in credentials::files(home)? {
        let text = file.in_plaintext(home, vault.secrets(&permit))?;
        exchange.files.insert(file.name, text.to_string());
    }
    let plain = Zeroizing::new(serde_json::to_vec(&exchange)?);
    let sealed = seal_export(&passphrase, &plain).map_err(|error| home::failed(&error))?;
    new_file(file, &sealed)?;
    book.close();
    output::line(&format!("{} are in {}, under the passphrase", exchange.count(), file.display()))?;
    Ok(Exit::Done)
}

/// Takes over every secret of `file`, in place of what is there.
pub(super) fn import(home: &Home, file: &Path) -> anyhow::Result<Exit> {
    let path = std::path::absolute(file)?;
    let bytes = read_file(&path, BYTES)?;
    let passphrase = prompt::ask("passphrase of the exported file")?;
    let plain = open_export(&passphrase, &bytes).map_err(|error| home::failed(&error))?;
    let exchange: Exchange = serde_json::from_slice(&plain)
        .map_err(|_| Exit::Failed.because("the file opens, and is no export of secrets"))?;
    let book = CommandBook::open(home)?;
    let permit = book.record(SecretPermit::for_owner(SecretAct::Seal, path.display().to_string(), OWNER))?;
    let vault = home.vault()?;
    let keeper = VaultKeeper::new(vault.secrets(&permit), &home.state);
    let old = change::text(home)?;
    let mut new = Zeroizing::new(old.to_string());
    for (place, value) in &exchange.config {
        let value = SecretString::from(value.as_str());
        let changed = moltbot_config::set_secret(&new, place, &value, &keeper);
        new = Zeroizing::new(changed.map_err(|error| home::failed(&error))?);
    }
    change::write(home, &book, &old, &new, "secrets import")?;
    let (store, secrets) = (SecretStore::of(&home.state), vault.secrets(&permit));
    for (name, value) in &exchange.store {
        let value = SecretString::from(value.as_str());
        store.set(name, &value, clock::now_ms(), &secrets).map_err(|error| home::failed(&error))?;
    }
    for (name, text) in &exchange.files {
        credentials::import(home, name, text, vault.secrets(&permit))?;
    }
    book.close();
    output::line(&format!("{} are taken over, sealed", exchange.count()))?;
    change::remind(home)?;
    Ok(Exit::Done)
}
