//! The state folder and its config: made the same way by every command that needs them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use moltbot_config::limits;
use moltbot_vault::{KEY_FILE, OwnerFile, SEALED_PREFIX, StateDir, Unlocker, Vault, VaultError, no_keyring};
use serde::{Deserialize, Serialize};

use crate::environment::{self, Environment};
use crate::exit::Exit;
use crate::prompt;

/// The lock of the one gateway of a state folder, and its description.
pub(crate) const LOCK: &str = "gateway.lock";
/// The config's name in the state folder.
pub(crate) const CONFIG: &str = "moltbot.json";

/// An installation: its state folder, its config, its keys, and what the environment adds.
#[derive(Clone)]
pub(crate) struct Home {
    /// What the environment says.
    pub(crate) environment: Environment,
    /// The state folder.
    pub(crate) state: StateDir,
    /// The config file.
    pub(crate) config_path: PathBuf,
    /// Whether the config was made just now.
    pub(crate) is_new: bool,
    /// The root keys, once they were needed.
    vault: OnceLock<Vault>,
}

/// What the lock's holder wrote into it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Running {
    /// The gateway's process.
    pub(crate) pid: u32,
    /// The port that it listens on; zero until it does.
    pub(crate) port: u16,
    /// When it started, in milliseconds since the epoch.
    pub(crate) started_at_ms: u64,
    /// The program's version.
    pub(crate) version: String,
}

impl Home {
    /// Opens the installation; makes the folder (0700) and the first config, with a token drawn for it,
    /// where there is none.
    pub(crate) fn ensure(environment: Environment) -> anyhow::Result<Self> {
        let state = StateDir::open_or_create(&environment.state_dir).map_err(|error| failed(&error))?;
        let ours = environment.state_dir.join(CONFIG);
        let config_path = environment.config_path.clone().unwrap_or(ours);
        let mut home = Self { environment, state, config_path, is_new: false, vault: OnceLock::new() };
        if home.read()?.is_none() {
            home.is_new = home.write_first()?;
        }
        Ok(home)
    }

    /// The config's text.
    pub(crate) fn text(&self) -> anyhow::Result<Vec<u8>> {
        let missing = || Exit::Config.because(format!("{} has disappeared", self.config_path.display()));
        self.read()?.ok_or_else(missing)
    }

    /// The config, with what the environment overrides.
    pub(crate) fn load(&self) -> anyhow::Result<moltbot_config::Loaded> {
        let mut loaded = load(&self.text()?, &self.config_path)?;
        let gateway = &mut loaded.config.gateway;
        if let Some(port) = self.environment.port {
            gateway.port = port;
        }
        if let Some(token) = &self.environment.token {
            gateway.auth.token = Some(token.clone());
        }
        if let Some(password) = &self.environment.password {
            gateway.auth.password = Some(password.clone());
        }
        Ok(loaded)
    }

    /// The root keys: opened, or drawn for a new installation, when they are first needed.
    pub(crate) fn vault(&self) -> anyhow::Result<&Vault> {
        if let Some(vault) = self.vault.get() {
            return Ok(vault);
        }
        let vault = self.open_vault().map_err(|error| Exit::Config.because(chain(&error)))?;
        Ok(self.vault.get_or_init(|| vault))
    }

    /// What unlocks the root keys here.
    pub(crate) fn unlocker(&self) -> Unlocker<'static> {
        Unlocker {
            credentials: self.environment.credentials.clone(),
            key_file: self.environment.key_file.clone(),
            ask: &|| prompt::ask(prompt::PASSPHRASE).map_err(|error| format!("{error:#}")),
            keyring: &no_keyring,
        }
    }

    /// Whether somebody has to type a passphrase.
    pub(crate) fn needs_passphrase(&self) -> anyhow::Result<bool> {
        let wrapping =
            Vault::wrapping_in(&self.state).map_err(|error| Exit::Config.because(chain(&error)))?;
        Ok(wrapping == Some("passphrase"))
    }

    fn open_vault(&self) -> Result<Vault, VaultError> {
        let unlocker = self.unlocker();
        if let Some(vault) = Vault::open(&self.state, &unlocker)? {
            return Ok(vault);
        }
        // New keys would open nothing of a config that is sealed already.
        let text = self.file().read(limits::CONFIG_BYTES)?.unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(SEALED_PREFIX) {
            let (path, witness) = (self.state.path().join(KEY_FILE), self.config_path.display().to_string());
            return Err(VaultError::Lost { path, witness });
        }
        Vault::open_or_create(&self.state, &unlocker)
    }

    /// Where the gateway's credential is, for telling the person; never the credential.
    pub(crate) fn credential_place(&self) -> String {
        if self.environment.token.is_some() {
            return "in the environment, as MOLTBOT_GATEWAY_TOKEN".into();
        }
        if self.environment.password.is_some() {
            return "in the environment, as MOLTBOT_GATEWAY_PASSWORD".into();
        }
        format!("in {} at gateway.auth", self.config_path.display())
    }

    /// Writes a config whose text was validated.
    pub(crate) fn write(&self, text: &str) -> anyhow::Result<()> {
        self.file().write(text.as_bytes()).map_err(|error| failed(&error))
    }

    /// The gateway that runs on this state folder.
    pub(crate) fn running(&self) -> anyhow::Result<Option<Running>> {
        let Some(contents) = self.state.peek_lock(LOCK).map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        Ok(Some(describe(&contents)?))
    }

    fn read(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.file().read(limits::CONFIG_BYTES).map_err(|error| Exit::Config.because(chain(&error)))
    }

    fn file(&self) -> OwnerFile {
        OwnerFile::at(&self.config_path)
    }

    /// False when another process was faster.
    fn write_first(&self) -> anyhow::Result<bool> {
        let token = moltbot_vault::draw_token()?;
        let text = moltbot_config::initial(&token);
        if self.environment.config_path.is_none() {
            return self.state.create(CONFIG, text.as_bytes()).map_err(|error| failed(&error));
        }
        self.write(&text)?;
        Ok(true)
    }
}

/// Reads a config's text, with the environment's variables in it.
pub(crate) fn load(text: &[u8], path: &Path) -> anyhow::Result<moltbot_config::Loaded> {
    let name = path.display().to_string();
    moltbot_config::load(text, &name, &environment::secret).map_err(|errors| Exit::Config.because(errors))
}

/// What a lock says of its holder.
pub(crate) fn describe(contents: &[u8]) -> anyhow::Result<Running> {
    serde_json::from_slice(contents).map_err(|_| {
        Exit::Busy.because(format!("a gateway is just starting (it holds {LOCK}); try again in a second"))
    })
}

/// An error of a library with its causes, as a failure.
pub(crate) fn failed(error: &dyn std::error::Error) -> anyhow::Error {
    Exit::Failed.because(chain(error))
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
