//! The state folder and its config: made the same way by every command that needs them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;

use moltbot_config::settings::{AuthConfig, AuthMode, DockerConfig, GatewayMode, RemoteConfig};
use moltbot_config::{
    ConfigErrorKind, ConfigErrors, IncludedFiles, Keeper, Loaded, NoKeys, SEALED_PREFIX, Surroundings, limits,
};
use moltbot_ledger::export::Origin;
use moltbot_ledger::{Ledger, LedgerOptions, anchor};
use moltbot_policy::secret::{SecretAct, SecretPermit};
pub(crate) use moltbot_policy::with_causes as chain;
use moltbot_policy::{Recorded, record};
use moltbot_vault::{History, KEY_FILE, OwnerFile, StateDir, Unlocker, Vault, VaultError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::book::{CommandBook, OWNER};
use crate::environment::{self, Environment};
use crate::exit::Exit;
use crate::keeper::VaultKeeper;
use crate::{clock, credentials, keys, prompt};

/// The lock of the one gateway of a state folder, and its description.
pub(crate) const LOCK: &str = "gateway.lock";
/// Where the gateway's token is in the config.
pub(crate) const TOKEN: &str = "gateway.auth.token";
/// Where its password is.
pub(crate) const PASSWORD: &str = "gateway.auth.password";
/// Where those of another machine's gateway are.
const REMOTE: [&str; 2] = ["gateway.remote.token", "gateway.remote.password"];
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
    /// The book, once this process had to write it.
    ledger: OnceLock<Ledger>,
    /// The gateway's password, once a person was asked for it.
    password: OnceLock<SecretString>,
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
    /// The addresses beyond loopback that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<IpAddr>,
    /// The fingerprint of its certificate, when it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
}

impl Running {
    /// A holder that does not listen yet.
    pub(crate) fn starting() -> Self {
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").into());
        let started_at_ms = clock::now_ms();
        Self { pid, port: 0, started_at_ms, version, addresses: Vec::new(), fingerprint: None }
    }

    /// Where else it is reached, and what its clients pin: a line each.
    pub(crate) fn reached(&self) -> Vec<(&'static str, String)> {
        let scheme = if self.fingerprint.is_some() { "https" } else { "http" };
        let urls = self.addresses.iter().map(|address| {
            let url = format!("{scheme}://{}", SocketAddr::new(*address, self.port));
            let open =
                self.fingerprint.is_none().then_some(" in plaintext: everything can be read on that network");
            ("network", url + open.unwrap_or_default())
        });
        let pin = self.fingerprint.iter().map(|fingerprint| ("pin", format!("SHA-256 {fingerprint}")));
        urls.chain(pin).collect()
    }
}

impl Home {
    /// Opens the installation; makes the folder (0700), the root keys and the first config, with a token drawn for it
    /// and sealed, where there is none.
    pub(crate) fn ensure(environment: Environment) -> anyhow::Result<Self> {
        let state = StateDir::open_or_create(&environment.state_dir).map_err(|error| failed(&error))?;
        let ours = environment.state_dir.join(CONFIG);
        let config_path = environment.config_path.clone().unwrap_or(ours);
        let (vault, ledger, password) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let mut home = Self { environment, state, config_path, is_new: false, vault, ledger, password };
        if home.read()?.is_none() {
            home.is_new = home.write_first()?;
            // Sealed from birth: what another program left here is sealed before anything looks for it.
            credentials::seal(&home, &CommandBook::Own(home.ledger()?.clone()))?;
        }
        Ok(home)
    }

    /// The config's text.
    pub(crate) fn text(&self) -> anyhow::Result<Vec<u8>> {
        let missing = || Exit::Config.because(format!("{} has disappeared", self.config_path.display()));
        self.read()?.ok_or_else(missing)
    }

