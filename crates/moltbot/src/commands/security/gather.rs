//! What an audit looks at. Nothing is made, repaired or changed, whatever is found.

use std::path::{Path, PathBuf};

use moltbot_config::settings::{AuthConfig, Config, SandboxBackend};
use moltbot_config::{
    ConfigErrors, IncludedFiles, Keeper, Loaded, NoKeys, SecretState, Surroundings, limits,
};
use moltbot_gateway::StopFact;
use moltbot_ledger::{LEDGER_FOLDER, Outcome, VerifyOptions, anchor, verify};
use moltbot_policy::authentication::{Credential, WeakCredential};
use moltbot_policy::hook::WeakHookKey;
use moltbot_policy::{hook, with_causes};
use moltbot_posture as posture;
use moltbot_posture::audit::{
    AgeFacts, ConfigFact, CredentialFact, DrillFact, EngineFact, Facts, HostFacts, KeysFact, LedgerFact,
    PlainSecrets, SandboxFact,
};
use moltbot_vault::{KEY_FILE, OwnerFile, Places, SecureReport, StateDir, Unlocker, Vault, config_backups};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{ages, drill};
use crate::commands::doctor;
use crate::environment::{self, Environment};
use crate::home::{CONFIG, Home, LOCK, PASSWORD, TOKEN};
use crate::keeper::VaultKeeper;
use crate::{clock, serve};

/// Words that programs write in place of nothing.
const PLACEHOLDERS: [&str; 4] = ["", "null", "undefined", "changeme"];

/// What was found, owning it.
pub(super) struct Gathered {
    home: PathBuf,
    state: PathBuf,
    /// The config file.
    pub(super) config_path: PathBuf,
    config: ConfigFact,
    credential: CredentialFact,
    hooks: Option<CredentialFact>,
    is_token_reused: bool,
    files: SecureReport,
    plain: PlainSecrets,
    keys: KeysFact,
    ledger: LedgerFact,
    sandbox: SandboxFact,
    engine: Option<EngineFact>,
    stopped_by: Option<String>,
    host: HostFacts,
    age: AgeFacts,
    drills: Option<Vec<DrillFact>>,
}

impl Gathered {
    /// The facts, as the audit takes them.
    pub(super) fn facts(
        self,
        with: impl FnOnce(&Facts<'_>) -> posture::audit::Report,
    ) -> posture::audit::Report {
        let facts = Facts {
            now_ms: clock::now_ms(),
            home: &self.home,
            state: &self.state,
            config_path: &self.config_path,
            config: self.config,
            credential: self.credential,
            hooks: self.hooks,
            is_token_reused: self.is_token_reused,
            files: &self.files,
            plain: self.plain,
            keys: self.keys,
            ledger: self.ledger,
            sandbox: self.sandbox,
            engine: self.engine,
            stopped_by: self.stopped_by,
            host: self.host,
            age: self.age,
            drills: self.drills,
        };
        with(&facts)
    }
}

/// Where the config is.
pub(in crate::commands) fn config_path(environment: &Environment) -> PathBuf {
    environment.config_path.clone().unwrap_or_else(|| environment.state_dir.join(CONFIG))
}

/// What a gateway that is this very program knows, and would otherwise be asked for.
pub(super) struct Within {
    pub(super) devices: Value,
    pub(super) ledger: LedgerFact,
    pub(super) sandbox: SandboxFact,
}

/// Looks. `deep` also tries the walls and asks the engine, which the book is told.
pub(super) fn gather(environment: &Environment, deep: bool) -> Gathered {
    gather_within(environment, deep, None)
}

/// The same, where the gateway itself looks.
pub(super) fn gather_within(environment: &Environment, deep: bool, within: Option<Within>) -> Gathered {
    let state_path = environment.state_dir.clone();
    let config_path = config_path(environment);
    let places = Places { config: &config_path, extra: &environment.credentials_folders };
    let files = moltbot_vault::inspect(&state_path, &places);
    let state = StateDir::find(&state_path).ok().flatten();
    let read = OwnerFile::at(&config_path).look(limits::CONFIG_BYTES);
    let text = read.map_err(|error| with_causes(&error)).and_then(|bytes| {
        let bytes = bytes.map(|bytes| String::from_utf8(bytes).map(Zeroizing::new));
        bytes.transpose().map_err(|_| "it is not UTF-8".to_owned())
    });
    let (keys, vault) = keys(environment, state.as_ref(), text.as_ref().ok().and_then(Option::as_ref));
    let keeper: Box<dyn Keeper + '_> = match (&vault, &state) {
        (Some(vault), Some(state)) => Box::new(VaultKeeper::new(vault.own_credential(), state)),
        (None, Some(state)) => Box::new(VaultKeeper::without_keys(state)),
        (_, None) => Box::new(NoKeys),
    };
    let is_sealed = vault.as_ref().is_some_and(Vault::is_sealed);
    let config = read_config(text, &config_path, &*keeper, is_sealed);
    let auth = config.auth(environment, &*keeper);
    let hooks = config.hooks(&*keeper);
    let is_token_reused = hooks.as_ref().is_some_and(|found| is_reused(found, &auth));
    let plain = PlainSecrets {
        config: config.plain.clone(),
        copies: plain_copies(&state_path, &config_path),
        credentials: state.as_ref().map(plain_credentials).unwrap_or_default(),
    };
    let settings = config.settings.as_deref();
    let devices = within.as_ref().map(|within| &within.devices);
    let age = ages::gather(environment, state.as_ref(), settings, &config.sealed(), deep, devices);
    let drills = deep.then(|| drills(environment, state.as_ref(), config.settings.is_some()));
    let (ledger, (sandbox, engine)) = match within {
        Some(Within { ledger, sandbox, .. }) => (ledger, (sandbox, silent_engine(settings))),
        None => (ledger(state.as_ref(), deep), walls(environment, state.as_ref(), settings, deep)),
    };
    Gathered {
        home: environment.home.clone(),
        credential: worth_of(&auth),
        hooks: hooks.map(|token| hook_worth(&token)),
        is_token_reused,
        files,
        plain,
        keys,
        ledger,
        sandbox,
        engine,
        stopped_by: state.as_ref().and_then(|state| StopFact::read(state).ok().flatten()).map(|fact| fact.by),
        host: HostFacts {
            is_root: rustix::process::geteuid().is_root(),
            swap: posture::swap(),
            memory_lock: posture::memory_lock(moltbot_vault::can_lock_memory()),
            clock: posture::clock(clock::now_ms()),
            disk: state.as_ref().map(|state| posture::disk_space(state.fd())),
            synced: posture::synced(&state_path),
        },
        age,
        drills,
        config: config.fact,
        state: state_path,
        config_path,
    }
}

