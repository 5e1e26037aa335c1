//! The key that signs the book, which changes every quarter of an hour: the old one says which is the next, and is
//! erased. Who steals the one that is in use can change what was signed with it, and nothing before.
//!
//! The file goes through three steps, each on disk before the next: `{current, next}`, then the record in the book,
//! then `{next}` alone. After a crash the book tells which of the two is in force.

use std::fmt;
use std::time::{Duration, Instant};

use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use moltbot_vault::{FileError, SealError, StateDir, Vault, random};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::disk::Disk;
use crate::error::LedgerError;
use crate::note::{Statement, origin};
use crate::own::Trust;
use crate::tree::Node;

/// The file in the book's folder.
pub(crate) const FILE: &str = "signing.key";
/// The place for which it is sealed.
const PLACE: &str = "ledger/signing.key";
/// Where the statements of old keys are: with them a book whose beginning was pruned is verified from its first key.
pub(crate) const EPOCHS: &str = "epochs";
/// More than the longest of them.
const WINDOW: usize = 4096;
/// The largest file that is read, in bytes. It has 300.
const BYTES: u64 = 4096;
const VERSION: u8 = 1;
/// Bytes before the keys: version, whether the book has begun, epoch, time.
const FIXED: usize = 1 + 1 + 8 + 8;
const KEY: usize = 32;

/// What the file holds.
pub(crate) struct KeyFile {
    /// Whether the book has a record with this key, so that a book without one is not this one.
    pub(crate) begun: bool,
    /// How many keys there were before.
    pub(crate) epoch: u64,
    /// When this key was first used, in seconds.
    since: i64,
    /// The first key of all.
    pub(crate) first: VerifyingKey,
    current: SigningKey,
    next: Option<SigningKey>,
    /// Whether the disk holds something else: an old key, or that the book has not begun.
    stale: bool,
}

/// Why the file is none.
#[derive(Debug, Error)]
pub(crate) enum KeyFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the signing key of the book is not what was written")]
    Form,
    #[error("the signing key of the book cannot be opened")]
    Seal(#[from] SealError),
}

impl KeyFile {
    pub(crate) fn draw(now: Timestamp) -> Result<Self, LedgerError> {
        let current = draw()?;
        let first = current.verifying_key();
        Ok(Self { begun: false, epoch: 0, since: now.as_second(), first, current, next: None, stale: true })
    }

    /// The file in the book's folder; nothing when there is none.
    pub(crate) fn load(folder: &StateDir, vault: &Vault) -> Result<Option<Self>, KeyFileError> {
        let Some(sealed) = folder.read(FILE, BYTES)? else { return Ok(None) };
        let plain = vault.unseal(PLACE, &sealed)?;
        Self::decode(&plain).map(Some).ok_or(KeyFileError::Form)
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Large enough from the start: growing would leave copies of the keys behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(FIXED + 3 * KEY));
        plain.extend_from_slice(&[VERSION, u8::from(self.begun)]);
        plain.extend_from_slice(&self.epoch.to_be_bytes());
        plain.extend_from_slice(&self.since.to_be_bytes());
        plain.extend_from_slice(self.first.as_bytes());
        for key in [Some(&self.current), self.next.as_ref()].into_iter().flatten() {
            plain.extend_from_slice(&*Zeroizing::new(key.to_bytes()));
        }
        plain
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (fixed, keys) = plain.split_at_checked(FIXED)?;
        let (version, rest) = fixed.split_first()?;
        let (begun, rest) = rest.split_first()?;
        let (epoch, since) = rest.split_at_checked(8)?;
        let mut keys = keys.chunks(KEY);
        let mut key = || <[u8; KEY]>::try_from(keys.next()?).ok();
        let first = VerifyingKey::from_bytes(&key()?).ok()?;
        let current = SigningKey::from_bytes(&Zeroizing::new(key()?));
        let next = key().map(|next| SigningKey::from_bytes(&Zeroizing::new(next)));
        let length = FIXED + 2 * KEY + if next.is_some() { KEY } else { 0 };
        if *version != VERSION || *begun > 1 || plain.len() != length {
            return None;
        }
        let epoch = u64::from_be_bytes(epoch.try_into().ok()?);
        let since = i64::from_be_bytes(since.try_into().ok()?);
        let stale = *begun == 0 || next.is_some();
        Some(Self { begun: *begun == 1, epoch, since, first, current, next, stale })
    }

    /// Makes the key that the book has in force the current one: a crash may have come between the two. `false` when
    /// it is none of the file's.
    pub(crate) fn adopt(&mut self, trust: &Trust, now: Timestamp) -> bool {
        if self.first != trust.first {
            return false;
        }
        let is_next = self.next.as_ref().is_some_and(|next| next.verifying_key() == trust.key);
        if is_next && self.epoch.checked_add(1) == Some(trust.epoch) {
            self.advance(now);
        }
        let is_it = self.epoch == trust.epoch && self.current.verifying_key() == trust.key;
        if is_it && !self.begun {
            // The book began, and the crash came before that was noted.
            (self.begun, self.stale) = (true, true);
        }
        is_it
    }

    fn advance(&mut self, now: Timestamp) {
        if let Some(next) = self.next.take() {
            (self.current, self.since) = (next, now.as_second());
            self.epoch = self.epoch.saturating_add(1);
            self.stale = true;
        }
    }
}

