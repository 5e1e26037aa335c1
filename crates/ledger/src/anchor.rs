//! An anchor: a file outside the book, best on another volume, that remembers its head.

use std::path::{Path, PathBuf};

use moltbot_config::limits;
use moltbot_vault::{FileError, OwnerFile, StateDir};
use thiserror::Error;

use crate::head::Head;

/// Why an anchor could not be read.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum AnchorError {
    /// The disk refused.
    #[error("an anchor of the book cannot be read or written")]
    File(#[from] FileError),
    /// What is there is no head.
    #[error(
        "{path} does not hold a head of the book; find out who changed it, then give the anchor another path"
    )]
    Damaged { path: PathBuf },
    /// The list of anchors is no list.
    #[error("{path} is not UTF-8; write the paths of the anchors into it, one a line")]
    List { path: PathBuf },
}

/// The list of the anchors of a book in its state folder, one path a line.
const LIST: &str = "ledger/anchors";

/// The anchors of the book in a state folder: the files that are looked at when it is opened.
///
/// # Errors
/// When the list cannot be read or is not text.
pub fn list(state: &StateDir) -> Result<Vec<PathBuf>, AnchorError> {
    let bytes = state.read(LIST, limits::LEDGER_HEAD_BYTES)?;
    let text = String::from_utf8(bytes.unwrap_or_default());
    let text = text.map_err(|_| AnchorError::List { path: state.path().join(LIST) })?;
    Ok(text.lines().map(PathBuf::from).collect())
}

/// Whether the state folder may have a list of anchors: one look at a name, for those who look often.
pub fn may_have_any(state: &StateDir) -> bool {
    !matches!(state.open_file(LIST), Err(FileError::Missing { .. }))
}

/// Adds the file at an absolute `path` to the anchors of the book in a state folder.
///
/// # Errors
/// When the list cannot be read or written.
pub fn add(state: &StateDir, path: &Path) -> Result<(), AnchorError> {
    let mut anchors = list(state)?;
    if !anchors.iter().any(|anchor| anchor == path) {
        anchors.push(path.to_owned());
        let lines: Vec<String> = anchors.iter().map(|path| format!("{}\n", path.display())).collect();
        state.write(LIST, lines.concat().as_bytes())?;
    }
    Ok(())
}

/// The head that the file at `path` remembers; nothing when there is no such file yet.
///
/// # Errors
/// When it is not the owner's alone, cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Option<Head>, AnchorError> {
    let Some(bytes) = OwnerFile::at(path).read(limits::LEDGER_HEAD_BYTES)? else { return Ok(None) };
    let head = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    head.map(Some).ok_or_else(|| AnchorError::Damaged { path: path.to_owned() })
}

/// Makes the file at `path` remember `head`, unless it remembers a later one. `false` when it does. On disk when this
/// returns.
///
/// # Errors
/// When what is there is no head, or the file cannot be written.
pub fn remember(path: &Path, head: &Head) -> Result<bool, AnchorError> {
    if read(path)?.is_some_and(|remembered| remembered.sequence > head.sequence) {
        return Ok(false);
    }
    OwnerFile::at(path).write(format!("{head}\n").as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_list_has_each_anchor_once() {
        let home = tempdir().unwrap();
        let state = StateDir::open_or_create(home.path()).unwrap();
        state.folder("ledger").unwrap();
        assert_eq!((may_have_any(&state), list(&state).unwrap()), (false, Vec::new()));
        for path in ["/a/anchor", "/b/anchor", "/a/anchor"] {
            add(&state, Path::new(path)).unwrap();
        }
        assert_eq!(list(&state).unwrap(), ["/a/anchor", "/b/anchor"].map(PathBuf::from));
        assert!(may_have_any(&state));
        state.write(LIST, &[0xff]).unwrap();
        assert!(matches!(list(&state), Err(AnchorError::List { .. })));
    }

    #[test]
    fn an_anchor_never_forgets_a_later_head() {
        let home = tempdir().unwrap();
        let path = home.path().join("anchor");
        let head = |sequence| Head { sequence, hash: Some("a".repeat(64)), root: None, note: None };
        assert_eq!(read(&path).unwrap(), None);
        assert!(remember(&path, &head(5)).unwrap());
        assert!(!remember(&path, &head(4)).unwrap());
        assert_eq!(read(&path).unwrap(), Some(head(5)));
        assert!(remember(&path, &head(6)).unwrap());
        OwnerFile::at(&path).write(b"nothing").unwrap();
        assert!(matches!(remember(&path, &head(7)), Err(AnchorError::Damaged { .. })));
    }
}
