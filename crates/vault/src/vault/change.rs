//! Changes of the key file: one process at a time, each file newer than all before, and never an older one as the base.

use zeroize::Zeroizing;

use super::{KEY_FILE, LOCK, MODE, Vault, VaultError, Wrapping, locked, read};
use crate::generation::{self, REGISTER, Remembered};
use crate::key_file::{KeyFile, RootKey, SALT, Wrap, Wrapped, draw_key};
use crate::keyring::{self, Item};
use crate::random::random;
use crate::state_dir::StateDir;
use crate::unlock::{self, KeySource, Unlock};

impl Vault {
    /// Makes a plaintext secret in a sealed place an error from now on.
    ///
    /// # Errors
    /// When the key file cannot be written.
    pub fn mark_sealed(&self, state: &StateDir) -> Result<Self, VaultError> {
        self.change(state, |file, _| {
            file.sealed = true;
            Ok(())
        })
    }

    /// Begins a rotation: a new root key seals from now on, and the old one still opens. Going on with one that has not
    /// ended changes nothing.
    ///
    /// # Errors
    /// When no key can be drawn or the key file cannot be written; the old key then stays the one that seals.
    pub fn begin_rotation(&self, state: &StateDir) -> Result<Self, VaultError> {
        self.change(state, |file, _| {
            if file.keys.previous.is_none() {
                let new = draw_key()?;
                file.keys.previous = Some(std::mem::replace(&mut file.keys.current, new));
            }
            Ok(())
        })
    }

    /// Ends a rotation: the old root key is erased from the file, and the original's with it. Everything must be sealed
    /// with the new one.
    ///
    /// # Errors
    /// When the key file cannot be written; both keys then stay.
    pub fn end_rotation(&self, state: &StateDir) -> Result<Self, VaultError> {
        self.change(state, |file, _| {
            (file.keys.previous, file.keys.original) = (None, None);
            Ok(())
        })
    }

    /// Wraps the root keys in another way; what they sealed stays as it is. A key in the keyring that wrapped them before
    /// is removed from there when the new key file is on disk, and not earlier.
    ///
    /// # Errors
    /// When the wrapping key cannot be had, or the key file cannot be written; the old wrapping then stays, and a new item
    /// in the keyring may be left, which wraps nothing.
    pub fn rekey(
        &self,
        state: &StateDir,
        wrapping: &Wrapping,
        unlock: &dyn Unlock,
    ) -> Result<Self, VaultError> {
        let (wrap, key) = match wrapping {
            Wrapping::Key(source) => (wrap_of(*source), Some(locked(unlock.key(*source)?))),
            Wrapping::Keyring => self.keep_in_keyring()?,
            Wrapping::None => (Wrap::None, None),
            Wrapping::Passphrase(passphrase) => {
                unlock::require_strong(passphrase)?;
                let salt = random::<SALT>()?;
                let key = unlock::derive(passphrase, unlock::LOG_N, &salt)?;
                (Wrap::Passphrase { log_n: unlock::LOG_N, salt }, Some(locked(key)))
            }
        };
        let mut before = Wrap::None;
        let changed = self.change(state, |file, wrapping| {
            before = std::mem::replace(&mut file.wrap, wrap);
            *wrapping = key;
            Ok(())
        })?;
        // Not when that failed: which of the two files is on disk is then not certain, and both keys stay.
        self.forget_in_keyring(&before);
        Ok(changed)
    }

    /// A new key in a new item of the keyring: until the key file names it, the old one is there as well.
    fn keep_in_keyring(&self) -> Result<(Wrap, Option<RootKey>), VaultError> {
        let (item, mut key) = (keyring::draw_id()?, Zeroizing::new(random()?));
        keyring::write(Item { installation: self.installation(), id: &item }, &key)?;
        Ok((Wrap::Keyring { item }, Some(RootKey::take(&mut key))))
    }

    /// Removes the item of a wrapping that is none any more. One that stays wraps nothing.
    fn forget_in_keyring(&self, wrap: &Wrap) {
        let Wrap::Keyring { item } = wrap else { return };
        if let Err(error) = keyring::remove(Item { installation: self.installation(), id: item }) {
            tracing::warn!(%error, item, "an item of the keyring that is not needed any more stays in it");
        }
    }

