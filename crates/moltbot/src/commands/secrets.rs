//! `moltbot secrets …`: values come from a terminal or standard input, and go to a terminal or where `--raw` says.

mod accept;
mod doctor;
mod exchange;
mod rotate;

use std::io::IsTerminal as _;

use moltbot_config::SecretState;
use moltbot_policy::secret::{KeyFileAct, SecretAct, SecretPermit};
use moltbot_vault::{KeySource, SecretStore, Wrapping};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::arguments::{Facts, Place, Secrets, WrapKind};
use crate::book::{CommandBook, OWNER};
use crate::commands::{gateway, hooks};
use crate::exit::Exit;
use crate::home::{self, Home, PASSWORD, TOKEN};
use crate::keeper::VaultKeeper;
use crate::{change, clock, credentials, keys, output, prompt};

/// Does what the command says.
pub(crate) fn run(home: &Home, command: Secrets) -> anyhow::Result<Exit> {
    match command {
        Secrets::AcceptKeys { yes } => accept::run(home, yes),
        Secrets::Doctor(facts) => doctor::run(home, facts),
        Secrets::Export { file } => exchange::export(home, &file),
        Secrets::Get { place, raw } => get(home, &place, raw),
        Secrets::HashPassword => hash_password(),
        Secrets::Import { file } => exchange::import(home, &file),
        Secrets::List(facts) => list(home, facts),
        Secrets::Rekey { wrap } => rekey(home, wrap),
        Secrets::RevealOnce(place) => reveal_once(home, &place),
        Secrets::Rotate(facts) => rotate::run(home, facts),
        Secrets::Seal => seal(home),
        Secrets::Set(place) => set(home, &place),
        Secrets::Status(facts) => status(home, facts),
        Secrets::Unset(place) => unset(home, &place),
    }
}

/// What is known of the keys and of what they seal.
fn status(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let vault = home.vault()?;
    let text = change::text(home)?;
    let found = moltbot_config::secrets(&text).map_err(|error| Exit::Config.because(error))?;
    let sealed = found.iter().filter(|entry| entry.state == SecretState::Sealed).count();
    let plain = found.iter().filter(|entry| entry.state.is_to_be_sealed()).count();
    let named = SecretStore::of(&home.state).list().map_err(|error| home::failed(&error))?.len();
    let files = credentials::files(home)?;
    let in_files: usize = files.iter().map(|file| file.secrets.len()).sum();
    let open_in_files: usize = files.iter().map(|file| file.plain().count()).sum();
    if facts.json {
        output::json(&json!({
            "installation": vault.installation(), "keyId": vault.key_id(), "generation": vault.generation(),
            "wrapping": vault.wrapping(), "sealed": vault.is_sealed(), "rotating": vault.is_rotating(),
            "memoryLocked": moltbot_vault::can_lock_memory(),
            "config": {"sealed": sealed, "plain": plain}, "named": named,
            "files": {"secrets": in_files, "plain": open_in_files},
        }))?;
        return Ok(Exit::Done);
    }
    let key = home.state.path().join(moltbot_vault::KEY_FILE);
    output::line(&format!(
        "key       {} (id {}, written {} times)",
        key.display(),
        vault.key_id(),
        vault.generation()
    ))?;
    output::line(&format!("wrapping  {}", wrapping_in_words(vault.wrapping())))?;
    output::line(&format!("config    {sealed} sealed, {plain} in plaintext"))?;
    output::line(&format!(
        "files     {in_files} secrets in files of credentials, {open_in_files} in plaintext"
    ))?;
    output::line(&format!("named     {named}"))?;
    if vault.is_rotating() {
        output::line("rotation  not finished: run `moltbot secrets rotate` again")?;
    }
    Ok(Exit::Done)
}

fn wrapping_in_words(wrapping: &str) -> String {
    match wrapping {
        "none" => {
            "none: the file's mode alone protects the keys; `moltbot secrets rekey --wrap …` adds to it"
                .into()
        }
        other => other.to_owned(),
    }
}

