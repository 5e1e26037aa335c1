//! The environment, read once. Nothing else in the house looks at it.
//!
//! Our own names come first; the names that older installs set are read too, each with a note.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use moltbot_agent::model::ProviderKeys;
use moltbot_config::settings::EnvConfig;
use moltbot_config::{limits, read_variables};
use moltbot_net::EnvironmentProxy;
use moltbot_policy::with_causes;
use moltbot_vault::OwnerFile;
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::Exit;
use crate::home::CONFIG;

/// Prefixes of the names, ours first.
const PREFIXES: [&str; 3] = ["MOLTBOT", "OPENCLAW", "CLAWDBOT"];
/// State folders in the home, ours first, then those of older generations, the newest first.
const FOLDERS: [&str; 4] = [".moltbot", ".openclaw", ".clawdbot", ".moldbot"];
/// Names of configs in a state folder, in the same order.
const CONFIGS: [&str; 4] = [CONFIG, "openclaw.json", "clawdbot.json", "moldbot.json"];
/// The file of variables in the state folder.
const FILE: &str = ".env";
/// Variables of ours that the file may set, without their prefixes: what it takes to reach the gateway.
const IN_FILE: [&str; 3] = ["GATEWAY_PASSWORD", "GATEWAY_PORT", "GATEWAY_TOKEN"];
/// The longest name of a profile, in bytes.
const PROFILE: usize = 64;

/// What the file of variables has, once it was read: for whoever looks a variable up.
static FROM_FILE: OnceLock<BTreeMap<String, SecretString>> = OnceLock::new();

/// The variables with the keys of providers.
const PROVIDER_KEYS: [(&str, &str); 4] = [
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("openai", "OPENAI_API_KEY"),
    ("google", "GEMINI_API_KEY"),
    ("openrouter", "OPENROUTER_API_KEY"),
];

/// What the environment says.
#[derive(Clone)]
pub(crate) struct Environment {
    /// The user's home.
    pub(crate) home: PathBuf,
    /// The profile of the command line.
    pub(crate) profile: Option<String>,
    /// Where state is kept.
    pub(crate) state_dir: PathBuf,
    /// The config file, when it is not in the state folder.
    pub(crate) config_path: Option<PathBuf>,
    /// The gateway's port.
    pub(crate) port: Option<u16>,
    /// The gateway's token.
    pub(crate) token: Option<SecretString>,
    /// The gateway's password.
    pub(crate) password: Option<SecretString>,
    /// Folders with credentials that the original's variables name.
    pub(crate) credentials_folders: Vec<PathBuf>,
    /// The folder of credentials that systemd hands over.
    pub(crate) credentials: Option<PathBuf>,
    /// The file with the key that wraps the root keys.
    pub(crate) key_file: Option<PathBuf>,
    /// Whether colour is unwanted.
    pub(crate) no_color: bool,
    /// The time zone, when it is not the machine's.
    pub(crate) zone: Option<String>,
    /// What the person should know about the names found.
    pub(crate) notes: Vec<String>,
}

impl Environment {
    /// Reads the names that moltbot knows. `profile` is the one of the command line.
    pub(crate) fn read(profile: Option<&str>) -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| {
            Exit::Config.because("there is no home folder: HOME is not set; set HOME to an absolute path")
        })?;
        let state_dir = state_dir(&home, profile, &mut notes)?;
        read_file(&state_dir)?;
        let config_path = config_path(&home, &state_dir, &mut notes)?;
        let port = ours("GATEWAY_PORT", &mut notes);
        let token = ours("GATEWAY_TOKEN", &mut notes).map(SecretString::from);
        let password = ours("GATEWAY_PASSWORD", &mut notes).map(SecretString::from);
        let port = port.map(|text| parse_port(&text)).transpose()?;
        let credentials = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let key_file = ours("KEY_FILE", &mut notes);
        let key_file = key_file.map(|text| absolute("MOLTBOT_KEY_FILE", &text, &home)).transpose()?;
        let folders = PREFIXES.map(|prefix| variable(&format!("{prefix}_OAUTH_DIR")));
        let credentials_folders = folders.into_iter().flatten().map(PathBuf::from).collect();
        let no_color = variable("NO_COLOR").is_some();
        Ok(Self {
            home,
            profile: profile.map(str::to_owned),
            state_dir,
            config_path,
            port,
            token,
            password,
            credentials_folders,
            credentials,
            key_file,
            no_color,
            zone: variable("TZ"),
            notes,
        })
    }
}