fn draw() -> Result<SigningKey, LedgerError> {
    Ok(SigningKey::from_bytes(&Zeroizing::new(random()?)))
}

/// The keys of the book that is being written.
pub(crate) struct Keys {
    vault: Vault,
    origin: String,
    file: KeyFile,
    epoch: Duration,
    /// When the current key has been used for long enough.
    due: Instant,
    /// Whether it has signed for something that happened.
    used: bool,
    /// What old keys said last, until it is kept.
    unkept: Vec<String>,
}

impl Keys {
    pub(crate) fn new(vault: Vault, file: KeyFile, epoch: Duration, now: Timestamp) -> Self {
        let origin = origin(vault.installation());
        // A clock that was set back makes a key old: one that is changed too early does no harm.
        let age =
            u64::try_from(now.as_second().saturating_sub(file.since)).map_or(epoch, Duration::from_secs);
        let due = Instant::now() + epoch.saturating_sub(age);
        Self { vault, origin, file, epoch, due, used: false, unkept: Vec::new() }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whose signatures the book has now.
    pub(crate) fn trust(&self) -> Trust {
        let KeyFile { epoch, first, current, .. } = &self.file;
        Trust { origin: self.origin.clone(), first: *first, epoch: *epoch, key: current.verifying_key() }
    }

    /// Notes that something other than a sign of life is about to be signed.
    pub(crate) const fn use_up(&mut self) {
        self.used = true;
    }

    /// Whether the key has been used for long enough.
    pub(crate) fn is_over(&self) -> bool {
        self.used && Instant::now() >= self.due
    }

    /// Draws the next key and puts it beside the current one, on disk.
    pub(crate) fn prepare<D: Disk>(&mut self, disk: &D) -> Result<(), LedgerError> {
        if self.file.next.is_none() {
            self.file.next = Some(draw()?);
        }
        self.file.stale = true;
        self.write(disk)
    }

    /// Signs for the tree; as its last act the key names the next one, which must have been prepared.
    pub(crate) fn sign(&self, size: u64, root: Node, is_last: bool) -> String {
        let next = self.file.next.as_ref().filter(|_| is_last);
        let next = next.map(|next| (self.file.epoch.saturating_add(1), next.verifying_key()));
        Statement { origin: &self.origin, size, root, next }.sign(&self.file.current)
    }

    /// Goes on with the next key, whose record is on disk, and keeps what the old one said in `note`.
    pub(crate) fn advance<D: Disk>(
        &mut self,
        disk: &D,
        note: String,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.file.advance(now);
        (self.due, self.used) = (Instant::now() + self.epoch, false);
        self.unkept.push(note);
        self.clean(disk)
    }

    /// Writes the file without what it should not hold any more: the old key is gone from the disk then.
    pub(crate) fn clean<D: Disk>(&mut self, disk: &D) -> Result<(), LedgerError> {
        while let Some(note) = self.unkept.first() {
            keep_statement(disk.folder(), note)?;
            self.unkept.remove(0);
        }
        if self.file.stale {
            self.file.begun = true;
            self.file.next = None;
            self.write(disk)?;
            self.file.stale = false;
        }
        Ok(())
    }

    /// Writes the file as it is.
    pub(crate) fn write<D: Disk>(&self, disk: &D) -> Result<(), LedgerError> {
        Ok(disk.replace(FILE, &self.vault.seal(PLACE, &self.file.encode())?)?)
    }
}

/// Adds what a key said last to those before it, unless it is there; what a crash left half-written goes.
pub(crate) fn keep_statement(folder: &StateDir, note: &str) -> Result<(), FileError> {
    let line = format!("{}\n", serde_json::Value::from(note));
    let mut file = folder.append(EPOCHS)?;
    let length = file.len()?;
    let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
    let offset = length.saturating_sub(window);
    let mut tail = vec![0; WINDOW];
    let read = file.read_at(offset, &mut tail)?;
    tail.truncate(read);
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    if whole < tail.len() {
        file.truncate(offset.saturating_add(u64::try_from(whole).unwrap_or(0)))?;
    }
    if tail.get(..whole).is_some_and(|kept| kept.ends_with(line.as_bytes())) {
        return Ok(());
    }
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("origin", &self.origin)
            .field("epoch", &self.file.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use moltbot_vault::FileKey;
    use tempfile::tempdir;

    use super::*;

    fn house() -> (tempfile::TempDir, StateDir, Vault) {
        let home = tempdir().unwrap();
        let state = StateDir::open_or_create(home.path()).unwrap();
        let vault = Vault::open_or_create(&state, &FileKey).unwrap();
        (home, state, vault)
    }

    #[test]
    fn the_file_comes_back_with_one_key_or_two_and_no_key_lies_in_it_unsealed() {
        let (_home, state, vault) = house();
        let now = Timestamp::now();
        let mut keys = Keys::new(vault.clone(), KeyFile::draw(now).unwrap(), Duration::ZERO, now);
        assert!(KeyFile::load(&state, &vault).unwrap().is_none());
        keys.write(&state).unwrap();
        let read = KeyFile::load(&state, &vault).unwrap().unwrap();
        assert_eq!((*read.encode()).clone(), (*keys.file.encode()).clone());
        keys.prepare(&state).unwrap();
        let read = KeyFile::load(&state, &vault).unwrap().unwrap();
        assert_eq!((*read.encode()).clone(), (*keys.file.encode()).clone());
        assert_eq!(read.encode().len(), FIXED + 3 * KEY);
        let sealed = state.read(FILE, BYTES).unwrap().unwrap();
        let secret = read.current.to_bytes();
        assert!(!sealed.windows(KEY).any(|window| window == secret));
        for length in [0, 1, FIXED, FIXED + KEY, FIXED + 2 * KEY + 1, FIXED + 4 * KEY] {
            assert!(KeyFile::decode(&vec![1; length]).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn after_a_crash_at_any_step_the_book_says_which_key_is_in_force() {
        let (_home, state, vault) = house();
        let now = Timestamp::now();
        let mut keys = Keys::new(vault.clone(), KeyFile::draw(now).unwrap(), Duration::ZERO, now);
        keys.write(&state).unwrap();
        let before = keys.trust();
        keys.prepare(&state).unwrap();
        // The record did not come on disk: the old key stays.
        let mut file = KeyFile::load(&state, &vault).unwrap().unwrap();
        assert!(file.adopt(&before, now) && file.stale);
        keys.advance(&state, "what it said\n".into(), now).unwrap();
        let after = keys.trust();
        assert_eq!((after.epoch, after.first), (1, before.first));
        // It did: the next one is in force, before and after the old one is erased.
        let mut erased = KeyFile::load(&state, &vault).unwrap().unwrap();
        assert!(erased.adopt(&after, now) && !erased.stale && erased.next.is_none());
        assert!(file.next.is_some() && file.adopt(&after, now) && file.stale && file.next.is_none());
        let mut file = KeyFile::load(&state, &vault).unwrap().unwrap();
        assert!(!file.adopt(&before, now), "the old key is not there any more");
        let other = SigningKey::from_bytes(&[1; 32]).verifying_key();
        assert!(!file.adopt(&Trust { first: other, ..after.clone() }, now));
        assert!(!file.adopt(&Trust { key: other, ..after }, now));
    }

    #[test]
    fn what_old_keys_said_is_kept_once_and_in_order() {
        let (_home, state, _) = house();
        for note in ["one\n", "one\n", "two\n"] {
            keep_statement(&state, note).unwrap();
        }
        state.append(EPOCHS).unwrap().write_all(b"\"thr").unwrap();
        keep_statement(&state, "two\n").unwrap();
        keep_statement(&state, "three\n").unwrap();
        let kept = state.read(EPOCHS, 1 << 20).unwrap().unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), "\"one\\n\"\n\"two\\n\"\n\"three\\n\"\n");
    }
}
