//! Files of the original that hold credentials: `auth-profiles.json` of each agent and `oauth.json`. They are sealed in
//! place as the config is; the default agent's profiles give the keys of providers that the config and the environment
//! do not have.

use moltbot_agent::model::ProviderKeys;
use moltbot_config::{ApiKey, Config, EditError, SecretEntry, SecretState, SignIns, limits};
use moltbot_ledger::Ledger;
use moltbot_policy::record;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_protocol::ids::AgentId;
use moltbot_vault::{OwnerFile, Secrets};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::keeper::VaultKeeper;
use crate::{environment, output};

/// The file with the profiles of an agent, in its folder.
const PROFILES: &str = "auth-profiles.json";
/// The file of tokens, in each folder of credentials.
const OAUTH: &str = "oauth.json";

/// A file of credentials that is there.
pub(crate) struct CredentialFile {
    /// Its name in the state folder, or its path elsewhere: what its secrets are bound to.
    pub(crate) name: String,
    /// The agent whose profiles it has.
    agent: Option<String>,
    file: OwnerFile,
    text: Zeroizing<String>,
    /// What is secret in it.
    pub(crate) secrets: Vec<SecretEntry>,
}

impl CredentialFile {
    fn read(home: &Home, name: &str, agent: Option<String>) -> anyhow::Result<Option<Self>> {
        let file = OwnerFile::at(home.state.path().join(name));
        let failed = |why: &dyn std::error::Error| Exit::Config.because(home::chain(why));
        let Some(bytes) = file.read(limits::CONFIG_BYTES).map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        let wrong = |why: String| Exit::Config.because(format!("{name}: {why}; correct it or move it away"));
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))?;
        let text = Zeroizing::new(text);
        let secrets = moltbot_config::secrets(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Self { name: name.to_owned(), agent, file, text, secrets }))
    }

    fn keeper<'a>(&self, home: &'a Home, secrets: Secrets<'a>) -> VaultKeeper<'a> {
        VaultKeeper::new(secrets, &home.state).inside(&self.name)
    }

    fn open(&self, home: &Home, secrets: Secrets<'_>) -> anyhow::Result<SignIns> {
        let keeper = self.keeper(home, secrets);
        moltbot_config::sign_ins(&self.text, &keeper, &environment::secret)
            .map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &EditError) -> anyhow::Error {
        Exit::Config.because(format!("{}: {}", self.name, home::chain(error)))
    }

    fn is_of(&self, agent: &AgentId) -> bool {
        self.agent.as_deref() == Some(agent.as_str())
    }

    fn give_keys(&self, found: Vec<ApiKey>, keys: &mut ProviderKeys) {
        for ApiKey { profile, provider, key } in found {
            keys.add(&provider, key, format!("the profile {profile} of {}", self.name));
        }
    }

    /// How a secret of it is named to its owner and in the book.
    pub(crate) fn place(&self, path: &str) -> String {
        format!("{}#{path}", self.name)
    }

    /// Those that the next change seals, with their lines.
    pub(crate) fn plain(&self) -> impl Iterator<Item = (String, usize)> {
        let plain = self.secrets.iter().filter(|entry| entry.state.is_to_be_sealed());
        plain.map(|entry| (self.place(&entry.path), entry.line))
    }

    /// Those that do not open, with why.
    pub(crate) fn closed(&self, home: &Home, secrets: Secrets<'_>) -> Vec<(String, String)> {
        let keeper = self.keeper(home, secrets);
        let sealed = self.secrets.iter().filter(|entry| entry.state == SecretState::Sealed);
        let failed = sealed.filter_map(|entry| {
            let error = moltbot_config::secret_at(&self.text, &entry.path, &keeper).err()?;
            Some((self.place(&entry.path), home::chain(&error)))
        });
        failed.collect()
    }

    /// Its text with every secret in plaintext.
    pub(crate) fn in_plaintext(
        &self,
        home: &Home,
        secrets: Secrets<'_>,
    ) -> anyhow::Result<Zeroizing<String>> {
        let keeper = self.keeper(home, secrets);
        moltbot_config::unseal_all(&self.text, &keeper).map_err(|error| self.wrong(&error))
    }

    /// Seals again what was not sealed with the newest key, and tells how much that was.
    pub(crate) fn reseal(&self, home: &Home, secrets: Secrets<'_>) -> anyhow::Result<usize> {
        let keeper = self.keeper(home, secrets);
        let again = moltbot_config::reseal_all(&self.text, &keeper).map_err(|error| self.wrong(&error))?;
        if !again.paths.is_empty() {
            self.file.write(again.text.as_bytes()).map_err(|error| home::failed(&error))?;
        }
        Ok(again.paths.len())
    }
}

