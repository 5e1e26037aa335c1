//! The vault as the config sees it: opens and seals texts, and looks up what references refer to.

use std::borrow::Cow;
use std::error::Error;

use moltbot_config::{Keeper, SecretRef, limits};
use moltbot_vault::{OwnerFile, SecretStore, Secrets, StateDir, random};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::home::chain;

/// Opens and seals the secrets of a config for one recorded act.
pub(crate) struct VaultKeeper<'a> {
    secrets: Secrets<'a>,
    state: &'a StateDir,
    /// The file that places are in, when it is not the config.
    file: Option<String>,
}

impl<'a> VaultKeeper<'a> {
    pub(crate) const fn new(secrets: Secrets<'a>, state: &'a StateDir) -> Self {
        Self { secrets, state, file: None }
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
        self.secrets.seal(&self.place(place), plain).map_err(told)
    }

    fn unseal(&self, place: &str, sealed: &str) -> Result<SecretString, String> {
        self.secrets.unseal(&self.place(place), sealed).map_err(told)
    }

    fn unseal_original(&self, place: &str, sealed: &str) -> Result<SecretString, String> {
        self.secrets.unseal_original(&self.place(place), sealed).map_err(told)
    }

    fn is_current(&self, place: &str, sealed: &str) -> bool {
        self.secrets.is_current(&self.place(place), sealed)
    }

    fn draw_id(&self) -> Result<String, String> {
        let bytes = random::<8>().map_err(told)?;
        Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
    }

    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, String> {
        match reference {
            // Looked up where the environment is; here nobody asks for it.
            SecretRef::Env { id, .. } => Err(format!("the variable `{id}` of the environment is not set")),
            SecretRef::Exec { .. } => Err(EXEC.into()),
            SecretRef::File { id, .. } => read_file(id),
            SecretRef::Store { id, .. } => {
                SecretStore::of(self.state).get(id, &self.secrets).map_err(told)?.ok_or_else(|| {
                    format!("there is no secret named {id}; `moltbot secrets set --store {id}` sets it")
                })
            }
        }
    }
}

/// Why no program is asked for a secret.
const EXEC: &str = "`exec` is refused: programs run in the sandbox alone, where no password manager works; \
    use `store` or `file`, or let the program set a variable before the start and use `env`";

/// The text of an owner-only file, without its last line feed.
fn read_file(path: &str) -> Result<SecretString, String> {
    let bytes = OwnerFile::at(path).read(limits::SECRET_FILE_BYTES).map_err(told)?;
    let bytes = Zeroizing::new(bytes.ok_or_else(|| format!("there is no file {path}"))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{path} is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() { Err(format!("{path} is empty")) } else { Ok(SecretString::from(text)) }
}

fn told(error: impl Error) -> String {
    chain(&error)
}