fn list(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let text = change::text(home)?;
    let found = moltbot_config::secrets(&text).map_err(|error| Exit::Config.because(error))?;
    let named = SecretStore::of(&home.state).list().map_err(|error| home::failed(&error))?;
    if facts.json {
        let named: Vec<_> =
            named.iter().map(|one| json!({"name": one.name, "updatedAtMs": one.updated_ms})).collect();
        let files = credentials::files(home)?;
        let files: Vec<_> =
            files.iter().map(|file| json!({"file": file.name, "secrets": file.secrets})).collect();
        output::json(&json!({"config": found, "files": files, "named": named}))?;
        return Ok(Exit::Done);
    }
    for entry in found {
        output::line(&format!("{:44} {}", output::harmless(&entry.path), state_in_words(&entry.state)))?;
    }
    for file in credentials::files(home)? {
        for entry in &file.secrets {
            let place = file.place(&entry.path);
            output::line(&format!("{:44} {}", output::harmless(&place), state_in_words(&entry.state)))?;
        }
    }
    for one in named {
        output::line(&format!(
            "{:44} named, set {}",
            format!("--store {}", one.name),
            clock::readable(one.updated_ms)
        ))?;
    }
    Ok(Exit::Done)
}

fn state_in_words(state: &SecretState) -> String {
    match state {
        SecretState::Reference(of) => format!("reference to {of}"),
        SecretState::Empty => "empty".into(),
        SecretState::Original => "sealed by the original".into(),
        SecretState::Plain => "plaintext".into(),
        _ => "sealed".into(),
    }
}

fn set(home: &Home, place: &Place) -> anyhow::Result<Exit> {
    let value = prompt::new_secret(&format!("value of {}", place.place))?;
    let signs_in = !place.store && [TOKEN, PASSWORD].contains(&place.place.as_str());
    let before = home.running()?.filter(|_| signs_in).map(|_| home.credentials()).transpose()?;
    let book = CommandBook::open(home)?;
    let permit = book.record(SecretPermit::for_owner(SecretAct::Seal, name_of(place), OWNER))?;
    let secrets = home.vault()?.secrets(&permit);
    if place.store {
        let set = SecretStore::of(&home.state).set(&place.place, &value, clock::now_ms(), &secrets);
        set.map_err(|error| home::failed(&error))?;
    } else {
        let old = change::text(home)?;
        let keeper = VaultKeeper::new(secrets, &home.state);
        let new = moltbot_config::set_secret(&old, &place.place, &value, &keeper)
            .map_err(|error| home::failed(&error))?;
        change::write(home, &book, &old, &new, "secrets set")?;
    }
    book.close();
    output::line(&format!("{} is set, sealed", place.place))?;
    let is_of_hook = !place.store && place.place.starts_with("hooks.");
    match before {
        Some(before) => gateway::rotate::tell(home, &before)?,
        None if is_of_hook && home.running()?.is_some() => {
            hooks::take_up(home)?;
            output::note("the gateway that runs refuses the old one from now on");
        }
        None => change::remind(home)?,
    }
    Ok(Exit::Done)
}

/// Prints the hash of a password. The password itself is kept nowhere.
fn hash_password() -> anyhow::Result<Exit> {
    let password = prompt::new_secret("password")?;
    let salt = moltbot_vault::random().map_err(|error| home::failed(&error))?;
    let hash = moltbot_policy::authentication::hash_password(&password, &salt);
    output::line(&hash.map_err(|error| home::failed(&error))?)?;
    Ok(Exit::Done)
}

/// Seals what stands in plaintext, in the config and in files of credentials.
fn seal(home: &Home) -> anyhow::Result<Exit> {
    let book = CommandBook::open(home)?;
    let text = change::text(home)?;
    let found = moltbot_config::secrets(&text).map_err(|error| Exit::Config.because(error))?;
    if found.iter().any(|entry| entry.state.is_to_be_sealed()) || !home.vault()?.is_sealed() {
        change::write(home, &book, &text, &text, "secrets seal")?;
    } else {
        credentials::seal(home, &book)?;
    }
    book.close();
    output::line("no secret of the config or of a file of credentials stands in plaintext")?;
    Ok(Exit::Done)
}