/// The root keys, as far as they open without asking anybody.
fn keys(
    environment: &Environment,
    state: Option<&StateDir>,
    text: Option<&Zeroizing<String>>,
) -> (KeysFact, Option<Vault>) {
    let is_sealed = text.is_some_and(|text| text.contains(moltbot_config::SEALED_PREFIX));
    let none = if is_sealed { KeysFact::Lost } else { KeysFact::None };
    let Some(state) = state else { return (none, None) };
    match Vault::wrapping_in(state) {
        Ok(Some("passphrase")) => return (KeysFact::Passphrase, None),
        Ok(_) => {}
        Err(error) => return (KeysFact::Unusable(with_causes(&error)), None),
    }
    let unlocker = Unlocker {
        credentials: environment.credentials.clone(),
        key_file: environment.key_file.clone(),
        ask: &|| Err("nobody is asked by an audit".to_owned()),
    };
    match Vault::look(state, &unlocker) {
        Ok(Some(vault)) => (KeysFact::Open, Some(vault)),
        Ok(None) => (none, None),
        Err(error) => (KeysFact::Unusable(format!("{KEY_FILE}: {}", with_causes(&error))), None),
    }
}

/// A config as it was read.
struct ReadConfig {
    fact: ConfigFact,
    text: Option<Zeroizing<String>>,
    settings: Option<Box<Config>>,
    withheld: Vec<String>,
    plain: Vec<String>,
}

fn read_config(
    text: Result<Option<Zeroizing<String>>, String>,
    path: &Path,
    keeper: &dyn Keeper,
    sealed: bool,
) -> ReadConfig {
    let none =
        |fact| ReadConfig { fact, text: None, settings: None, withheld: Vec::new(), plain: Vec::new() };
    let text = match text {
        Ok(Some(text)) => text,
        Ok(None) => return none(ConfigFact::Missing),
        Err(why) => return none(ConfigFact::Unreadable(why)),
    };
    let value = match moltbot_config::value(&text) {
        Ok(value) => value,
        Err(errors) => return none(ConfigFact::Unreadable(first_of(&errors))),
    };
    let plain = plain_in(&text);
    let included = Looked(OwnerFile::at(path));
    let around = Surroundings { environment: &environment::secret, keeper, sealed, files: &included };
    let loaded = moltbot_config::load(text.as_bytes(), &path.display().to_string(), &around);
    let (fact, settings, withheld) = match loaded {
        // With what it includes.
        Ok(Loaded { config, withheld, value, .. }) => {
            (ConfigFact::Valid { value }, Some(Box::new(config)), withheld)
        }
        Err(errors) => (ConfigFact::Invalid { value, errors: Box::new(errors) }, None, Vec::new()),
    };
    ReadConfig { fact, text: Some(text), settings, withheld, plain }
}

