//! The door to the disk: owner-only, atomic files, opened by handle.
//!
//! Every path is resolved by the kernel beneath a folder that is held open, without following a link, and what
//! was opened is looked at before it is used. A file is owner-only from its first moment and is replaced as a
//! whole or not at all. What a turn or a socket is, this crate does not know.
#![forbid(unsafe_code)]

mod device_key;
mod envelope;
mod error;
mod export;
mod folder;
mod generation;
mod history;
mod key_file;
mod keyring;
mod legacy;
mod lock;
mod locked;
mod owner_file;
mod permissions;
mod public_file;
mod random;
mod reading;
mod root;
mod scratch;
mod secret_store;
mod service_files;
mod session_folders;
mod state_dir;
mod unlock;
mod vault;
mod workspace;

pub use device_key::{DeviceKey, KeyError};
pub use envelope::{SEALED_OVERHEAD, SealError};
pub use error::{FileError, OpenError};
pub use export::{open_export, seal_export};
pub use history::{
    BackupOutcome, BackupReport, Change, Good, History, HistoryError, Renew, Version, config_backups,
};
pub use lock::{Lock, LockError};
pub use locked::can_lock_memory;
pub use owner_file::OwnerFile;
pub use permissions::{
    Exposed, Opening, Outcome, PathKind, PathReport, Places, SecureReport, inspect, secure,
};
pub use public_file::{open_public, read_public};
pub use random::{RandomError, draw_token, random, random_id};
pub use reading::{DiskSpace, ReadFile};
pub use scratch::Scratch;
pub use secret_store::{NamedSecret, SecretStore, StoreError};
pub use service_files::ServiceFiles;
pub use session_folders::{
    SessionFolder, SessionFolderError, remove_session_folder, session_folder, session_folder_name,
    session_folders,
};
pub use state_dir::{AppendFile, StateDir};
pub use unlock::{FileKey, KeySource, SYSTEMD_CREDENTIAL, Unlock, UnlockError, Unlocker};
pub use vault::{KEY_FILE, Secrets, Vault, VaultError, Wrapping};
pub use workspace::Workspace;
