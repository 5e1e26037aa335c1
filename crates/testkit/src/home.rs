//! A temporary home, with or without a config. Gone when it is dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use moltbot_vault::StateDir;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{MODEL, ScriptedModel};

/// The key of the scripted provider in the configs made here. It has the form of a real one, and a test that
/// finds it where no key belongs has found a leak.
pub const PROVIDER_KEY: &str = "sk-scripted-3f9Q7xkV2mZ8pLw4Tn6R";
/// The name of the scripted provider in the configs made here.
pub const PROVIDER: &str = "scripted";

/// A temporary home with a state folder in it, and a port that nobody uses.
pub struct Home {
    folder: TempDir,
    port: u16,
}

impl Home {
    /// A home without a state folder, as on a fresh machine.
    ///
    /// # Errors
    /// When no temporary folder can be made.
    pub fn empty() -> io::Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("moltbot-test-").tempdir()?, port: free_port() })
    }

    /// A home whose config names `model` as an OpenAI-compatible provider, a fresh token and a free port.
    pub fn with_model(model: &ScriptedModel) -> Self {
        Self::with_provider("openai-completions", &model.openai_url())
    }

    /// The same, with `model` as an Anthropic provider.
    pub fn with_anthropic(model: &ScriptedModel) -> Self {
        Self::with_provider("anthropic-messages", &model.anthropic_url())
    }

    fn with_provider(api: &str, base_url: &str) -> Self {
        let home = Self::empty().expect("a temporary folder");
        home.write_config(&config(home.port, api, base_url));
        home
    }

    /// Writes the config, owner-only, in place of what was there.
    pub fn write_config(&self, config: &Value) {
        self.write_config_text(&config.to_string());
    }

    /// Writes any text as the config.
    pub fn write_config_text(&self, text: &str) {
        self.state().write("moltbot.json", text.as_bytes()).expect("the config is written");
    }

    /// The config as it was written, changed by `change` and written again.
    pub fn change_config(&self, change: impl FnOnce(&mut Value)) {
        let text = self.config_text().expect("a config");
        let mut config = serde_json::from_str(&text).expect("a config that this module wrote");
        change(&mut config);
        self.write_config(&config);
    }

    /// Gives the home and all that is in it to another user; only root can. Nothing may be written through
    /// [`Home::state`] afterwards: it refuses the folder of somebody else.
    pub fn give_to(&self, user: u32) {
        give(self.path(), user);
    }

    /// The home folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder: `.moltbot` in the home. It may not exist yet.
    pub fn state_path(&self) -> PathBuf {
        self.path().join(".moltbot")
    }

    /// The state folder, created when it is missing.
    pub fn state(&self) -> StateDir {
        StateDir::open_or_create(&self.state_path()).expect("a state folder")
    }

    /// The config's place.
    pub fn config_path(&self) -> PathBuf {
        self.state_path().join("moltbot.json")
    }

    /// A port that nobody used when the home was made; the config names it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The text of the config; nothing while there is none.
    #[expect(clippy::disallowed_methods, reason = "a test looks at what the program wrote")]
    pub fn config_text(&self) -> Option<String> {
        std::fs::read_to_string(self.config_path()).ok()
    }

    /// The gateway token in the config, in JSON or in JSON5 as `moltbot up` writes it; nothing while there is none.
    pub fn token(&self) -> Option<String> {
        let text = self.config_text()?;
        let (_, rest) = text.split_once("token\":").or_else(|| text.split_once("token:"))?;
        let value = rest.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value.split(quote).nth(1).map(Into::into)
    }
}

fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).expect("root gives files away");
    if path.symlink_metadata().expect("a file that is there").is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder");
        entries.for_each(|entry| give(&entry.expect("an entry").path(), user));
    }
}

/// A config for one provider that is `base_url`.
fn config(port: u16, api: &str, base_url: &str) -> Value {
    let token = moltbot_vault::draw_token().expect("random bytes");
    let models = json!([{"id": MODEL, "contextWindow": 100_000, "maxTokens": 1000}]);
    let provider = json!({"api": api, "baseUrl": base_url, "apiKey": PROVIDER_KEY, "models": models});
    json!({
        "gateway": {"port": port, "auth": {"token": token.expose_secret()}},
        "agents": {"defaults": {"model": format!("{PROVIDER}/{MODEL}")}},
        "models": {"mode": "replace", "providers": {PROVIDER: provider}},
        // Nobody is there to be asked. What is asked about, and that the default asks, has tests of its own.
        "tools": {"exec": {"ask": "off"}},
    })
}

/// A port of loopback that nobody listens on. Below the range from which the kernel draws ports for
/// connections, and different for tests that run at the same time: each process begins elsewhere.
#[expect(clippy::disallowed_methods, reason = "asks the kernel whether a port is free")]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id().wrapping_mul(37) % 11_000).unwrap_or(0);
    let mut ports =
        std::iter::repeat_with(|| 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % 11_000) % 11_000);
    let free = |port: &u16| {
        std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()
            && std::net::TcpListener::bind(("0.0.0.0", *port)).is_ok()
    };
    ports.by_ref().take(11_000).find(free).expect("a free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_json_and_in_json5() {
        let home = Home::empty().unwrap();
        assert_eq!(home.token(), None);
        home.write_config_text(r#"{"gateway":{"auth":{"token":"abc"}}}"#);
        assert_eq!(home.token().as_deref(), Some("abc"));
        home.write_config_text(
            "{\n  gateway: {\n    auth: {\n      // the key\n      token: 'x-y',\n    } } }",
        );
        assert_eq!(home.token().as_deref(), Some("x-y"));
    }

    #[test]
    fn ports_differ() {
        assert_ne!(free_port(), free_port());
    }
}