/// The files that a config includes, as they are: an audit repairs nothing.
struct Looked(OwnerFile);

impl IncludedFiles for Looked {
    fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, String> {
        self.0.look_beside(name, max).map_err(|error| with_causes(&error))
    }
}

fn first_of(errors: &ConfigErrors) -> String {
    errors
        .errors()
        .first()
        .map_or_else(String::new, |error| format!("line {}: {}", error.line, error.message))
}

fn plain_in(text: &str) -> Vec<String> {
    let found = moltbot_config::secrets(text).unwrap_or_default().into_iter();
    found.filter(|entry| entry.state.is_to_be_sealed()).map(|entry| entry.path).collect()
}

/// What of a credential is known: the secret, that there is none, or why it is not known.
type Found = Result<Option<SecretString>, String>;

impl ReadConfig {
    /// Places at which a secret stands sealed.
    fn sealed(&self) -> Vec<String> {
        let text = self.text.as_deref().map_or("", String::as_str);
        let found = moltbot_config::secrets(text).unwrap_or_default().into_iter();
        found.filter(|entry| entry.state == SecretState::Sealed).map(|entry| entry.path).collect()
    }

    /// The secret at `path`, as the gateway would have it.
    fn secret(&self, path: &str, keeper: &dyn Keeper) -> Found {
        if self.withheld.iter().any(|withheld| withheld == path) {
            return Err(format!("{path} comes from a program, which the gateway alone runs"));
        }
        let Some(text) = &self.text else { return Ok(None) };
        let written = self.fact.at(path);
        match written {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) if name.starts_with("${") && name.ends_with('}') => {
                Ok(environment::secret(name.trim_start_matches("${").trim_end_matches('}')))
            }
            Some(_) => {
                moltbot_config::secret_at(text, path, keeper).map(Some).map_err(|error| with_causes(&error))
            }
        }
    }

    fn auth(&self, environment: &Environment, keeper: &dyn Keeper) -> Result<AuthConfig, String> {
        if let Some(config) = &self.settings
            && self.withheld.is_empty()
        {
            let mut auth = config.gateway.auth.clone();
            auth.token = environment.token.clone().or(auth.token);
            auth.password = environment.password.clone().or(auth.password);
            return Ok(auth);
        }
        let own = |given: &Option<SecretString>, path| match given {
            Some(given) => Ok(Some(given.clone())),
            None => self.secret(path, keeper),
        };
        let (token, password) = (own(&environment.token, TOKEN)?, own(&environment.password, PASSWORD)?);
        Ok(AuthConfig { token, password, ..AuthConfig::default() })
    }

    /// The hooks' token, when hooks are on.
    fn hooks(&self, keeper: &dyn Keeper) -> Option<Found> {
        let is_on = self.fact.at("hooks.enabled").and_then(Value::as_bool) == Some(true);
        is_on.then(|| match &self.settings {
            Some(config) if self.withheld.is_empty() => Ok(config.hooks.token.clone()),
            _ => self.secret("hooks.token", keeper),
        })
    }
}

fn is_placeholder(secret: &SecretString) -> bool {
    PLACEHOLDERS.contains(&secret.expose_secret().trim().to_lowercase().as_str())
}

/// What the gateway's credential is worth, by the rules of the start.
fn worth_of(auth: &Result<AuthConfig, String>) -> CredentialFact {
    let auth = match auth {
        Ok(auth) => auth,
        Err(why) => return CredentialFact::Unknown(why.clone()),
    };
    let is_password = auth.token.is_none() && auth.password.is_some();
    if auth.token.as_ref().or(auth.password.as_ref()).is_some_and(is_placeholder) {
        return CredentialFact::Placeholder { is_password };
    }
    match Credential::from_config(auth) {
        Ok(_) => CredentialFact::Strong,
        Err(WeakCredential::NoPassword | WeakCredential::NoToken) => CredentialFact::None,
        Err(weak) => CredentialFact::Weak { is_password, rule: weak.to_string() },
    }
}

fn hook_worth(token: &Found) -> CredentialFact {
    match token {
        Err(why) => CredentialFact::Unknown(why.clone()),
        Ok(None) => CredentialFact::None,
        Ok(Some(token)) if is_placeholder(token) => CredentialFact::Placeholder { is_password: false },
        Ok(Some(token)) => match hook::require_strong(token) {
            Ok(()) => CredentialFact::Strong,
            Err(WeakHookKey::Token { rule }) => CredentialFact::Weak { is_password: false, rule },
            Err(weak) => CredentialFact::Weak { is_password: false, rule: weak.to_string() },
        },
    }
}

fn is_reused(token: &Found, auth: &Result<AuthConfig, String>) -> bool {
    let (Ok(Some(token)), Ok(auth)) = (token, auth) else { return false };
    hook::is_the_gateways(token, auth)
}

