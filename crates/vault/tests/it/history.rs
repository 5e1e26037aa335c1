use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use moltbot_vault::{BackupOutcome, Change, FileKey, History, HistoryError, StateDir, Vault};
use rustix::fs::{CWD, Timespec, Timestamps};
use tempfile::{TempDir, tempdir};
use zeroize::Zeroizing;

use crate::{bytes_of, chmod, make_folder, mode, names, put, variant};

/// A secret that no file may hold as text.
const CANARY: &str = "canary-7f3a9c";

struct Home {
    folder: TempDir,
    state: StateDir,
    vault: Vault,
}

impl Home {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let state = StateDir::open_or_create(&folder.path().join("state")).unwrap();
        let vault = Vault::open_or_create(&state, &FileKey).unwrap();
        Self { folder, state, vault }
    }

    const fn history(&self) -> History<'_> {
        History::new(&self.state, &self.vault)
    }

    fn keep(&self, text: &str, at_ms: u64) -> u64 {
        let change = Change { at_ms, actor: "owner", command: "config set" };
        self.history().keep(text.as_bytes(), &change).unwrap()
    }

    fn config(&self) -> PathBuf {
        self.state.path().join("moltbot.json")
    }

    /// A backup beside the config, last written at this second.
    fn backup(&self, name: &str, text: &str, second: i64) -> PathBuf {
        let path = self.state.path().join(name);
        put(&path, text.as_bytes());
        chmod(&path, 0o644);
        let time = Timespec { tv_sec: second, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
        path
    }
}

/// Every file beneath `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Files beneath `folder` that have the canary as text.
fn betraying(folder: &Path) -> Vec<PathBuf> {
    let has = |path: &PathBuf| bytes_of(path).windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    files(folder).into_iter().filter(has).collect()
}

