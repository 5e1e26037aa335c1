//! `moltbot secrets doctor`: whether every secret opens, and none lies around in plaintext.

use moltbot_config::SecretState;
use moltbot_posture::{self as posture, Check, Level, worst};
use moltbot_vault::{SecretStore, Vault};
use serde_json::json;

use crate::arguments::Facts;
use crate::commands::doctor::print_rows;
use crate::credentials::{self, CredentialFile};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::keeper::VaultKeeper;
use crate::{change, output};

/// Checks, and says what to do.
pub(super) fn run(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let vault = home.vault()?;
    let mut checks = vec![posture::wrapping(vault.wrapping()), posture::rotation(vault.is_rotating())];
    checks.extend(config(home, vault)?);
    checks.push(named(home, vault)?);
    checks.extend(files(home, vault));
    let is_well = worst(&checks) < Level::Fail;
    if facts.json {
        output::json(&json!({"ok": is_well, "checks": checks}))?;
    } else {
        print_rows(&checks)?;
    }
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

fn config(home: &Home, vault: &Vault) -> anyhow::Result<Vec<Check>> {
    let text = change::text(home)?;
    let keeper = VaultKeeper::new(vault.own_credential(), &home.state);
    let found = moltbot_config::secrets(&text).map_err(|error| Exit::Config.because(error))?;
    let count = found.len();
    let (mut plain, mut closed) = (Vec::new(), Vec::new());
    for entry in found {
        if entry.state.is_to_be_sealed() {
            plain.push((entry.path, entry.line));
        } else if entry.state == SecretState::Sealed
            && let Err(error) = moltbot_config::secret_at(&text, &entry.path, &keeper)
        {
            closed.push((entry.path, home::chain(&error)));
        }
    }
    Ok(posture::config_secrets(count, &plain, &closed))
}

fn files(home: &Home, vault: &Vault) -> Vec<Check> {
    let files = match credentials::files(home) {
        Ok(files) => files,
        Err(error) => return vec![posture::credential_files_unusable(&format!("{error:#}"))],
    };
    let count = files.iter().map(|file| file.secrets.len()).sum();
    let plain: Vec<_> = files.iter().flat_map(CredentialFile::plain).collect();
    let closed: Vec<_> = files.iter().flat_map(|file| file.closed(home, vault.own_credential())).collect();
    posture::credential_files(count, &plain, &closed)
}

fn named(home: &Home, vault: &Vault) -> anyhow::Result<Check> {
    let (store, secrets) = (SecretStore::of(&home.state), vault.own_credential());
    let names = store.list().map_err(|error| home::failed(&error))?;
    let fails = |name: &str| store.get(name, &secrets).err().map(|error| home::chain(&error));
    let closed = names.iter().find_map(|one| Some((one.name.as_str(), fails(&one.name)?)));
    Ok(posture::named_secrets(names.len(), closed))
}
