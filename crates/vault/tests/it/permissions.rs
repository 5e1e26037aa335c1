use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use moltbot_testkit::skip::skip;
use moltbot_vault::{
    Lock, Opening, Outcome, OwnerFile, PathKind, PathReport, Places, SecureReport, StateDir, inspect, secure,
};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, XattrFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use tempfile::{TempDir, tempdir};

use crate::{bytes_of, chmod, make_folder, mode, names, put, variant};

/// Long after every file that a test makes, in milliseconds since the epoch.
const LATER: u64 = 10_000_000_000_000;

/// A state folder with something of everything in it, each open to everybody.
struct Home {
    folder: TempDir,
    state: StateDir,
    lock: Lock,
}

impl Home {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let state = StateDir::open_or_create(&folder.path().join("state")).unwrap();
        let lock = state.lock("gateway.lock", b"").unwrap();
        Self { folder, state, lock }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// A file in the state folder, with this mode.
    fn file(&self, name: &str, bits: u32) -> PathBuf {
        self.state.write(name, b"secret").unwrap();
        chmod(&self.at(name), bits);
        self.at(name)
    }

    fn outside(&self, name: &str, bits: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        put(&path, b"{}");
        chmod(&path, bits);
        path
    }

    fn secure(&self) -> SecureReport {
        self.secure_with(&self.at("moltbot.json"), &[])
    }

    fn secure_with(&self, config: &Path, extra: &[PathBuf]) -> SecureReport {
        secure(&self.state, &self.lock, &Places { config, extra }, 0)
    }

    fn inspect(&self) -> SecureReport {
        inspect(self.state.path(), &Places { config: &self.at("moltbot.json"), extra: &[] })
    }
}

/// The one report about `path`.
fn about<'a>(report: &'a SecureReport, path: &Path) -> &'a PathReport {
    let mut found = report.paths.iter().filter(|report| report.path == path);
    let one = found.next();
    assert!(one.is_some(), "{} in {report:?}", path.display());
    let one = one.unwrap();
    assert_eq!(found.next(), None, "one report a path");
    one
}

fn is_skipped(report: &PathReport) -> bool {
    matches!(report.outcome, Outcome::Skipped { .. })
}

#[expect(clippy::disallowed_methods, reason = "the test plays the gateway")]
fn bind(path: &Path) -> UnixListener {
    UnixListener::bind(path).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn d_60_a_link_is_told_and_never_followed() {
    let home = Home::new();
    let outside = home.outside("outside", 0o644);
    let folder = home.folder.path().join("folder");
    make_folder(&folder);
    put(&folder.join("inside"), b"");
    chmod(&folder.join("inside"), 0o644);
    symlink(&outside, home.at("file")).unwrap();
    symlink(&folder, home.at("logs")).unwrap();
    symlink(home.folder.path().join("nowhere"), home.at("dangling")).unwrap();
    let report = home.secure();
    for name in ["file", "logs", "dangling"] {
        let link = about(&report, &home.at(name));
        assert!(link.kind == PathKind::Link && is_skipped(link), "{link:?}");
    }
    assert_eq!((mode(&outside), mode(&folder.join("inside"))), (0o644, 0o644));
}

#[test]
fn d_60_a_file_that_is_swapped_for_a_link_closes_nothing_elsewhere() {
    let home = Home::new();
    let outside = home.outside("outside", 0o644);
    let (file, link) = (home.at("a"), home.at("b"));
    put(&file, b"");
    symlink(&outside, &link).unwrap();
    let (met, swapped) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // 10 000 times, and on until the other thread has met the file once.
            for _ in (0..1_000_000).take_while(|turn| *turn < 10_000 || !met.load(Ordering::Acquire)) {
                // Both names at once: whoever looks at one sees the file or the link, never nothing.
                rustix::fs::renameat_with(CWD, &file, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                for path in [&file, &link] {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                    if let Ok(fd) = rustix::fs::openat(CWD, path, flags, Mode::empty()) {
                        rustix::fs::fchmod(fd, Mode::from_raw_mode(0o666)).unwrap();
                    }
                }
            }
            swapped.store(true, Ordering::Release);
        });
        while !swapped.load(Ordering::Acquire) {
            let report = home.secure();
            if report.paths.iter().any(|path| matches!(path.outcome, Outcome::Repaired(_))) {
                met.store(true, Ordering::Release);
            }
            assert_eq!(mode(&outside), 0o644, "the file outside");
        }
    });
    assert!(met.into_inner(), "the file inside was met");
}

