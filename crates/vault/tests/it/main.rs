//! The vault through its public face, on a real disk.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails its test")]

mod device_key;
mod full_disk;
mod history;
mod lock;
mod ordinary_user;
mod owner_file;
mod permissions;
mod state_dir;
mod umask;
mod vault;
mod vectors;
mod workspace;

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// The permission bits of what is at `path`.
fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[expect(clippy::disallowed_methods, reason = "the test plays the careless user")]
fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the test plays other programs")]
fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the test looks past the vault")]
fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test plays other programs")]
fn make_folder(path: &Path) {
    std::fs::create_dir(path).unwrap();
}

/// Every name in the folder, temporary ones too.
fn names(path: &Path) -> Vec<String> {
    let entries = path.read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The name of an error's variant.
fn variant(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