impl Environment {
    /// Our own folder for state, where no variable names another.
    pub(crate) fn own_folder(&self) -> Option<PathBuf> {
        let suffix = match self.profile.as_deref() {
            None | Some("default") => String::new(),
            Some(name) => format!("-{name}"),
        };
        let [name, ..] = FOLDERS;
        let is_named = ours("STATE_DIR", &mut Vec::new()).is_some();
        (!is_named).then(|| self.home.join(format!("{name}{suffix}")))
    }
}

/// Where state is kept: what a variable names, else the folder of the profile, else ours in the home. Where there is none
/// of ours yet, that of an older generation is used as it is.
fn state_dir(home: &Path, profile: Option<&str>, notes: &mut Vec<String>) -> anyhow::Result<PathBuf> {
    let named = ours("STATE_DIR", notes);
    if let (Some(_), Some(profile)) = (&named, profile) {
        return Err(Exit::Usage.because(format!(
            "--profile {profile} and MOLTBOT_STATE_DIR both say where state is kept; leave one of them out"
        )));
    }
    if let Some(text) = named {
        return absolute("MOLTBOT_STATE_DIR", &text, home);
    }
    let profile = profile.map(str::to_owned).or_else(|| ours("PROFILE", notes));
    let suffix = match profile.as_deref() {
        None | Some("default") => String::new(),
        Some(name) => format!("-{}", require_profile(name)?),
    };
    let [ours, older @ ..] = FOLDERS.map(|folder| home.join(format!("{folder}{suffix}")));
    let is_there = |folder: &&PathBuf| folder.is_dir();
    if ours.exists() {
        return Ok(ours);
    }
    let Some(found) = older.iter().find(is_there) else { return Ok(ours) };
    notes.push(format!("note: state is kept in {}, the folder of an older generation", found.display()));
    Ok(found.clone())
}

/// Names of profiles become names of folders.
fn require_profile(name: &str) -> anyhow::Result<&str> {
    let ordinary = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && name.len() <= PROFILE && name.bytes().all(ordinary) {
        return Ok(name);
    }
    Err(Exit::Usage.because(format!(
        "{name:?} is no name of a profile; use 1 to {PROFILE} letters, digits, '-' and '_', beginning with a letter or digit"
    )))
}

/// The config, when it is not `moltbot.json` in the state folder.
fn config_path(home: &Path, state: &Path, notes: &mut Vec<String>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(text) = ours("CONFIG_PATH", notes) {
        return absolute("MOLTBOT_CONFIG_PATH", &text, home).map(Some);
    }
    let Some(name) = config_name(state).filter(|name| *name != CONFIG) else { return Ok(None) };
    notes.push(format!("note: {name} is read; the name of a config here is {CONFIG}"));
    Ok(Some(state.join(name)))
}

fn config_name(state: &Path) -> Option<&'static str> {
    CONFIGS.into_iter().find(|name| state.join(name).symlink_metadata().is_ok())
}

/// The config in a state folder of whatever generation.
pub(crate) fn config_in(state: &Path) -> Option<PathBuf> {
    config_name(state).map(|name| state.join(name))
}

/// Reads the file of variables in the state folder, and no other: not one of the folder that a command is run in, which
/// may be anybody's.
fn read_file(state: &Path) -> anyhow::Result<()> {
    let file = OwnerFile::at(state.join(FILE));
    let bytes =
        file.read(limits::VARIABLES_BYTES).map_err(|error| Exit::Config.because(with_causes(&error)))?;
    let Some(bytes) = bytes else { return Ok(()) };
    let wrong = |why: &str| Exit::Config.because(format!("{}: {why}", file.path().display()));
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8; save it as UTF-8"))?;
    let text = secrecy::zeroize::Zeroizing::new(text);
    let is_ours = |name: &str| {
        PREFIXES.iter().any(|prefix| {
            let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
            rest.is_some_and(|rest| IN_FILE.contains(&rest))
        })
    };
    let found = read_variables(&text, &is_ours).map_err(|why| wrong(&why))?;
    drop(FROM_FILE.set(found));
    Ok(())
}

/// The variable that a config refers to as `${NAME}`: of the environment, else of the file.
pub(crate) fn secret(name: &str) -> Option<SecretString> {
    let from_file = || FROM_FILE.get().and_then(|found| found.get(name)).cloned();
    let found = variable(name).map(SecretString::from).or_else(from_file);
    found.filter(|value| !value.expose_secret().is_empty())
}

