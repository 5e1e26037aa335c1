//! The vault as the config sees it: opens and seals texts, and looks up what references refer to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use moltbot_config::settings::SecretsConfig;
use moltbot_config::{Asked, Keeper, SecretRef, limits};
use moltbot_ledger::Ledger;
use moltbot_policy::record;
use moltbot_policy::secret::program;
use moltbot_sandbox::{ProgramSurroundings, ask_program};
use moltbot_vault::{OwnerFile, SecretStore, Secrets, StateDir, random};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::environment;
use crate::home::chain;

/// Opens and seals the secrets of a config for one recorded act.
pub(crate) struct VaultKeeper<'a> {
    /// Absent in an installation that has no keys yet, in which nothing is sealed.
    secrets: Option<Secrets<'a>>,
    state: &'a StateDir,
    programs: Option<Programs<'a>>,
    /// The file that places are in, when it is not the config.
    file: Option<String>,
}

/// What it takes to run programs for secrets: the book, and what they find around them.
struct Programs<'a> {
    ledger: &'a Ledger,
    home: &'a Path,
}

impl<'a> VaultKeeper<'a> {
    /// A keeper that runs no programs: what they have is withheld.
    pub(crate) const fn new(secrets: Secrets<'a>, state: &'a StateDir) -> Self {
        Self { secrets: Some(secrets), state, programs: None, file: None }
    }

    /// A keeper of an installation that has no keys yet: it looks up what is elsewhere, and opens nothing.
    pub(crate) const fn without_keys(state: &'a StateDir) -> Self {
        Self { secrets: None, state, programs: None, file: None }
    }

    /// A keeper for the gateway, which runs the programs that the config names, each recorded in its book.
    pub(crate) const fn running(mut self, ledger: &'a Ledger, home: &'a Path) -> Self {
        self.programs = Some(Programs { ledger, home });
        self
    }

    fn keys(&self) -> Result<&Secrets<'a>, String> {
        self.secrets
            .as_ref()
            .ok_or_else(|| "this installation has no keys yet; `moltbot up` makes them".into())
    }

    /// For the secrets of another file: a sealed text of it opens nowhere else.
    pub(crate) fn inside(self, file: &str) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    fn place<'p>(&self, place: &'p str) -> Cow<'p, str> {
        match &self.file {
            None => Cow::Borrowed(place),
            Some(file) => Cow::Owned(format!("{file}#{place}")),
        }
    }
}

impl Keeper for VaultKeeper<'_> {
    fn seal(&self, place: &str, plain: &SecretString) -> Result<String, String> {
        self.keys()?.seal(&self.place(place), plain).map_err(told)
    }

    fn unseal(&self, place: &str, sealed: &str) -> Result<SecretString, String> {
        self.keys()?.unseal(&self.place(place), sealed).map_err(told)
    }

    fn unseal_original(&self, place: &str, sealed: &str) -> Result<SecretString, String> {
        self.keys()?.unseal_original(&self.place(place), sealed).map_err(told)
    }

    fn is_current(&self, place: &str, sealed: &str) -> bool {
        let place = self.place(place);
        self.secrets.as_ref().is_some_and(|secrets| secrets.is_current(&place, sealed))
    }

    fn draw_id(&self) -> Result<String, String> {
        let bytes = random::<8>().map_err(told)?;
        Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
    }

    fn ask(&self, config: &SecretsConfig, provider: &str, ids: &BTreeSet<String>) -> Result<Asked, String> {
        let Some(Programs { ledger, home }) = &self.programs else { return Ok(Asked::Withheld) };
        let permit = program::judge(config, provider, ids).map_err(|refusal| refusal.message)?;
        let permit = record(permit, *ledger).map_err(told)?;
        let surroundings = ProgramSurroundings { home, variable: &environment::secret };
        ask_program(permit, surroundings, ledger).map(Asked::Answered).map_err(told)
    }

    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, String> {
        match reference {
            // Looked up where the environment is; here nobody asks for it.
            SecretRef::Env { id, .. } => Err(format!("the variable `{id}` of the environment is not set")),
            // Asked for above, all at once.
            SecretRef::Exec { id, .. } => Err(format!("no program was asked for {id}")),
            SecretRef::File { id, .. } => read_file(id),
            SecretRef::Store { id, .. } => {
                SecretStore::of(self.state).get(id, self.keys()?).map_err(told)?.ok_or_else(|| {
                    format!("there is no secret named {id}; `moltbot secrets set --store {id}` sets it")
                })
            }
        }
    }
}

/// The text of an owner-only file, without its last line feed.
pub(crate) fn read_file(path: &str) -> Result<SecretString, String> {
    let bytes = OwnerFile::at(path).read(limits::SECRET_FILE_BYTES).map_err(told)?;
    let bytes = Zeroizing::new(bytes.ok_or_else(|| format!("there is no file {path}"))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{path} is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() { Err(format!("{path} is empty")) } else { Ok(SecretString::from(text)) }
}

fn told(error: impl Error) -> String {
    chain(&error)
}
