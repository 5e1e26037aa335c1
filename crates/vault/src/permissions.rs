//! Whether anybody but the owner can get at what moltbot keeps: looked at, and repaired, path by path.
//!
//! Everything under the state folder, the config wherever it lies with its backups, and the folders that the
//! environment names are looked at. What others may use is closed by handle, so that a name that is swapped for a link
//! meanwhile changes nothing elsewhere. Rights that the owner has given up stay given up. What cannot be closed is said
//! with its fix, and [`SecureReport::require_private`] refuses the start. An agent's folders are the agent's: what is in
//! them is not looked at, and the mode of the folder itself keeps others out.

mod around;
mod judge;
mod walk;

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::lock::Lock;
use crate::root::find_root;
use crate::state_dir::StateDir;
use around::real;
use walk::{Act, Walk};

/// Where secrets are besides the state folder.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The config file, absolute. It may be in the state folder.
    pub config: &'a Path,
    /// Further files and folders, absolute: included configs, a credentials folder that the environment names.
    pub extra: &'a [PathBuf],
}

/// What a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PathKind {
    Device,
    File,
    Folder,
    Link,
    Pipe,
    Socket,
    Unknown,
}

/// What was open to others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// An access list of a folder gave rights to whatever is made in it.
    AccessList,
    /// The mode.
    Mode,
}

/// What became of a path that was not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Others can get at it, and that could not be changed.
    Failed {
        /// Why.
        reason: String,
        /// What to do.
        fix: String,
    },
    /// Others can get at it; [`secure`] would close it. Only from [`inspect`].
    Open(Opening),
    /// It was the leftover of a write that a crash cut off, and is gone.
    Removed,
    /// Others could get at it, and no longer can.
    Repaired(Opening),
    /// It was left as it is. No secret of ours is open by it, but the owner should know.
    Skipped {
        /// Why.
        why: String,
        /// What to do.
        fix: String,
    },
}

/// One path that was not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathReport {
    /// Where.
    pub path: PathBuf,
    /// What it is.
    pub kind: PathKind,
    /// The mode that it had, such as `0o644`.
    pub found: u32,
    /// The mode that it should have: what it had, without the rights of others and without set-id bits.
    pub wanted: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// What was found.
#[derive(Debug, Default)]
#[must_use = "what cannot be closed must stop the start"]
pub struct SecureReport {
    /// Paths that were as they should be.
    pub kept: usize,
    /// The others, sorted by path.
    pub paths: Vec<PathReport>,
}

/// Secrets that others can get at.
#[derive(Debug, Error)]
#[error("others can get at what moltbot keeps: {}", list(.paths))]
pub struct Exposed {
    /// Each with its fix.
    pub paths: Vec<PathReport>,
}

/// Looks at everything and changes nothing, not even a state folder that is missing.
pub fn inspect(state: &Path, places: &Places<'_>) -> SecureReport {
    let mut walk = Walk::new(Act::Inspect, &real(state), real(places.config));
    match find_root(state) {
        Ok(None) => {}
        Ok(Some(folder)) => walk.state(&folder, None),
        Err(error) => walk.refused(state, &error),
    }
    around::walk(&mut walk, state, places);
    walk.finish()
}

/// Looks at everything, closes what is open to others, and removes what writes of a process that is dead left behind.
/// The gateway's `lock` is held meanwhile; `started_ms` is when this process began, in milliseconds since the epoch.
/// Each repair is logged as a warning.
pub fn secure(state: &StateDir, lock: &Lock, places: &Places<'_>, started_ms: u64) -> SecureReport {
    tracing::trace!(?lock, "files are looked at under the lock");
    let mut walk = Walk::new(Act::Secure { started_ms }, state.path(), real(places.config));
    walk.state(state.inner(), state.repaired_from());
    around::walk(&mut walk, state.path(), places);
    let report = walk.finish();
    for path in &report.paths {
        tracing::warn!("{path}");
    }
    report
}

impl SecureReport {
    /// Whether others can get at a secret, and that could not be changed.
    pub fn is_exposed(&self) -> bool {
        self.paths.iter().any(PathReport::is_exposed)
    }

    /// Refuses to go on while others can get at a secret.
    ///
    /// # Errors
    /// [`Exposed`], with every such path and its fix.
    pub fn require_private(&self) -> Result<(), Exposed> {
        if !self.is_exposed() {
            return Ok(());
        }
        Err(Exposed { paths: self.paths.iter().filter(|path| path.is_exposed()).cloned().collect() })
    }
}

impl PathReport {
    /// Whether others can get at it, and that could not be changed.
    pub const fn is_exposed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }

    /// What to do about it; nothing when all is done.
    pub fn fix(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed { fix, .. } | Outcome::Skipped { fix, .. } => Some(fix),
            Outcome::Open(_) | Outcome::Removed | Outcome::Repaired(_) => None,
        }
    }
}

impl fmt::Display for PathReport {
    /// What is so, in one line, without the fix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, found, wanted) = (self.path.display(), self.found, self.wanted);
        match &self.outcome {
            Outcome::Failed { reason, .. } => write!(f, "{path} (mode {found:04o}) {reason}"),
            Outcome::Open(Opening::AccessList) => {
                write!(f, "{path} has an access list that gives others rights to new files")
            }
            Outcome::Open(Opening::Mode) => {
                write!(f, "{path} has mode {found:04o}; {wanted:04o} is enough for its owner")
            }
            Outcome::Removed => write!(f, "{path} was left by a write that was cut off, and is removed"),
            Outcome::Repaired(Opening::AccessList) => {
                write!(f, "{path} had an access list that gave others rights to new files; it is removed")
            }
            Outcome::Repaired(Opening::Mode) => {
                write!(f, "{path} had mode {found:04o} and has {wanted:04o} now")
            }
            Outcome::Skipped { why, .. } => write!(f, "{path} {why}"),
        }
    }
}

fn list(paths: &[PathReport]) -> String {
    let one = |path: &PathReport| format!("{path}; {}", path.fix().unwrap_or("change its mode"));
    paths.iter().map(one).collect::<Vec<_>>().join(" | ")
}