    /// Makes this key file the newest, although it is an older one that was put back: it is written again with the
    /// generation `generation`, which is above all that are known.
    ///
    /// # Errors
    /// When the key file on disk is not this one any more, or cannot be written.
    pub fn accept(&self, state: &StateDir, generation: u64) -> Result<Self, VaultError> {
        let _lock = state.lock(LOCK, &[])?;
        let (mut file, wrapping) = self.on_disk(state)?;
        if file.generation != self.generation() {
            let path = state.path().join(KEY_FILE);
            return Err(VaultError::Damaged { path, what: "another file took its place" });
        }
        file.generation = generation.max(self.generation());
        Self::write(state, file, wrapping)
    }

    /// The newest generation that is remembered beside the book; nothing when none is yet.
    ///
    /// # Errors
    /// When it cannot be read, or is not of these keys.
    pub fn recorded_generation(&self, state: &StateDir) -> Result<Option<u64>, VaultError> {
        self.inner.file.recorded(state)
    }

    /// Remembers the generation of these keys beside the book, when it is newer than what is remembered there; `false`
    /// when there is nothing to do.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn remember_generation(&self, state: &StateDir) -> Result<bool, VaultError> {
        if self.recorded_generation(state)? >= Some(self.generation()) {
            return Ok(false);
        }
        let _lock = state.lock(LOCK, &[])?;
        // Another process may have written a newer file since.
        let is_newer = self.recorded_generation(state)? < Some(self.generation());
        if is_newer {
            generation::write(state, self.generation(), &self.inner.file.keys.lasting)?;
        }
        Ok(is_newer)
    }

    /// The generation that the next change of the key file gives it, for the record of that change.
    ///
    /// # Errors
    /// When what is remembered cannot be read, or is not of these keys.
    pub fn next_generation(&self, state: &StateDir) -> Result<u64, VaultError> {
        Ok(self.inner.file.next(self.recorded_generation(state)?.unwrap_or_default()))
    }

    /// Changes the key file as it is on disk now, one process at a time.
    fn change(
        &self,
        state: &StateDir,
        edit: impl FnOnce(&mut KeyFile, &mut Option<RootKey>) -> Result<(), VaultError>,
    ) -> Result<Self, VaultError> {
        let _lock = state.lock(LOCK, &[])?;
        let (mut file, mut wrapping) = self.on_disk(state)?;
        file.require_newest(state)?;
        edit(&mut file, &mut wrapping)?;
        file.generation = file.next(file.recorded(state)?.unwrap_or_default());
        Self::write(state, file, wrapping)
    }

    /// The key file as it is on disk now, and what wraps it.
    fn on_disk(&self, state: &StateDir) -> Result<(KeyFile, Option<RootKey>), VaultError> {
        let path = state.path().join(KEY_FILE);
        let damaged = |what| VaultError::Damaged { path: path.clone(), what };
        let bytes = read(state, &path)?.ok_or_else(|| damaged("it vanished"))?;
        let wrapping = self.inner.wrapping.as_ref().map(RootKey::copy);
        let wrapped = Wrapped::parse(&bytes).map_err(damaged)?;
        let file = wrapped.open(wrapping.as_ref()).map_err(damaged)?;
        Ok((file, wrapping))
    }

    /// Replaces the key file, and only then remembers its generation: after a crash in between, the file is newer.
    fn write(state: &StateDir, file: KeyFile, wrapping: Option<RootKey>) -> Result<Self, VaultError> {
        state.inner().replace(KEY_FILE, &file.encode(wrapping.as_ref())?, MODE)?;
        generation::write(state, file.generation, &file.keys.lasting)?;
        Ok(Self::of(file, wrapping))
    }
}

impl KeyFile {
    /// The newest generation that is remembered; nothing when none is yet.
    fn recorded(&self, state: &StateDir) -> Result<Option<u64>, VaultError> {
        match generation::read(state, &self.keys.lasting)? {
            Remembered::Generation(newest) => Ok(Some(newest)),
            Remembered::Nothing => Ok(None),
            Remembered::Alien => {
                let what = "it was changed, or belongs to other keys";
                Err(VaultError::Register { path: state.path().join(REGISTER), what })
            }
        }
    }

    /// Refuses a file that is older than the newest.
    pub(super) fn require_newest(&self, state: &StateDir) -> Result<(), VaultError> {
        let recorded = self.recorded(state)?.unwrap_or_default();
        if self.generation >= recorded {
            return Ok(());
        }
        let path = state.path().join(KEY_FILE);
        Err(VaultError::PutBack { path, generation: self.generation, recorded })
    }

    /// The generation after this one and after `recorded`.
    fn next(&self, recorded: u64) -> u64 {
        self.generation.max(recorded).saturating_add(1)
    }
}

const fn wrap_of(source: KeySource) -> Wrap {
    match source {
        KeySource::File => Wrap::File,
        KeySource::Systemd => Wrap::Systemd,
    }
}