/// Copies of the config in which a secret stands as plaintext.
fn plain_copies(state: &Path, config: &Path) -> Vec<String> {
    let backups = config_backups(state, config).into_iter();
    let with_secrets = backups.filter(|path| {
        let Ok(Some(bytes)) = OwnerFile::at(path).look(limits::CONFIG_BYTES) else { return false };
        String::from_utf8(bytes).map(Zeroizing::new).is_ok_and(|text| !plain_in(&text).is_empty())
    });
    with_secrets.map(|path| path.display().to_string()).collect()
}

/// Places in files of credentials at which a secret stands as plaintext.
fn plain_credentials(state: &StateDir) -> Vec<String> {
    let agents = state.find_folder("agents").ok().flatten();
    let names = agents.and_then(|folder| folder.list().ok()).unwrap_or_default().into_iter();
    let profiles = names.map(|agent| format!("agents/{agent}/agent/auth-profiles.json"));
    let files = profiles.chain(["credentials/oauth.json".to_owned()]);
    let mut places = Vec::new();
    for name in files {
        let Ok(Some(bytes)) = OwnerFile::at(state.path().join(&name)).look(limits::CONFIG_BYTES) else {
            continue;
        };
        let Ok(text) = String::from_utf8(bytes).map(Zeroizing::new) else { continue };
        places.extend(plain_in(&text).into_iter().map(|path| format!("{name}#{path}")));
    }
    places
}

/// The book. From the newest head that another place remembers, or all of it.
fn ledger(state: Option<&StateDir>, deep: bool) -> LedgerFact {
    let Some(state) = state else { return LedgerFact::Missing };
    let folder = match state.find_folder(LEDGER_FOLDER) {
        Ok(Some(folder)) => folder,
        Ok(None) => return LedgerFact::Missing,
        Err(error) => return LedgerFact::Unknown(with_causes(&error)),
    };
    let anchors = match anchor::list(state) {
        Ok(anchors) => anchors,
        Err(error) => return LedgerFact::Unknown(with_causes(&error)),
    };
    let mut heads = anchors.iter().rev().filter_map(|path| anchor::read(path).ok().flatten());
    let expect_head = heads.next();
    let from_checkpoint = if deep { None } else { expect_head.clone() };
    let report = verify(folder.path(), &VerifyOptions { from_key: None, expect_head, from_checkpoint });
    let first = report.problems.first().map(|problem| problem.what.clone()).unwrap_or_default();
    match report.outcome {
        Outcome::Intact | Outcome::Torn => {
            LedgerFact::Intact { records: report.records, is_anchored: !anchors.is_empty() }
        }
        Outcome::Tampered | Outcome::Truncated => {
            LedgerFact::Changed(format!("{}: {first}", report.outcome.name()))
        }
        Outcome::Unknown => LedgerFact::Unknown(first),
    }
}

/// The owner's attacks on this installation. Nothing is made for them where there is none.
fn drills(environment: &Environment, state: Option<&StateDir>, has_config: bool) -> Vec<DrillFact> {
    if state.is_none() || !has_config {
        return drill::untried("there is no valid config");
    }
    match Home::ensure(environment.clone()) {
        Ok(home) => drill::for_audit(&home),
        Err(error) => drill::untried(&format!("{error:#}")),
    }
}

/// The walls around commands. A gateway that runs has tried them and is asked.
fn walls(
    environment: &Environment,
    state: Option<&StateDir>,
    settings: Option<&Config>,
    deep: bool,
) -> (SandboxFact, Option<EngineFact>) {
    let untried = |why: &str| SandboxFact::Untried(why.to_owned());
    let Some(settings) = settings else { return (untried("there is no valid config"), None) };
    let silent = silent_engine(Some(settings));
    let is_running = state.is_some_and(|state| state.peek_lock(LOCK).is_ok_and(|found| found.is_some()));
    if !is_running && !deep {
        return (untried("no gateway runs that has tried it; `--deep` tries it"), silent);
    }
    // A gateway has made and repaired the folder already; without one, `--deep` may tell the book.
    let Ok(home) = Home::ensure(environment.clone()) else {
        return (untried("the state folder cannot be opened"), silent);
    };
    let found = serve::block_on(doctor::walls(&home, &settings.agents.defaults.sandbox, is_running, deep));
    home.close_book();
    match found {
        Err(error) => (SandboxFact::Untried(format!("{error:#}")), silent),
        Ok((sandbox, engine)) => (sandbox, engine.or(silent)),
    }
}

/// The engine, where it builds the walls and nobody asks it.
fn silent_engine(settings: Option<&Config>) -> Option<EngineFact> {
    let backend = settings?.agents.defaults.sandbox.backend;
    (backend == SandboxBackend::Docker).then(|| EngineFact::Silent("`--deep` asks the engine".to_owned()))
}