/// Those that are there, in order.
pub(crate) fn files(home: &Home) -> anyhow::Result<Vec<CredentialFile>> {
    let mut files = Vec::new();
    for agent in agents(home)? {
        let name = format!("agents/{agent}/agent/{PROFILES}");
        files.extend(CredentialFile::read(home, &name, Some(agent))?);
    }
    files.extend(CredentialFile::read(home, &format!("credentials/{OAUTH}"), None)?);
    for folder in &home.environment.credentials_folders {
        let path = folder.join(OAUTH);
        if path.is_absolute() {
            files.extend(CredentialFile::read(home, &path.display().to_string(), None)?);
        }
    }
    Ok(files)
}

/// The names of the folders of agents.
fn agents(home: &Home) -> anyhow::Result<Vec<String>> {
    const FOLDER: &str = "agents";
    let names = home.state.list().map_err(|error| home::failed(&error))?;
    if !names.iter().any(|name| name == FOLDER) {
        return Ok(Vec::new());
    }
    let folder = home.state.folder(FOLDER).map_err(|error| home::failed(&error))?;
    folder.list().map_err(|error| home::failed(&error))
}

/// Seals what stands in them as plaintext, each file in one replacement, once the book says so.
pub(crate) fn seal(home: &Home, book: &CommandBook) -> anyhow::Result<()> {
    for file in files(home)? {
        let places: Vec<String> = file.plain().map(|(place, _)| place).collect();
        if places.is_empty() {
            continue;
        }
        let permit = book.record(SecretPermit::for_owner(SecretAct::Seal, places.join(" "), OWNER))?;
        let keeper = file.keeper(home, home.vault()?.secrets(&permit));
        let sealed = moltbot_config::seal_all(&file.text, &keeper).map_err(|error| file.wrong(&error))?;
        file.file.write(sealed.text.as_bytes()).map_err(|error| home::failed(&error))?;
        for path in &sealed.paths {
            output::note(&format!("{} is sealed now", file.place(path)));
        }
    }
    Ok(())
}

/// Opens them for the gateway, each once the book says so: the keys of the default agent's profiles, and every secret.
/// Plaintext is an error where the installation is sealed, and a warning before.
pub(crate) fn open(home: &Home, config: &Config, ledger: &Ledger) -> anyhow::Result<Opened> {
    let (mut opened, default) = (Opened::default(), default_agent(config));
    for file in files(home)?.into_iter().filter(|file| !file.secrets.is_empty()) {
        for (place, line) in file.plain() {
            if home.vault()?.is_sealed() {
                return Err(Exit::Config.because(format!(
                    "{place} (line {line}) stands in plaintext, and the secrets of this installation are sealed; run \
                     `moltbot secrets seal`"
                )));
            }
            tracing::warn!(
                setting = place,
                line,
                "a secret stands in plaintext; `moltbot secrets seal` seals it"
            );
        }
        let permit = SecretPermit::for_owner(SecretAct::Load, &file.name, "gateway");
        let permit = record(permit, ledger).map_err(|error| Exit::Busy.because(error))?;
        let found = file.open(home, home.vault()?.secrets(&permit))?;
        if file.is_of(&default) {
            file.give_keys(found.api_keys, &mut opened.keys);
        }
        opened.secrets.extend(found.secrets);
    }
    Ok(opened)
}

/// The keys of the default agent's profiles, for a command that only tells where they are.
pub(crate) fn peek(home: &Home, config: &Config) -> anyhow::Result<ProviderKeys> {
    let (mut keys, default) = (ProviderKeys::default(), default_agent(config));
    for file in files(home)?.into_iter().filter(|file| file.is_of(&default)) {
        file.give_keys(file.open(home, home.vault()?.own_credential())?.api_keys, &mut keys);
    }
    Ok(keys)
}

/// What was opened for the gateway.
#[derive(Default)]
pub(crate) struct Opened {
    /// Keys of providers.
    pub(crate) keys: ProviderKeys,
    /// Every secret of the files.
    pub(crate) secrets: Vec<SecretString>,
}

fn default_agent(config: &Config) -> AgentId {
    let list = &config.agents.list;
    let default = list.iter().find(|agent| agent.default).or(list.first());
    default.map_or_else(AgentId::main, |agent| agent.id.clone())
}

/// Writes a file of credentials of another installation, sealed for this one, in place of what is there.
pub(crate) fn import(home: &Home, name: &str, text: &str, secrets: Secrets<'_>) -> anyhow::Result<()> {
    let parts: Vec<&str> = name.split('/').collect();
    let is_known = match parts.as_slice() {
        ["agents", agent, "agent", PROFILES] => AgentId::parse(agent).is_ok(),
        ["credentials", OAUTH] => true,
        _ => false,
    };
    let (Some((leaf, folders)), true) = (parts.split_last(), is_known) else {
        return Err(Exit::Failed.because(format!("{name:?} is no file of credentials in a state folder")));
    };
    let keeper = VaultKeeper::new(secrets, &home.state).inside(name);
    let sealed = moltbot_config::seal_all(text, &keeper).map_err(|error| home::failed(&error))?;
    let mut folder = home.state.clone();
    for name in folders {
        folder = folder.folder(name).map_err(|error| home::failed(&error))?;
    }
    folder.write(leaf, sealed.text.as_bytes()).map_err(|error| home::failed(&error))
}
