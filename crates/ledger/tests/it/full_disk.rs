use std::path::{Path, PathBuf};

use moltbot_ledger::LedgerOptions;
use moltbot_policy::Book as _;
use moltbot_testkit::skip::skip;
use moltbot_vault::StateDir;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::tempdir;

use crate::{actions, entry, open, put, quiet, try_open, verified};

/// A disk of 256 kB or 4 MB, unmounted when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn of(at: &Path, large: bool) -> Option<Self> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let options = if large { c"size=4m,mode=0700" } else { c"size=256k,mode=0700" };
        mount("none", at, "tmpfs", flags, options).ok()?;
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn d_73_a_full_disk_refuses_what_it_cannot_record_and_goes_on_when_there_is_space() {
    let name = "full_disk::d_73_a_full_disk_refuses_what_it_cannot_record_and_goes_on_when_there_is_space";
    let home = tempdir().unwrap();
    let Some(_disk) = SmallDisk::of(home.path(), false) else {
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

#[test]
fn a_full_disk_takes_the_alarm_and_what_the_local_owner_does_and_nothing_else() {
    let name = "full_disk::a_full_disk_takes_the_alarm_and_what_the_local_owner_does_and_nothing_else";
    let home = tempdir().unwrap();
    let Some(_disk) = SmallDisk::of(home.path(), true) else {
        return skip(name, "cannot mount a tmpfs");
    };
    let state = StateDir::open_or_create(home.path()).unwrap();
    let reserve = home.path().join("ledger/reserve");
    let options = || LedgerOptions { reserve_bytes: 64 * 1024 * 1024, ..quiet() };
    let ledger = try_open(&state, options()).unwrap();
    ledger.enter(entry("before")).unwrap();
    assert_eq!(reserve.metadata().unwrap().len(), 1024 * 1024, "a quarter of the disk");
    // Somebody else fills it to the last byte.
    for number in 0..64 {
        if state.write(&format!("ballast-{number}"), &[1; 256 * 1024]).is_err() {
            break;
        }
    }
    while state.write("crumb", &[1; 4096]).is_ok()
        && state.append("ballast").unwrap().write_all(&[1; 4096]).is_ok()
    {}
    assert!(ledger.enter(entry("refused")).is_err());
    let kept: Vec<u64> =
        (0..50).map(|n| ledger.enter(entry(format!("owner {n}")).from_reserve()).unwrap()).collect();
    assert!(ledger.enter(entry("refused")).is_err());
    assert!(!reserve.exists(), "it was given back to the disk");
    let records = verified(home.path());
    assert_eq!(actions(&records).iter().filter(|action| **action == "ledger.disk_full").count(), 1);
    assert_eq!(kept.len(), 50);
    // The end is recorded, too, and the next start says nothing is missing.
    ledger.shutdown();
    assert_eq!(actions(&verified(home.path()))[records.len()..], ["ledger.stop", "ledger.checkpoint"]);
    for number in 0..64 {
        drop(state.remove(&format!("ballast-{number}")));
    }
    let ledger = try_open(&state, options()).unwrap();
    assert_eq!(ledger.lockdown(), None);
    ledger.enter(entry("after")).unwrap();
    assert!(reserve.exists(), "it is made again");
    ledger.shutdown();
    let records = verified(home.path());
    assert!(records.iter().all(|record| record["target"] != "refused"));
}
