use std::path::{Path, PathBuf};

use moltbot_policy::Book as _;
use moltbot_testkit::skip::skip;
use moltbot_vault::StateDir;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::tempdir;

use crate::{actions, entry, open, put, verified};

/// A disk of 256 kB, unmounted when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("none", at, "tmpfs", flags, c"size=256k,mode=0700").ok()?;
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_what_it_cannot_record_and_goes_on_when_there_is_space() {
    let name = "full_disk::a_full_disk_refuses_what_it_cannot_record_and_goes_on_when_there_is_space";
    let home = tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(home.path()) else {
        return skip(name, "cannot mount a tmpfs");
    };
    let state = StateDir::open_or_create(home.path()).unwrap();
    let ledger = open(&state);
    put(&home.path().join("ballast"), &[1; 128 * 1024]);
    let mut kept = Vec::new();
    let refused = loop {
        match ledger.enter(entry("x".repeat(4000))) {
            Ok(sequence) => kept.push(sequence),
            Err(refused) => break refused,
        }
        assert!(kept.len() < 100, "the disk fills");
    };
    assert!(refused.cause.contains("no space left"), "{refused}");
    assert!(ledger.enter(entry("x".repeat(4000))).is_err(), "still full");
    let before = verified(home.path());
    assert_eq!(before.len(), kept.len() + 3, "a genesis, a start and the alarm; nothing half-written stays");
    assert_eq!(actions(&before).last(), Some(&"ledger.disk_full"));
    state.remove("ballast").unwrap();
    ledger.enter(entry("after")).unwrap();
    ledger.shutdown();
    let records = verified(home.path());
    let tail = &actions(&records)[before.len()..];
    assert_eq!(tail, ["ledger.resumed", "test.act", "ledger.stop", "ledger.checkpoint"]);
    assert_eq!(records[before.len()]["details"]["refused"].as_str(), Some("2"));
}