#[test]
fn the_last_five_versions_are_kept_and_sealed() {
    let home = Home::new();
    let history = home.history();
    assert_eq!(history.list().unwrap(), []);
    assert!(!home.state.path().join("history").exists(), "looking makes nothing");
    for turn in 1..=8_u64 {
        assert_eq!(home.keep(&format!("{{/* {CANARY} {turn} */}}"), 1000 + turn), turn);
    }
    let kept: Vec<_> =
        history.list().unwrap().iter().map(|version| (version.number, version.at_ms)).collect();
    assert_eq!(kept, [(8, 1008), (7, 1007), (6, 1006), (5, 1005), (4, 1004)]);
    assert_eq!(*history.read(4).unwrap(), format!("{{/* {CANARY} 4 */}}").into_bytes());
    assert_eq!(variant(&history.read(3).unwrap_err()), "Missing");
    let newest = &history.list().unwrap()[0];
    assert_eq!(
        (newest.actor.as_str(), newest.command.as_str(), newest.is_backup),
        ("owner", "config set", false)
    );
    assert_eq!(newest.sha256.len(), 64);
    assert_eq!(betraying(home.folder.path()), Vec::<PathBuf>::new());
    let on_disk = names(&home.state.path().join("history"));
    assert_eq!(on_disk[0], "00000000000000000004-00000000001004.config", "names sort by number: {on_disk:?}");
    for file in files(&home.state.path().join("history")) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_text_that_is_kept_already_pushes_nothing_out() {
    let home = Home::new();
    let first = home.keep("{a: 1}", 1);
    assert_eq!(home.keep("{a: 1}", 2), first);
    assert_ne!(home.keep("{a: 2}", 3), first);
    assert_eq!(home.history().list().unwrap().len(), 2);
}

#[test]
fn a_version_that_was_changed_or_moved_does_not_open_and_hides_no_other() {
    let home = Home::new();
    for turn in 1..=3 {
        home.keep(&format!("{turn}"), turn);
    }
    let folder = home.state.path().join("history");
    let path = |number: u64| folder.join(format!("{number:020}-{number:014}.config"));
    let mut bytes = bytes_of(&path(1));
    *bytes.last_mut().unwrap() ^= 1;
    put(&path(1), &bytes);
    put(&path(2), &bytes_of(&path(3)));
    let kept: Vec<_> = home.history().list().unwrap().iter().map(|version| version.number).collect();
    assert_eq!(kept, [3]);
    for number in [1, 2] {
        assert_eq!(variant(&home.history().read(number).unwrap_err()), "Seal", "{number}");
    }
    let other = Home::new();
    other.state.write("history/00000000000000000003-00000000000003.config", &bytes_of(&path(3))).unwrap();
    assert_eq!(variant(&other.history().read(3).unwrap_err()), "Seal", "another installation's");
}

#[test]
fn the_last_known_good_config_is_remembered_and_never_made_up() {
    let home = Home::new();
    let history = home.history();
    assert!(history.last_known_good().unwrap().is_none());
    history.mark_good(CANARY.as_bytes(), 5).unwrap();
    history.mark_good(CANARY.as_bytes(), 6).unwrap();
    let good = history.last_known_good().unwrap().unwrap();
    assert_eq!((good.text(), good.at_ms), (CANARY.as_bytes(), 5), "the same config is not written again");
    assert!(!format!("{good:?}").contains("99, 97, 110"), "{good:?}");
    assert_eq!(betraying(home.folder.path()), Vec::<PathBuf>::new());
    history.mark_good(b"{}", 7).unwrap();
    assert_eq!(history.last_known_good().unwrap().unwrap().at_ms, 7);
    let path = home.state.path().join("history/last-known-good");
    let mut bytes = bytes_of(&path);
    bytes.truncate(bytes.len() - 1);
    put(&path, &bytes);
    assert_eq!(variant(&history.last_known_good().unwrap_err()), "Seal", "never a config of defaults");
    history.mark_good(b"{}", 8).unwrap();
    assert_eq!(history.last_known_good().unwrap().unwrap().at_ms, 8, "a good config mends it");
}

#[test]
fn d_49_plaintext_backups_are_sealed_and_destroyed() {
    let home = Home::new();
    let text = |age: u32| format!("{{token: '{CANARY}', age: {age}}}");
    let backups = [
        home.backup("moltbot.json.bak", &text(0), 500),
        home.backup("moltbot.json.bak.1", &text(1), 400),
        home.backup("moltbot.json.bak.4", &text(4), 100),
        home.backup("moltbot.json.backup", &text(9), 50),
        home.backup("clawdbot.json.bak", &text(8), 20),
    ];
    chmod(&backups[2], 0o400);
    home.backup("notes.bak", "mine", 1);
    // The blocks of a file stay readable by whoever holds it open: they show what was written over it.
    let held = std::fs::File::from(
        rustix::fs::openat(CWD, &backups[0], rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap(),
    );
    for turn in 1..=5 {
        home.keep(&format!("{turn}"), turn);
    }
    assert_eq!(betraying(home.folder.path()).len(), 5);
    let reports = home.history().absorb_backups(&home.config(), "owner").unwrap();
    let order: Vec<_> = reports.iter().map(|report| report.path.clone()).collect();
    assert_eq!(order, backups.iter().rev().cloned().collect::<Vec<_>>(), "oldest first");
    assert!(
        reports.iter().all(|report| matches!(report.outcome, BackupOutcome::Sealed { .. })),
        "{reports:?}"
    );
    assert_eq!(betraying(home.folder.path()), Vec::<PathBuf>::new());
    assert!(backups.iter().all(|path| !path.exists()));
    assert_eq!(bytes_of(&home.state.path().join("notes.bak")), b"mine", "another's backup is left alone");
    let mut over = [1; 64];
    let read = std::os::unix::fs::FileExt::read_at(&held, &mut over, 0).unwrap();
    assert_eq!(over[..read], vec![0; text(0).len()], "it was overwritten before its name went");

    let versions = home.history().list().unwrap();
    let kept: Vec<_> = versions.iter().map(|version| (version.number, version.is_backup)).collect();
    assert_eq!(kept.iter().filter(|(_, is_backup)| *is_backup).count(), 5, "no backup pushes a version out");
    assert_eq!(kept.len(), 10);
    assert_eq!((versions[0].command.as_str(), versions[0].at_ms), ("backup moltbot.json.bak", 500_000));
    assert_eq!(*home.history().read(versions[0].number).unwrap(), text(0).into_bytes());
    home.keep("another", 9);
    assert_eq!(home.history().list().unwrap().len(), 10, "and no version a backup");
}

#[test]
fn d_49_a_backup_that_was_sealed_before_a_crash_is_sealed_once() {
    let home = Home::new();
    home.backup("moltbot.json.bak", CANARY, 5);
    home.history().absorb_backups(&home.config(), "owner").unwrap();
    home.backup("moltbot.json.bak", CANARY, 6);
    let reports = home.history().absorb_backups(&home.config(), "owner").unwrap();
    assert!(matches!(reports[0].outcome, BackupOutcome::Sealed { number: 1 }), "{reports:?}");
    assert_eq!(home.history().list().unwrap().len(), 1);
    assert_eq!(betraying(home.folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn d_49_backups_in_the_state_folder_are_found_when_the_config_is_elsewhere() {
    let home = Home::new();
    home.backup("moltbot.json.bak", CANARY, 5);
    let config = home.folder.path().join("mine.json5");
    put(&home.folder.path().join("mine.json5.bak.1"), CANARY.as_bytes());
    let reports = home.history().absorb_backups(&config, "owner").unwrap();
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert_eq!(betraying(home.folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn d_49_what_is_no_plain_file_is_told_and_left() {
    let home = Home::new();
    let outside = home.folder.path().join("outside");
    put(&outside, b"mine");
    symlink(&outside, home.state.path().join("moltbot.json.bak")).unwrap();
    make_folder(&home.state.path().join("moltbot.json.bak.1"));
    let linked = home.backup("moltbot.json.bak.2", CANARY, 5);
    std::fs::hard_link(&linked, home.folder.path().join("second")).unwrap();
    let reports = home.history().absorb_backups(&home.config(), "owner").unwrap();
    let told: Vec<_> = reports.iter().map(|report| variant(&report.outcome)).collect();
    assert_eq!(told, ["Failed", "Failed", "Shared"], "{reports:?}");
    assert_eq!(bytes_of(&outside), b"mine");
    // The other name may be the config itself: its text is told, not destroyed.
    assert_eq!(bytes_of(&home.folder.path().join("second")), CANARY.as_bytes());
    assert!(!linked.exists());
}

#[test]
fn after_a_rotation_every_version_opens_with_the_new_key() {
    let home = Home::new();
    for turn in 1..=3 {
        home.keep(&format!("inner {turn}"), turn);
    }
    home.history().mark_good(b"inner 4", 4).unwrap();
    home.backup("moltbot.json.bak", "inner 0", 1);
    home.history().absorb_backups(&home.config(), "owner").unwrap();
    let rotating = home.vault.begin_rotation(&home.state).unwrap();
    let mut seen = Vec::new();
    let history = History::new(&home.state, &rotating);
    let written = history.reseal(&mut |text| {
        let text = std::str::from_utf8(text).unwrap().to_owned();
        seen.push(text.clone());
        Ok(Some(Zeroizing::new(text.replace("inner", "renewed").into_bytes())))
    });
    assert_eq!((written.unwrap(), seen.len()), (5, 5), "{seen:?}");
    assert_eq!(history.reseal(&mut |_| Ok(None)).unwrap(), 0, "again there is nothing to do");
    let error = history.reseal(&mut |_| Err("no key".into())).unwrap_err();
    assert!(matches!(error, HistoryError::Renew { .. }), "{error}");
    let ended = rotating.end_rotation(&home.state).unwrap();
    let history = History::new(&home.state, &ended);
    assert_eq!(history.list().unwrap().len(), 4);
    assert_eq!(*history.read(2).unwrap(), b"renewed 2");
    assert_eq!(history.last_known_good().unwrap().unwrap().text(), b"renewed 4");
    assert!(home.history().read(2).is_err(), "the old key opens none of it");
}

#[test]
fn threads_that_keep_versions_at_once_give_no_number_twice() {
    let home = Home::new();
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|turn| {
                let home = &home;
                scope.spawn(move || {
                    let text = format!("{turn}");
                    let change = Change { at_ms: turn, actor: "owner", command: "test" };
                    loop {
                        // Another thread holds the lock for a few flushes of the disk.
                        match home.history().keep(text.as_bytes(), &change) {
                            Ok(number) => return number,
                            Err(HistoryError::Lock(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
}
