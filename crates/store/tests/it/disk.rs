//! A disk that is full, a file that is damaged, foreign or too new.

use std::ffi::CStr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use moltbot_store::{Store, StoreError};
use moltbot_testkit::skip::skip;
use moltbot_vault::StateDir;
use rusqlite::Connection;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Place, done, key, message, texts};

/// A small file system in memory, unmounted when it is dropped.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    pub(crate) fn mount(at: &'a Path, options: &CStr) -> Option<Self> {
        mount("none", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options).ok().map(|()| Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_keeps_nothing_half_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path(), c"size=1m,mode=0700") else {
        return skip("disk::a_full_disk_keeps_nothing_half_and_heals", "cannot mount a tmpfs");
    };
    let state = StateDir::open_or_create(folder.path()).unwrap();
    let store = Store::open(&state, &moltbot_testkit::vault(&state)).unwrap();
    let kept = match store.accept(&message("main", "kept"), 1).await.unwrap() {
        moltbot_store::Accepted::Fresh(turn) => turn,
        moltbot_store::Accepted::Duplicate(status) => panic!("{status:?}"),
    };
    let mut ballast = state.append("ballast").unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let refused = store.accept(&message("main", &"m".repeat(100)), 2).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(refused.to_string().contains("free some space"), "{refused}");
    let refused = store.finish(kept.id, done(&"x".repeat(100_000), 3)).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert_eq!(texts(&store.history(&key("main"), 10).await.unwrap().messages), ["kept"], "reads go on");
    ballast.truncate(0).unwrap();
    store.finish(kept.id, done("answer", 4)).await.unwrap();
    store.accept(&message("main", "next"), 5).await.unwrap();
    store.close();
    let store = Store::open(&state, &moltbot_testkit::vault(&state)).unwrap();
    assert_eq!(texts(&store.history(&key("main"), 10).await.unwrap().messages), ["kept", "answer", "next"]);
}

#[test]
fn the_files_are_the_owners_alone() {
    let place = Place::new();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = place.state.path().join(name).metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_damaged_file_is_named_and_stays() {
    let place = Place::new();
    place.store.close();
    for damage in [&b""[..], &b"not a database, but long enough to look at"[..], &[0xff; 8192]] {
        place.state.write("state.db", damage).unwrap();
        let error = Store::open(&place.state, &moltbot_testkit::vault(&place.state)).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(
            error.to_string().contains("damaged") && error.to_string().contains("restore a backup"),
            "{error}"
        );
        assert_eq!(
            place.state.read("state.db", 1 << 20).unwrap().as_deref(),
            Some(damage),
            "it was not touched"
        );
    }
}

#[tokio::test]
async fn damage_inside_is_found_after_an_unclean_stop() {
    let mut place = Place::new();
    for number in 0..100 {
        place.talk("main", &number.to_string(), number).await;
    }
    place.reopen();
    place.store.close();
    let mut bytes = place.state.read("state.db", 1 << 24).unwrap().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    place.state.write("state.db", &bytes).unwrap();
    place.state.write("state.db-wal", &[]).unwrap();
    let error = Store::open(&place.state, &moltbot_testkit::vault(&place.state)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_foreign_or_newer_file_is_left_alone() {
    let place = Place::new();
    place.store.close();
    let path = place.state.path().join("state.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = Store::open(&place.state, &moltbot_testkit::vault(&place.state)).unwrap_err();
    assert!(matches!(newer, StoreError::Newer { found: 99, .. }), "{newer:?}");
    place.state.remove("state.db").unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE guests (name TEXT)").unwrap();
    let foreign = Store::open(&place.state, &moltbot_testkit::vault(&place.state)).unwrap_err();
    assert!(matches!(foreign, StoreError::Foreign { .. }), "{foreign:?}");
    let mode: String =
        Connection::open(&path).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete", "it was not touched");
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let place = Place::new();
    place.store.close();
    let elsewhere = place.folder.path().join("elsewhere.db");
    Connection::open(&elsewhere).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    place.state.remove("state.db").unwrap();
    symlink(&elsewhere, place.state.path().join("state.db")).unwrap();
    assert!(Store::open(&place.state, &moltbot_testkit::vault(&place.state)).is_err());
}

#[tokio::test]
async fn a_home_behind_a_link_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    drop(StateDir::open_or_create(&real.join("state")).unwrap());
    symlink(&real, folder.path().join("link")).unwrap();
    let state = StateDir::open_or_create(&folder.path().join("link").join("state")).unwrap();
    let store = Store::open(&state, &moltbot_testkit::vault(&state)).unwrap();
    store.accept(&message("main", "a"), 1).await.unwrap();
}
