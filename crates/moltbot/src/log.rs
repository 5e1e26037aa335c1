//! The gateway's log: JSON lines in `<state>/logs/gateway.jsonl`, readable lines on the terminal.
//!
//! The file is turned over at [`FILE_BYTES`]; [`FILES`] old ones are kept.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use moltbot_config::settings::{LogLevel, LoggingConfig};
pub(crate) use moltbot_gateway::{LOG_FILE as FILE, LOG_FOLDER as FOLDER};
use moltbot_vault::{AppendFile, StateDir};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::home;
use crate::redacted::Redacted;

/// The size at which a log is turned over. A busy day fits, and an editor opens it.
pub(crate) const FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Old logs that are kept.
const FILES: u32 = 5;

/// Whether readable lines go to the terminal as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Console {
    /// They do.
    Shown,
    /// There is no terminal.
    Silent,
}

/// What is logged, once the config is known.
#[derive(Clone)]
pub(crate) struct Levels {
    set: Arc<dyn Fn(LevelFilter, LevelFilter) + Send + Sync>,
    console: Console,
}

impl Levels {
    /// Logs what the config says from now on.
    pub(crate) fn follow(&self, config: &LoggingConfig) {
        let shown = match self.console {
            Console::Shown => config.console_level.unwrap_or(LogLevel::Warn),
            Console::Silent => LogLevel::Silent,
        };
        (self.set)(filter(config.level), filter(shown));
    }
}

/// Starts logging for this process. What happens before the config is known is logged as if it said nothing.
pub(crate) fn start(state: &StateDir, console: Console) -> anyhow::Result<Levels> {
    let folder = state.folder(FOLDER).map_err(|error| home::failed(&error))?;
    let log = Log::open(folder)?;
    let (file_level, file_set) = reload::Layer::new(filter(LogLevel::Info));
    let (console_level, console_set) = reload::Layer::new(LevelFilter::OFF);
    let file = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(Redacted(log))
        .with_filter(file_level);
    let shown = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Redacted(io::stderr))
        .with_filter(console_level);
    tracing_subscriber::registry().with(file).with(shown).try_init()?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a task of the gateway failed")));
    let set = Arc::new(move |file: LevelFilter, shown: LevelFilter| {
        let changed = [file_set.reload(file), console_set.reload(shown)];
        for error in changed.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "the level of the log stays as it is");
        }
    });
    let levels = Levels { set, console };
    levels.follow(&LoggingConfig::default());
    Ok(levels)
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Silent => LevelFilter::OFF,
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Warn => LevelFilter::WARN,
    }
}

/// The log file and its turning over.
struct Log {
    folder: StateDir,
    file: Mutex<AppendFile>,
}

impl Log {
    fn open(folder: StateDir) -> anyhow::Result<Self> {
        let file = folder.append(FILE).map_err(|error| home::failed(&error))?;
        Ok(Self { folder, file: Mutex::new(file) })
    }

    /// Moves every log one place on; the last one is overwritten.
    fn turn_over(&self) -> Result<AppendFile, moltbot_vault::FileError> {
        for place in (1..FILES).rev() {
            let (from, to) = (old(place), old(place + 1));
            if self.folder.list()?.contains(&from) {
                self.folder.rename(&from, &to)?;
            }
        }
        self.folder.rename(FILE, &old(1))?;
        self.folder.append(FILE)
    }
}

/// The name of an old log; 1 is the latest.
fn old(place: u32) -> String {
    format!("gateway.{place}.jsonl")
}

/// One line on its way to the file.
struct Line<'a> {
    log: &'a Log,
    file: MutexGuard<'a, AppendFile>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = self.file.len().is_ok_and(|len| len >= FILE_BYTES);
        if full {
            // A log that cannot be turned over goes on growing: better than losing what happens.
            if let Ok(fresh) = self.log.turn_over() {
                *self.file = fresh;
            }
        }
        self.file.write_all(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        let file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Line { log: self, file }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_turned_over_and_five_old_ones_stay() {
        let home = tempfile::tempdir().unwrap();
        let folder = StateDir::open_or_create(&home.path().join("logs")).unwrap();
        let log = Log::open(folder.clone()).unwrap();
        for _ in 0..8 {
            let size = usize::try_from(FILE_BYTES).unwrap();
            log.make_writer().write_all(&vec![b'x'; size]).unwrap();
        }
        log.make_writer().write_all(b"last\n").unwrap();
        let mut names = folder.list().unwrap();
        names.sort();
        let expected = [1, 2, 3, 4, 5].map(old).into_iter().chain([FILE.to_owned()]);
        assert_eq!(names, expected.collect::<Vec<_>>());
        assert_eq!(folder.read(FILE, 100).unwrap().unwrap(), b"last\n");
    }
}