/// A variable, also one that the config sets.
pub(crate) fn secret_or(name: &str, env: &EnvConfig) -> Option<SecretString> {
    secret(name).or_else(|| env.variable(name).cloned())
}

/// The keys of model providers. They stay in memory.
pub(crate) fn add_provider_keys(keys: &mut ProviderKeys, env: &EnvConfig) {
    for (provider, name) in PROVIDER_KEYS {
        if let Some(key) = secret_or(name, env) {
            keys.add(provider, key, name);
        }
    }
}

/// The proxy that others' programs go through as well, for providers that are reached over TLS.
pub(crate) fn add_proxy(keys: &mut ProviderKeys) -> anyhow::Result<()> {
    if let Some(proxy) = proxy()? {
        keys.go_through(proxy);
    }
    Ok(())
}

/// The proxy that the environment names.
pub(crate) fn proxy() -> anyhow::Result<Option<EnvironmentProxy>> {
    let first = |names: [&str; 2]| names.into_iter().find_map(variable);
    let Some(url) = first(["HTTPS_PROXY", "https_proxy"]).or_else(|| first(["ALL_PROXY", "all_proxy"]))
    else {
        return Ok(None);
    };
    let direct = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let proxy = EnvironmentProxy::parse(&SecretString::from(url), &direct);
    let wrong =
        |message: String| Exit::Config.because(format!("{message}; correct HTTPS_PROXY or ALL_PROXY"));
    proxy.map(Some).map_err(|refusal| wrong(refusal.message))
}

/// The editor that the person uses.
pub(crate) fn editor() -> Option<String> {
    variable("VISUAL").or_else(|| variable("EDITOR"))
}

/// A variable that is no secret, for a program that the person starts.
pub(crate) fn plain_variable(name: &str) -> Option<String> {
    variable(name)
}

/// The index of packages that pip's variable names.
pub(crate) fn pip_index() -> Option<String> {
    variable("PIP_INDEX_URL")
}

/// A variable of ours, under our prefix or an older one. Empty counts as absent.
fn ours(name: &str, notes: &mut Vec<String>) -> Option<String> {
    for (place, prefix) in PREFIXES.iter().enumerate() {
        let full = format!("{prefix}_{name}");
        let value = variable(&full).or_else(|| {
            let is_taken = IN_FILE.contains(&name);
            secret(&full).filter(|_| is_taken).map(|value| value.expose_secret().to_owned())
        });
        if let Some(value) = value {
            if place > 0 {
                notes.push(format!("note: {full} is read; its name here is MOLTBOT_{name}"));
            }
            return Some(value);
        }
    }
    None
}

fn parse_port(text: &str) -> anyhow::Result<u16> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| {
        Exit::Config.because(format!(
            "MOLTBOT_GATEWAY_PORT is {text:?}, which is no port; use a number from 1 to 65535"
        ))
    })
}

fn absolute(name: &str, text: &str, home: &Path) -> anyhow::Result<PathBuf> {
    let path = expanded(text, home);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Exit::Config.because(format!("{name} is {text:?}, which is not absolute; give the whole path")))
}

/// A path, whose `~/` is the home.
pub(crate) fn expanded(text: &str, home: &Path) -> PathBuf {
    text.strip_prefix("~/").map_or_else(|| PathBuf::from(text), |rest| home.join(rest))
}

/// Where a service manager waits for word (sd_notify(3)).
pub(crate) fn notify_socket() -> Option<String> {
    variable("NOTIFY_SOCKET")
}

/// Whether a service manager has opened sockets for this process (sd_listen_fds(3)). Those for another one are not ours.
pub(crate) fn is_handed_sockets(process: u32) -> bool {
    let is_ours = variable("LISTEN_PID").is_some_and(|id| id.parse() == Ok(process));
    is_ours && variable("LISTEN_FDS").is_some()
}

/// How often a service manager wants to hear that this process, and no other, is alive (sd_watchdog_enabled(3)).
pub(crate) fn watchdog(process: u32) -> Option<std::time::Duration> {
    let is_other = variable("WATCHDOG_PID").is_some_and(|id| id.parse() != Ok(process));
    let microseconds = variable("WATCHDOG_USEC").filter(|_| !is_other)?.parse().ok()?;
    Some(std::time::Duration::from_micros(microseconds)).filter(|wanted| !wanted.is_zero())
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
