//! A folder for a while: for a stand-in of an installation that is thrown away.

use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::random::random_id;
use crate::state_dir::StateDir;

/// How its name begins, so that one which a kill left behind is known for what it is.
const PREFIX: &str = "moltbot-drill-";
/// Characters of what is drawn for the name. Short: a socket in it has a name of at most 107 bytes.
const DRAWN: usize = 12;

/// A folder in that for temporary files, of its owner alone. It is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    state: StateDir,
    path: PathBuf,
}

impl Scratch {
    /// Makes one under a drawn name.
    ///
    /// # Errors
    /// When there are no random bytes, or it cannot be made.
    pub fn make() -> Result<Self, OpenError> {
        let path = std::env::temp_dir();
        let io = |act, path: &Path, source| OpenError::Io { act, path: path.to_owned(), source };
        let drawn = random_id().map_err(|error| io("name", &path, std::io::Error::other(error)))?;
        let drawn: String = drawn.chars().filter(|c| *c != '-').take(DRAWN).collect();
        let path = path.join(format!("{PREFIX}{drawn}"));
        let path = std::path::absolute(&path).map_err(|source| io("make", &path, source))?;
        // Nobody else's: it must not be there yet.
        rustix::fs::mkdir(&path, rustix::fs::Mode::RWXU).map_err(|errno| io("make", &path, errno.into()))?;
        let state = StateDir::open_or_create(&path)?;
        Ok(Self { state, path })
    }

    /// The folder, held open.
    pub const fn folder(&self) -> &StateDir {
        &self.state
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    #[expect(
        clippy::disallowed_methods,
        reason = "what this made itself; links in it are removed, not followed"
    )]
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a folder of a drill is left behind; remove it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_its_owners_alone_and_gone_with_what_is_in_it() {
        let scratch = Scratch::make().unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        scratch.folder().write("a/b/c", b"x").unwrap();
        assert_ne!(path, Scratch::make().unwrap().path(), "each has its own");
        drop(scratch);
        assert!(!path.exists());
    }
}