fn unset(home: &Home, place: &Place) -> anyhow::Result<Exit> {
    let book = CommandBook::open(home)?;
    drop(book.record(SecretPermit::for_owner(SecretAct::Unset, name_of(place), OWNER))?);
    if place.store {
        SecretStore::of(&home.state).unset(&place.place).map_err(|error| home::failed(&error))?;
    } else {
        let old = change::text(home)?;
        let new = moltbot_config::unset(&old, &place.place).map_err(|error| home::failed(&error))?;
        change::write(home, &book, &old, &new, "secrets unset")?;
    }
    book.close();
    output::line(&format!("{} is removed", place.place))?;
    change::remind(home)?;
    Ok(Exit::Done)
}

fn get(home: &Home, place: &Place, raw: bool) -> anyhow::Result<Exit> {
    if !raw && !std::io::stdout().is_terminal() {
        return Err(Exit::Failed.because("a secret is printed to a terminal; add --raw to print it anywhere"));
    }
    let secret = read(home, place)?;
    if raw {
        output::piece(secret.expose_secret())?;
    } else {
        output::line(&output::harmless(secret.expose_secret()))?;
    }
    Ok(Exit::Done)
}

/// Shows a secret on the terminal's other screen, which leaves nothing in the scrollback.
fn reveal_once(home: &Home, place: &Place) -> anyhow::Result<Exit> {
    if !output::is_interactive() {
        return Err(Exit::Failed.because("a secret is revealed at a terminal, and there is none"));
    }
    let secret = read(home, place)?;
    prompt::on_other_screen(&output::harmless(secret.expose_secret()))?;
    Ok(Exit::Done)
}

/// The secret, once the book says that it is read.
fn read(home: &Home, place: &Place) -> anyhow::Result<SecretString> {
    let book = CommandBook::open(home)?;
    let permit = book.record(SecretPermit::for_owner(SecretAct::Read, name_of(place), OWNER))?;
    let secrets = home.vault()?.secrets(&permit);
    let secret = if place.store {
        let found =
            SecretStore::of(&home.state).get(&place.place, &secrets).map_err(|error| home::failed(&error))?;
        found.ok_or_else(|| Exit::Failed.because(format!("there is no secret named {}", place.place)))?
    } else {
        let keeper = VaultKeeper::new(secrets, &home.state);
        moltbot_config::secret_at(&change::text(home)?, &place.place, &keeper)
            .map_err(|error| home::failed(&error))?
    };
    book.close();
    Ok(secret)
}

fn rekey(home: &Home, wrap: WrapKind) -> anyhow::Result<Exit> {
    // The old wrapping opens before the new one is asked for.
    let vault = home.vault()?;
    let wrapping = match wrap {
        WrapKind::File => Wrapping::Key(KeySource::File),
        WrapKind::Keyring => Wrapping::Keyring,
        WrapKind::None => Wrapping::None,
        WrapKind::Passphrase => {
            Wrapping::Passphrase(prompt::new_secret("new passphrase of keys/secrets.key")?)
        }
        WrapKind::Systemd => Wrapping::Key(KeySource::Systemd),
    };
    let book = CommandBook::open(home)?;
    keys::record(home, &book, KeyFileAct::Rekey)?;
    let vault =
        vault.rekey(&home.state, &wrapping, &home.unlocker()).map_err(|error| home::failed(&error))?;
    book.close();
    output::line(&format!("the root keys are wrapped by: {}", wrapping_in_words(vault.wrapping())))?;
    Ok(Exit::Done)
}

/// How a secret is named in the book.
fn name_of(place: &Place) -> String {
    if place.store { format!("store:{}", place.place) } else { place.place.clone() }
}