#[test]
fn d_61_what_cannot_be_closed_is_told_with_its_fix_and_stops_the_start() {
    let name = "permissions::d_61_what_cannot_be_closed_is_told_with_its_fix_and_stops_the_start";
    let folder = tempdir().unwrap();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    if mount("none", folder.path(), "tmpfs", flags, c"size=64k,mode=0700").is_err() {
        return skip(name, "cannot mount a tmpfs");
    }
    let state = StateDir::open_or_create(folder.path()).unwrap();
    // On another disk: a disk on which something is open for writing does not become read-only.
    let other = Home::new();
    for (name, bits) in [("a", 0o644), ("b", 0o620), ("c", 0o600)] {
        state.write(name, b"secret").unwrap();
        chmod(&folder.path().join(name), bits);
    }
    mount_remount(folder.path(), flags | MountFlags::RDONLY, c"").unwrap();
    let config = folder.path().join("moltbot.json");
    let report = secure(&state, &other.lock, &Places { config: &config, extra: &[] }, 0);
    unmount(folder.path(), UnmountFlags::DETACH).unwrap();
    let exposed = report.require_private().unwrap_err();
    let paths: Vec<_> = exposed.paths.iter().map(|path| (path.path.clone(), path.found)).collect();
    assert_eq!(paths, [(folder.path().join("a"), 0o644), (folder.path().join("b"), 0o620)], "{exposed}");
    let text = exposed.to_string();
    for part in ["/a (mode 0644)", "/b (mode 0620)", "Read-only file system", "chmod go-rwx"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn d_62_a_stricter_mode_stays() {
    let home = Home::new();
    let files =
        [("a", 0o400), ("b", 0o000), ("moltbot.json", 0o400), ("c", 0o600), ("keys/secrets.key", 0o400)];
    for (name, bits) in files {
        home.file(name, bits);
    }
    home.file("deep/x", 0o600);
    chmod(&home.at("deep"), 0o500);
    chmod(home.state.path(), 0o500);
    let reopened = StateDir::open_or_create(home.state.path()).unwrap();
    let places = Places { config: &home.at("moltbot.json"), extra: &[] };
    let report = secure(&reopened, &home.lock, &places, 0);
    assert_eq!(report.paths, [], "nothing is changed or told");
    assert!(report.kept >= files.len());
    for (name, bits) in files {
        assert_eq!(mode(&home.at(name)), bits, "{name}");
    }
    assert_eq!((mode(&home.at("deep")), mode(home.state.path())), (0o500, 0o500));
    let config = OwnerFile::at(home.at("moltbot.json"));
    chmod(home.state.path(), 0o700);
    config.write(b"{}").unwrap();
    assert_eq!(mode(config.path()), 0o400, "when it is written, too");
    // A stricter mode that has rights of others besides loses those alone.
    chmod(home.state.path(), 0o555);
    StateDir::open_or_create(home.state.path()).unwrap();
    assert_eq!(mode(home.state.path()), 0o500);
    chmod(home.state.path(), 0o700);
    chmod(&home.at("a"), 0o440);
    chmod(&home.at("deep"), 0o555);
    home.secure().require_private().unwrap();
    assert_eq!((mode(&home.at("a")), mode(&home.at("deep"))), (0o400, 0o500));
}

#[test]
fn d_63_everything_in_the_state_folder_is_closed_at_any_depth() {
    let home = Home::new();
    let files = [
        "moltbot.json",
        "moltbot.json.bak",
        "moltbot.json.bak.4",
        "moltbot.json.backup",
        "state.db",
        "state.db-wal",
        "state.db-shm",
        "agents/main/agent/auth-profiles.json",
        "agents/main/sessions/s.jsonl",
        "credentials/oauth.json",
        "credentials/whatsapp/default/creds.json",
        "logs/gateway.jsonl",
        "sandbox/registry.json",
        "include/one.json5",
        "ledger/00000000000000000001.mlog",
        "history/last-known-good",
    ];
    for name in files {
        home.file(name, 0o666);
        for above in Path::new(name).ancestors().skip(1).filter(|above| *above != Path::new("")) {
            chmod(&home.state.path().join(above), 0o777);
        }
    }
    let socket = home.at("gateway.sock");
    let _bound = bind(&socket);
    chmod(&socket, 0o777);
    rustix::fs::mkfifoat(CWD, home.at("pipe"), Mode::RWXU).unwrap();
    chmod(&home.at("pipe"), 0o622);
    chmod(&home.file("unreadable", 0o044), 0o044);

    let before = home.inspect();
    assert_eq!(about(&before, &home.at("state.db")).outcome, Outcome::Open(Opening::Mode));
    assert_eq!(mode(&home.at("state.db")), 0o666, "looking changes nothing");
    let report = home.secure();
    report.require_private().unwrap();
    for name in files {
        let one = about(&report, &home.at(name));
        assert_eq!((one.found, one.wanted, &one.outcome), (0o666, 0o600, &Outcome::Repaired(Opening::Mode)));
        assert_eq!(mode(&home.at(name)), 0o600, "{name}");
    }
    for (name, bits) in [
        ("agents", 0o700),
        ("agents/main/agent", 0o700),
        ("credentials/whatsapp/default", 0o700),
        ("gateway.sock", 0o700),
        ("pipe", 0o600),
        ("unreadable", 0o000),
    ] {
        assert_eq!(mode(&home.at(name)), bits, "{name}");
    }
    assert_eq!(about(&report, &socket).kind, PathKind::Socket);
    let again = home.secure();
    assert_eq!(again.paths, [], "nothing is left to do");
    assert_eq!(home.inspect().paths, []);
}

#[test]
fn what_is_in_an_agents_folder_is_the_agents() {
    let home = Home::new();
    for folder in ["workspace", "workspace-two", "sandboxes"] {
        home.file(&format!("{folder}/run.sh"), 0o755);
        chmod(&home.at(folder), 0o755);
    }
    home.file("other/workspace/x", 0o755);
    home.file("workspaces/x", 0o755);
    home.secure().require_private().unwrap();
    for folder in ["workspace", "workspace-two", "sandboxes"] {
        let inside = home.at(&format!("{folder}/run.sh"));
        assert_eq!((mode(&home.at(folder)), mode(&inside)), (0o700, 0o755), "{folder}");
    }
    for name in ["other/workspace/x", "workspaces/x"] {
        assert_eq!(mode(&home.at(name)), 0o700, "{name}: only those of the state folder itself");
    }
}

#[test]
fn d_64_set_id_and_sticky_bits_are_removed() {
    let home = Home::new();
    for (name, bits) in [("a", 0o4700), ("b", 0o2700), ("c", 0o1600)] {
        home.file(name, bits);
    }
    home.file("folder/x", 0o600);
    chmod(&home.at("folder"), 0o3700);
    let report = home.secure();
    for (name, bits) in [("a", 0o700), ("b", 0o700), ("c", 0o600), ("folder", 0o700)] {
        assert_eq!(mode(&home.at(name)), bits, "{name}");
        assert_eq!(about(&report, &home.at(name)).outcome, Outcome::Repaired(Opening::Mode), "{name}");
    }
}

#[test]
fn d_64_a_file_with_a_second_name_is_told_and_its_mode_is_left_alone() {
    let home = Home::new();
    let closed = home.file("closed", 0o600);
    let open = home.file("open", 0o644);
    std::fs::hard_link(&closed, home.folder.path().join("closed")).unwrap();
    std::fs::hard_link(&open, home.folder.path().join("open")).unwrap();
    let report = home.secure();
    assert!(is_skipped(about(&report, &closed)), "nobody else can use it");
    assert!(about(&report, &open).is_exposed(), "its other name may be anything");
    assert_eq!(mode(&open), 0o644);
    assert!(report.is_exposed());
}

#[test]
fn d_64_j11_what_belongs_to_somebody_else_is_told_and_not_taken() {
    if !is_root() {
        let name = "permissions::d_64_j11_what_belongs_to_somebody_else_is_told_and_not_taken";
        return skip(name, "only root can give a file away");
    }
    let home = Home::new();
    let file = home.file("file", 0o600);
    home.file("folder/x", 0o644);
    for path in [&file, &home.at("folder")] {
        std::os::unix::fs::chown(path, Some(12345), None).unwrap();
    }
    let report = home.secure();
    for path in [&file, &home.at("folder")] {
        let one = about(&report, path);
        assert!(one.is_exposed() && one.to_string().contains("belongs to user 12345"), "{one}");
        assert_eq!(path.metadata().unwrap().uid(), 12345);
    }
    assert_eq!(mode(&home.at("folder/x")), 0o644, "what is in somebody else's folder is not touched");
    let text = report.require_private().unwrap_err().to_string();
    assert!(text.contains("chown 0"), "{text}");
}

/// An access list in the kernel's form: the owner may do all, user 65534 may read and enter, nobody else anything.
fn access_list() -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 5, 65534), (4, 0, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[test]
fn d_64_access_lists_are_removed() {
    let home = Home::new();
    home.file("folder/x", 0o600);
    let (folder, file) = (home.at("folder"), home.file("file", 0o600));
    let set = |path: &Path, name| rustix::fs::setxattr(path, name, &access_list(), XattrFlags::empty());
    if set(&folder, "system.posix_acl_default").is_err() {
        return skip("permissions::d_64_access_lists_are_removed", "the file system has no access lists");
    }
    set(&file, "system.posix_acl_access").unwrap();
    assert_eq!(mode(&file), 0o750, "the kernel shows the list's rights as the group's");
    assert_eq!(about(&home.inspect(), &folder).outcome, Outcome::Open(Opening::AccessList));
    let report = home.secure();
    assert_eq!(about(&report, &folder).outcome, Outcome::Repaired(Opening::AccessList));
    assert_eq!(about(&report, &file).outcome, Outcome::Repaired(Opening::Mode));
    for (path, name) in [(&folder, "system.posix_acl_default"), (&file, "system.posix_acl_access")] {
        assert_eq!(rustix::fs::getxattr_query(path, name), Err(rustix::io::Errno::NODATA), "{name}");
    }
    assert_eq!(mode(&file), 0o700);
}

#[test]
fn d_64_a_folder_above_in_which_others_may_write_is_told() {
    let home = Home::new();
    chmod(home.folder.path(), 0o777);
    let above = home.folder.path().canonicalize().unwrap();
    let report = home.secure();
    assert!(is_skipped(about(&report, &above)), "it is not ours to change");
    assert_eq!(mode(&above), 0o777);
    report.require_private().unwrap();
    chmod(home.folder.path(), 0o1777);
    assert_eq!(home.secure().paths, [], "in a sticky folder nobody can swap what is ours");
}

#[test]
fn d_65_a_config_elsewhere_is_closed_with_its_backups_and_its_folder_is_left_alone() {
    let home = Home::new();
    let config = home.outside("mine.json5", 0o644);
    let closed = [home.outside("mine.json5.bak", 0o644), home.outside("mine.json5.backup", 0o664)];
    let neighbour = home.outside("notes.txt", 0o644);
    chmod(home.folder.path(), 0o755);
    let report = home.secure_with(&config, &[]);
    report.require_private().unwrap();
    for path in closed.iter().chain([&config]) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert_eq!((mode(&neighbour), mode(home.folder.path())), (0o644, 0o755));
}

#[test]
fn d_65_a_file_that_is_no_config_by_its_name_is_refused_and_not_changed() {
    let home = Home::new();
    let hosts = home.outside("hosts", 0o644);
    let report = home.secure_with(&hosts, &[]);
    assert!(about(&report, &hosts).is_exposed());
    assert_eq!(variant(&OwnerFile::at(&hosts).read(100).unwrap_err()), "Exposed");
    let linked = home.outside("linked.json", 0o644);
    std::fs::hard_link(&linked, home.folder.path().join("second")).unwrap();
    assert_eq!(variant(&OwnerFile::at(&linked).read(100).unwrap_err()), "Exposed");
    assert_eq!((mode(&hosts), mode(&linked)), (0o644, 0o644));
    chmod(&hosts, 0o600);
    home.secure_with(&hosts, &[]).require_private().unwrap();
}

#[test]
fn j11_an_open_state_folder_is_closed_and_told() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state");
    make_folder(&path);
    chmod(&path, 0o777);
    let places = Places { config: &path.join("moltbot.json"), extra: &[] };
    let seen = inspect(&path, &places);
    assert_eq!(about(&seen, &path).outcome, Outcome::Open(Opening::Mode));
    assert_eq!(mode(&path), 0o777, "looking changes nothing");
    let state = StateDir::open_or_create(&path).unwrap();
    let lock = state.lock("gateway.lock", b"").unwrap();
    let report = secure(&state, &lock, &places, 0);
    let one = about(&report, &path);
    assert_eq!((one.found, &one.outcome), (0o777, &Outcome::Repaired(Opening::Mode)));
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn j11_a_config_that_is_a_link_is_refused() {
    let home = Home::new();
    let real = home.outside("real.json", 0o600);
    let elsewhere = home.folder.path().join("link.json");
    for link in [home.at("moltbot.json"), elsewhere] {
        symlink(&real, &link).unwrap();
        let report = home.secure_with(&link, &[]);
        assert!(about(&report, &link).is_exposed(), "{}", link.display());
        assert_eq!(variant(&OwnerFile::at(&link).read(100).unwrap_err()), "Symlink");
    }
}

#[test]
fn a_state_folder_that_is_missing_is_not_made_by_looking() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a/state");
    let report = inspect(&path, &Places { config: &path.join("moltbot.json"), extra: &[] });
    assert_eq!((report.paths, names(folder.path())), (vec![], vec![]));
    symlink(folder.path(), folder.path().join("link")).unwrap();
    let link = folder.path().join("link");
    assert!(inspect(&link, &Places { config: &link.join("moltbot.json"), extra: &[] }).is_exposed());
}

#[test]
fn d_57_the_key_file_has_a_rule_of_its_own() {
    let home = Home::new();
    let key = home.file("keys/secrets.key", 0o600);
    let report = home.secure();
    let one = about(&report, &key);
    assert_eq!((one.wanted, &one.outcome), (0o400, &Outcome::Repaired(Opening::Mode)));
    assert_eq!(mode(&key), 0o400);
    assert_eq!(home.secure().paths, []);
    // Whoever could read it has it: closing it quietly would hide that.
    for bits in [0o440, 0o644, 0o602] {
        chmod(&key, bits);
        let report = home.secure();
        let text = report.require_private().unwrap_err().to_string();
        assert!(text.contains("secrets rotate") && text.contains("chmod 400"), "{text}");
        assert_eq!(mode(&key), bits);
    }
}

#[test]
fn d_68_a_credentials_folder_elsewhere_is_looked_at() {
    let home = Home::new();
    let folder = home.folder.path().join("oauth");
    make_folder(&folder);
    make_folder(&folder.join("deep"));
    put(&folder.join("deep/creds.json"), b"{}");
    chmod(&folder.join("deep/creds.json"), 0o644);
    chmod(&folder, 0o755);
    let extra = [folder.clone(), home.folder.path().join("missing")];
    let report = home.secure_with(&home.at("moltbot.json"), &extra);
    if is_root() {
        // Root could close anything that somebody named by mistake, so it only refuses.
        assert!(about(&report, &folder).is_exposed(), "{report:?}");
        assert!(about(&report, &folder.join("deep/creds.json")).is_exposed(), "{report:?}");
        assert_eq!(mode(&folder), 0o755);
    } else {
        report.require_private().unwrap();
        assert_eq!((mode(&folder), mode(&folder.join("deep/creds.json"))), (0o700, 0o600));
    }
}

#[test]
fn d_68_a_credentials_folder_that_holds_everything_is_refused() {
    let home = Home::new();
    let above = home.folder.path().canonicalize().unwrap();
    for folder in [above.clone(), PathBuf::from("/etc"), PathBuf::from("/usr/share")] {
        let before = mode(&folder);
        let report = home.secure_with(&home.at("moltbot.json"), std::slice::from_ref(&folder));
        let told = about(&report, &folder);
        assert!(told.is_exposed() && told.to_string().contains("holds more than them"), "{told}");
        assert_eq!(mode(&folder), before);
    }
}

#[test]
fn what_a_cut_off_write_left_behind_is_removed_when_it_is_old() {
    let home = Home::new();
    home.file("deep/x", 0o600);
    let left = [home.at(".0123456789abcdef.tmp"), home.at("deep/.fedcba9876543210.tmp")];
    let beside = home.folder.path().join(".00000000000000aa.tmp");
    let kept = [home.at(".0123456789abcde.tmp"), home.at(".0123456789ABCDEF.tmp"), home.at("a.tmp")];
    for path in left.iter().chain(&kept).chain([&beside]) {
        put(path, b"plaintext");
        chmod(path, 0o600);
    }
    make_folder(&home.at(".1111111111111111.tmp"));
    let config = home.outside("mine.json", 0o600);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let places = Places { config: &config, extra: &[] };
    let young = secure(&home.state, &home.lock, &places, u64::try_from(now).unwrap());
    assert!(young.paths.iter().all(|path| path.outcome != Outcome::Removed), "{young:?}");
    assert!(left.iter().all(|path| path.exists()), "another process may be about to name it");
    let report = secure(&home.state, &home.lock, &places, LATER);
    for path in left.iter().chain([&beside]) {
        assert_eq!(about(&report, path).outcome, Outcome::Removed);
        assert!(!path.exists(), "{}", path.display());
    }
    assert!(kept.iter().all(|path| path.exists()), "only names that moltbot draws");
}

#[test]
fn what_is_too_deep_is_told_and_does_not_stop_the_start() {
    let home = Home::new();
    let deep = vec!["d"; 40].join("/");
    home.file(&format!("{deep}/x"), 0o644);
    let report = home.secure();
    report.require_private().unwrap();
    assert!(
        report
            .paths
            .iter()
            .any(|path| is_skipped(path) && path.to_string().contains("more than is looked at"))
    );
    assert_eq!(bytes_of(&home.at(&format!("{deep}/x"))), b"secret");
}

#[test]
fn a_folder_that_its_owner_cannot_list_is_told() {
    let home = Home::new();
    home.file("closed/x", 0o600);
    chmod(&home.at("closed"), 0o000);
    let report = home.secure();
    report.require_private().unwrap();
    if !is_root() {
        assert!(is_skipped(about(&report, &home.at("closed"))));
    }
    chmod(&home.at("closed"), 0o700);
}
