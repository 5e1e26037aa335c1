use std::ffi::CStr;
use std::path::{Path, PathBuf};

use moltbot_testkit::skip::skip;
use moltbot_vault::{FileError, StateDir};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::tempdir;

use crate::names;

/// A disk of 64 kB, unmounted when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let options: &CStr = c"size=64k,mode=0700";
        mount("none", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options).ok()?;
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_named_and_harms_nothing_that_is_there() {
    let home = tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(home.path()) else {
        return skip(
            "full_disk::a_full_disk_is_named_and_harms_nothing_that_is_there",
            "cannot mount a tmpfs",
        );
    };
    let state = StateDir::open_or_create(home.path()).unwrap();
    state.write("a", b"old").unwrap();
    for error in [
        state.write("a", &[1; 100_000]).unwrap_err(),
        state.create("b", &[1; 100_000]).map(drop).unwrap_err(),
        state.append("log").unwrap().write_all(&[1; 100_000]).unwrap_err(),
    ] {
        assert!(matches!(error, FileError::Full { .. }), "{error}");
    }
    assert_eq!(state.read("a", 10).unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(names(home.path()), ["a", "log"], "nothing half-written stays");
    state.append("log").unwrap().truncate(0).unwrap();
    state.write("a", &[2; 1000]).unwrap();
    assert_eq!(state.read("a", 1000).unwrap().map(|bytes| bytes.len()), Some(1000));
}
