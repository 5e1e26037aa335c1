//! The environment, read once. Nothing else in the house looks at it.
//!
//! Our own names come first; the names that older installs set are read too, each with a note.

use std::path::PathBuf;

use moltbot_agent::model::ProviderKeys;
use secrecy::SecretString;

use crate::exit::Exit;

/// Prefixes of the names, ours first.
const PREFIXES: [&str; 3] = ["MOLTBOT", "OPENCLAW", "CLAWDBOT"];

/// The variables with the keys of providers.
const PROVIDER_KEYS: [(&str, &str); 3] =
    [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY"), ("openrouter", "OPENROUTER_API_KEY")];

/// What the environment says.
#[derive(Clone)]
pub(crate) struct Environment {
    /// The user's home.
    pub(crate) home: PathBuf,
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
    /// What the person should know about the names found.
    pub(crate) notes: Vec<String>,
}

impl Environment {
    /// Reads the names that moltbot knows.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let state_dir = ours("STATE_DIR", &mut notes);
        let config_path = ours("CONFIG_PATH", &mut notes);
        let port = ours("GATEWAY_PORT", &mut notes);
        let token = ours("GATEWAY_TOKEN", &mut notes).map(SecretString::from);
        let password = ours("GATEWAY_PASSWORD", &mut notes).map(SecretString::from);
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| {
            Exit::Config.because("there is no home folder: HOME is not set; set HOME to an absolute path")
        })?;
        let state_dir = match state_dir {
            None => home.join(".moltbot"),
            Some(text) => absolute("MOLTBOT_STATE_DIR", &text, &home)?,
        };
        let config_path = match config_path {
            None => None,
            Some(text) => Some(absolute("MOLTBOT_CONFIG_PATH", &text, &home)?),
        };
        let port = port.map(|text| parse_port(&text)).transpose()?;
        let credentials = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let key_file = ours("KEY_FILE", &mut notes);
        let key_file = key_file.map(|text| absolute("MOLTBOT_KEY_FILE", &text, &home)).transpose()?;
        let folders = PREFIXES.map(|prefix| variable(&format!("{prefix}_OAUTH_DIR")));
        let credentials_folders = folders.into_iter().flatten().map(PathBuf::from).collect();
        let no_color = variable("NO_COLOR").is_some();
        Ok(Self {
            home,
            state_dir,
            config_path,
            port,
            token,
            password,
            credentials_folders,
            credentials,
            key_file,
            no_color,
            notes,
        })
    }
}

/// The variable that a config refers to as `${NAME}`.
pub(crate) fn secret(name: &str) -> Option<SecretString> {
    variable(name).map(SecretString::from)
}

/// The keys of model providers. They stay in memory.
pub(crate) fn add_provider_keys(keys: &mut ProviderKeys) {
    for (provider, name) in PROVIDER_KEYS {
        if let Some(key) = secret(name) {
            keys.add(provider, key, name);
        }
    }
}

/// A variable of ours, under our prefix or an older one. Empty counts as absent.
fn ours(name: &str, notes: &mut Vec<String>) -> Option<String> {
    for (place, prefix) in PREFIXES.iter().enumerate() {
        let full = format!("{prefix}_{name}");
        if let Some(value) = variable(&full) {
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

fn absolute(name: &str, text: &str, home: &std::path::Path) -> anyhow::Result<PathBuf> {
    let path = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(text),
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Exit::Config.because(format!("{name} is {text:?}, which is not absolute; give the whole path")))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