    /// The config, with what the environment overrides. For a command: what it shows of secrets it records by itself.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        Ok(self.overridden(self.load_text(&self.text()?)?))
    }

    /// Reads a config's text, with its secrets opened and the environment's variables in it.
    pub(crate) fn load_text(&self, text: &[u8]) -> anyhow::Result<Loaded> {
        self.try_load_text(text)?.map_err(|errors| self.invalid(&errors))
    }

    /// Like [`Self::load_text`], with the errors of the config apart from those of the keys.
    pub(crate) fn try_load_text(&self, text: &[u8]) -> anyhow::Result<Result<Loaded, ConfigErrors>> {
        let read = match self.known_vault(text)? {
            None => self.read_with(text, &VaultKeeper::without_keys(&self.state), false),
            Some(vault) => {
                let keeper = VaultKeeper::new(vault.own_credential(), &self.state);
                self.read_with(text, &keeper, vault.is_sealed())
            }
        };
        match read {
            Ok(loaded) => Ok(Ok(require_setup(loaded)?)),
            Err(errors) => Ok(Err(errors)),
        }
    }

    /// The gateway's config: its secrets are opened for an act that is in the book, and programs are asked for theirs.
    pub(crate) fn load_recorded(
        &self,
        text: &[u8],
        permit: &Recorded<SecretPermit>,
        ledger: &Ledger,
    ) -> anyhow::Result<Loaded> {
        let vault = self.vault()?;
        let keeper = VaultKeeper::new(vault.secrets(permit), &self.state);
        let keeper = keeper.running(ledger, &self.environment.home);
        let loaded =
            self.read_with(text, &keeper, vault.is_sealed()).map_err(|errors| self.invalid(&errors))?;
        Ok(self.overridden(require_setup(loaded)?))
    }

    /// Refuses a config with a setting that lets anybody in. No key is opened for it; other errors are for those who use
    /// the config.
    pub(crate) fn require_guarded(&self) -> anyhow::Result<()> {
        let Err(errors) = self.read_with(&self.text()?, &NoKeys, false) else { return Ok(()) };
        let is_refused = errors.errors().iter().any(|error| error.kind == ConfigErrorKind::Refused);
        if is_refused { Err(Exit::Config.because(errors)) } else { Ok(()) }
    }

    fn read_with(&self, text: &[u8], keeper: &dyn Keeper, sealed: bool) -> Result<Loaded, ConfigErrors> {
        let name = self.config_path.display().to_string();
        let included = Beside(self.file());
        let surroundings =
            Surroundings { environment: &environment::secret, keeper, sealed, files: &included };
        moltbot_config::load(text, &name, &surroundings)
    }

    fn overridden(&self, mut loaded: Loaded) -> Loaded {
        let gateway = &mut loaded.config.gateway;
        let is_given = |path: &str| match path {
            TOKEN => self.environment.token.is_some(),
            PASSWORD => self.environment.password.is_some(),
            _ => false,
        };
        loaded.withheld.retain(|path| !is_given(path));
        if let Some(port) = self.environment.port {
            gateway.port = port;
        }
        if let Some(token) = &self.environment.token {
            gateway.auth.token = Some(token.clone());
        }
        if let Some(password) = &self.environment.password {
            gateway.auth.password = Some(password.clone());
        }
        loaded
    }

    /// The gateway of another machine that commands talk to, when the config says so.
    pub(crate) fn remote(&self) -> anyhow::Result<Option<RemoteConfig>> {
        let gateway = self.load()?.config.gateway;
        Ok((gateway.mode == GatewayMode::Remote).then_some(gateway.remote))
    }

    /// What this command signs in to its own gateway with. A program is run for a secret by the gateway alone, whose book
    /// it is recorded in: what it has is not known here.
    pub(crate) fn credentials(&self) -> anyhow::Result<AuthConfig> {
        let loaded = self.load()?;
        let gateway = loaded.config.gateway;
        let elsewhere = gateway.mode == GatewayMode::Remote;
        let paths = if elsewhere { REMOTE } else { [TOKEN, PASSWORD] };
        match loaded.withheld.iter().find(|path| paths.contains(&path.as_str())) {
            // The credential of this installation is none of another machine's.
            None if elsewhere => Ok(AuthConfig {
                token: self.environment.token.clone().or(gateway.remote.token),
                password: self.environment.password.clone().or(gateway.remote.password),
                ..AuthConfig::default()
            }),
            None => self.with_password(gateway.auth),
            Some(path) => Err(Exit::Config.because(format!(
                "{path} comes from a program, which the gateway alone runs; set MOLTBOT_GATEWAY_TOKEN or \
                 MOLTBOT_GATEWAY_PASSWORD to its value for this command"
            ))),
        }
    }

    /// Where the config has the password's hash alone, a person is asked for the password, once a command.
    fn with_password(&self, mut auth: AuthConfig) -> anyhow::Result<AuthConfig> {
        let is_hash = auth.password.as_ref().is_some_and(|text| text.expose_secret().starts_with("$argon2"));
        if !is_hash || auth.mode == Some(AuthMode::Token) || (auth.mode.is_none() && auth.token.is_some()) {
            return Ok(auth);
        }
        if self.password.get().is_none() {
            let asked = prompt::ask("the gateway's password")?;
            drop(self.password.set(asked));
        }
        auth.password = self.password.get().cloned();
        Ok(auth)
    }

    /// An invalid config, and the one that is known to work when there is one.
    fn invalid(&self, errors: &ConfigErrors) -> anyhow::Error {
        let good = self
            .vault
            .get()
            .and_then(|vault| History::new(&self.state, vault).last_known_good().ok().flatten());
        match good {
            None => Exit::Config.because(errors),
            Some(good) => Exit::Config.because(format!(
                "{errors}\nthe config that worked until {} is kept; `moltbot gateway run --last-known-good` starts with it",
                clock::readable(good.at_ms)
            )),
        }
    }

    /// The root keys: opened, or drawn for a new installation, when they are first needed.
    pub(crate) fn vault(&self) -> anyhow::Result<&Vault> {
        if let Some(vault) = self.vault.get() {
            return Ok(vault);
        }
        let text = self.read()?.unwrap_or_default();
        if let Some(vault) = self.known_vault(&text)? {
            return Ok(vault);
        }
        let vault = Vault::open_or_create(&self.state, &self.unlocker());
        let vault = vault.map_err(|error| Exit::Config.because(chain(&error)))?;
        Ok(self.vault.get_or_init(|| vault))
    }

    /// The root keys, when there are any. That they are missing is an error when `text` was sealed with them.
    fn known_vault(&self, text: &[u8]) -> anyhow::Result<Option<&Vault>> {
        if self.vault.get().is_none() {
            let opened = Vault::open(&self.state, &self.unlocker());
            match opened.map_err(|error| keys::refused(self, &error))? {
                Some(vault) => {
                    keys::require_register(self, &vault)?;
                    drop(self.vault.set(vault));
                }
                None if String::from_utf8_lossy(text).contains(SEALED_PREFIX) => {
                    let (path, witness) =
                        (self.state.path().join(KEY_FILE), self.config_path.display().to_string());
                    return Err(Exit::Config.because(VaultError::Lost { path, witness }));
                }
                None => {}
            }
        }
        Ok(self.vault.get())
    }

    /// Takes over keys that were changed by a command.
    pub(crate) fn with_vault(mut self, vault: Vault) -> Self {
        self.vault = OnceLock::from(vault);
        self
    }

    /// The book, opened once for this process.
    pub(crate) fn ledger(&self) -> anyhow::Result<&Ledger> {
        let is_open = self.ledger.get().is_some();
        let ledger = self.ledger_as_it_is()?;
        if !is_open {
            keys::remember(self, ledger)?;
        }
        Ok(ledger)
    }

    /// The book, whatever it knows of the key file: for the owner who is about to accept that.
    pub(crate) fn ledger_as_it_is(&self) -> anyhow::Result<&Ledger> {
        if self.ledger.get().is_none() {
            let options = LedgerOptions { anchors: self.anchors()?, ..LedgerOptions::default() };
            let ledger = Ledger::open(&self.state, self.vault()?, options);
            let ledger = ledger.map_err(|error| failed(&error))?;
            drop(self.ledger.set(ledger));
        }
        self.ledger.get().ok_or_else(|| Exit::Failed.because("the book is not open"))
    }

    /// Whose book it is, for those who read it elsewhere.
    pub(crate) fn origin(&self) -> anyhow::Result<Origin> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Origin { installation: self.vault()?.installation().to_owned(), host })
    }

    /// The files that remember the book's head.
    pub(crate) fn anchors(&self) -> anyhow::Result<Vec<PathBuf>> {
        anchor::list(&self.state).map_err(|error| failed(&error))
    }

    /// Closes the book of this process, before another one opens it.
    pub(crate) fn close_book(&self) {
        if let Some(ledger) = self.ledger.get() {
            ledger.shutdown();
        }
    }

    /// What unlocks the root keys here.
    pub(crate) fn unlocker(&self) -> Unlocker<'static> {
        Unlocker {
            credentials: self.environment.credentials.clone(),
            key_file: self.environment.key_file.clone(),
            ask: &|| prompt::ask(prompt::PASSPHRASE).map_err(|error| format!("{error:#}")),
        }
    }

    /// Whether somebody has to type a passphrase.
    pub(crate) fn needs_passphrase(&self) -> anyhow::Result<bool> {
        let wrapping =
            Vault::wrapping_in(&self.state).map_err(|error| Exit::Config.because(chain(&error)))?;
        Ok(wrapping == Some("passphrase"))
    }

    /// Where the gateway's credential is, for telling the person; never the credential.
    pub(crate) fn credential_place(&self) -> String {
        if self.environment.token.is_some() {
            return "in the environment, as MOLTBOT_GATEWAY_TOKEN".into();
        }
        if self.environment.password.is_some() {
            return "in the environment, as MOLTBOT_GATEWAY_PASSWORD".into();
        }
        "sealed in the config; `moltbot secrets get gateway.auth.token` shows it".into()
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

    /// The config's file.
    pub(crate) fn file(&self) -> OwnerFile {
        OwnerFile::at(&self.config_path)
    }

    /// The first config and its keys. False when another process was faster.
    fn write_first(&self) -> anyhow::Result<bool> {
        let vault = Vault::begin_sealed(&self.state, &self.unlocker());
        let vault = vault.map_err(|error| Exit::Config.because(chain(&error)))?;
        let vault = self.vault.get_or_init(|| vault);
        let permit = SecretPermit::for_owner(SecretAct::Seal, TOKEN, OWNER);
        let permit = record(permit, self.ledger()?).map_err(|error| Exit::Busy.because(error))?;
        let token = moltbot_vault::draw_token()?;
        let sealed = vault.secrets(&permit).seal(TOKEN, &token).map_err(|error| failed(&error))?;
        let text = moltbot_config::initial(&sealed);
        if self.environment.config_path.is_none() {
            return self.state.create(CONFIG, text.as_bytes()).map_err(|error| failed(&error));
        }
        self.file().write(text.as_bytes()).map_err(|error| failed(&error))?;
        Ok(true)
    }
}

/// The files that a config includes: in its folder, and as private as itself.
struct Beside(OwnerFile);

impl IncludedFiles for Beside {
    fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, String> {
        self.0.read_beside(name, max).map_err(|error| chain(&error))
    }
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

/// Refuses a config whose containers may not be prepared as it says: before there is any container, and whichever
/// backend is chosen.
fn require_setup(loaded: Loaded) -> anyhow::Result<Loaded> {
    let agents = &loaded.config.agents;
    let judge = |docker: &DockerConfig, place: &str| {
        moltbot_policy::container::setup_of(docker, place).map_err(|refusal| Exit::Config.because(refusal))
    };
    let all = &agents.defaults.sandbox.docker;
    judge(all, "agents.defaults.sandbox.docker")?;
    for (number, agent) in agents.list.iter().enumerate() {
        if let Some(own) = agent.sandbox.as_ref().and_then(|sandbox| sandbox.docker.as_ref()) {
            judge(&all.clone().with(own), &format!("agents.list[{number}].sandbox.docker"))?;
        }
    }
    Ok(loaded)
}
