//! The config's file for a gateway that runs: looked at, read, and changed in the one way there is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use moltbot_config::Loaded;
use moltbot_config::settings::LoggingConfig;
use moltbot_gateway::{ConfigFile, ReadAnew};
use moltbot_ledger::Ledger;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::book::CommandBook;
use crate::change;
use crate::home::Home;
use crate::log::Levels;
use crate::redacted::redactor;
use crate::serve;

/// The file, with what it takes to read and write it.
pub(crate) struct Desk {
    home: Home,
    ledger: Ledger,
    levels: Levels,
    /// How the file looked before it was first read.
    first: String,
    /// The files that it included when it was last valid.
    included: Mutex<Vec<String>>,
    /// What was secret before stays out of the logs as well.
    known: Mutex<Vec<SecretString>>,
}

impl Desk {
    /// `alone` is how the file looked before it was read, without what it includes.
    pub(crate) fn new(
        home: &Home,
        ledger: &Ledger,
        levels: &Levels,
        alone: &str,
        loaded: &Loaded,
        known: Vec<SecretString>,
    ) -> Self {
        let file = home.file();
        // What was changed while it was read is to be read again.
        let first = if file.stamp(&[]) == alone { file.stamp(&loaded.files) } else { String::new() };
        let (home, ledger, levels) = (home.clone(), ledger.clone(), levels.clone());
        let (included, known) = (Mutex::new(loaded.files.clone()), Mutex::new(known));
        Self { home, ledger, levels, first, included, known }
    }
}

impl ConfigFile for Desk {
    fn stamp(&self) -> String {
        let included = lock(&self.included).clone();
        self.home.file().stamp(&included)
    }

    fn first_stamp(&self) -> String {
        self.first.clone()
    }

    fn text(&self) -> Result<Zeroizing<String>, String> {
        change::text(&self.home).map_err(|error| format!("{error:#}"))
    }

    fn read(&self) -> Result<ReadAnew, String> {
        let read = || -> anyhow::Result<ReadAnew> {
            let text = self.home.text().map(Zeroizing::new)?;
            let (loaded, known) = serve::load_anew(&self.home, &text, &self.ledger)?;
            let mut before = lock(&self.known);
            before.extend(known);
            redactor().hide(&before);
            lock(&self.included).clone_from(&loaded.files);
            Ok(ReadAnew { config: loaded.config, value: loaded.value })
        };
        read().map_err(|error| format!("{error:#}"))
    }

    fn judge(&self, text: &str) -> Result<ReadAnew, String> {
        let loaded = serve::open_text(&self.home, text.as_bytes(), &self.ledger);
        let loaded = loaded.map_err(|error| format!("{error:#}"))?;
        Ok(ReadAnew { config: loaded.config, value: loaded.value })
    }

    fn write(&self, old: &str, new: &str, command: &str, actor: &str) -> Result<(), String> {
        let book = CommandBook::Own(self.ledger.clone());
        change::write_by(&self.home, &book, old, new, command, actor).map_err(|error| format!("{error:#}"))
    }

    fn log_as(&self, logging: &LoggingConfig) {
        self.levels.follow(logging);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
