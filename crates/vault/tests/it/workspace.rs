use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use moltbot_config::Config;
use moltbot_policy::cause::Cause;
use moltbot_policy::file::{FileAct, FilePermit, judge};
use moltbot_policy::{Book, Entering, Entry, Recorded, Unrecorded, record};
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_testkit::skip::skip;
use moltbot_vault::{FileError, Workspace};
use rustix::fs::{CWD, FileType, Mode};
use tempfile::{TempDir, tempdir};

use crate::{bytes_of, chmod, make_folder, mode, names, put, variant};

/// A book that believes everything.
struct Noted;

impl Book for Noted {
    fn enter(&self, _: Entry) -> Result<u64, Unrecorded> {
        Ok(1)
    }

    fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
        Box::pin(std::future::ready(self.enter_all(entries)))
    }
}

fn permit(act: FileAct, path: &str) -> Recorded<FilePermit> {
    let (session, run) = (SessionKey::main_of(&AgentId::main()), RunId::parse("r").unwrap());
    let cause = Cause::of(&Config::default(), session, run, Principal::Owner);
    record(judge(act, path, &cause).unwrap(), &Noted).unwrap()
}

fn read(workspace: &Workspace, path: &str) -> Result<Vec<u8>, FileError> {
    workspace.read(permit(FileAct::Read, path), 1000)
}

fn write(workspace: &Workspace, path: &str, bytes: &[u8]) -> Result<(), FileError> {
    workspace.write(permit(FileAct::Write, path), bytes)
}

fn open() -> (TempDir, Workspace) {
    let home = tempdir().unwrap();
    let workspace = Workspace::open_or_create(&home.path().join("ws"), &[home.path()]).unwrap();
    (home, workspace)
}

#[test]
fn a_file_is_written_read_and_replaced_in_folders_made_for_it() {
    let (home, workspace) = open();
    write(&workspace, "a/b/c.txt", b"one").unwrap();
    write(&workspace, "a/b/c.txt", b"two").unwrap();
    assert_eq!(read(&workspace, "/workspace/a/b/c.txt").unwrap(), b"two");
    let at = home.path().join("ws/a/b");
    assert_eq!((mode(&at), mode(&at.join("c.txt")), names(&at)), (0o700, 0o600, vec!["c.txt".to_owned()]));
    assert_eq!(variant(&read(&workspace, "a/none").unwrap_err()), "Missing");
    assert_eq!(variant(&read(&workspace, "none/none").unwrap_err()), "Missing");
}

#[test]
fn a_replaced_file_keeps_its_rights_but_never_set_user_id() {
    let (home, workspace) = open();
    for (before, after) in [(0o755, 0o755), (0o4755, 0o755), (0o6711, 0o711), (0o1640, 0o640)] {
        put(&home.path().join("ws/run"), b"old");
        chmod(&home.path().join("ws/run"), before);
        write(&workspace, "run", b"new").unwrap();
        assert_eq!(mode(&home.path().join("ws/run")), after, "a file of mode {before:o}");
    }
}

#[test]
fn a_permit_opens_only_the_act_it_is_for() {
    let (home, workspace) = open();
    put(&home.path().join("ws/a"), b"old");
    let reading = workspace.read(permit(FileAct::Write, "a"), 10).unwrap_err();
    let writing = workspace.write(permit(FileAct::Read, "a"), b"new").unwrap_err();
    assert_eq!((variant(&reading), variant(&writing)), ("Act".to_owned(), "Act".to_owned()));
    assert_eq!(bytes_of(&home.path().join("ws/a")), b"old");
}

#[test]
fn no_link_leads_out_of_the_workspace() {
    let (home, workspace) = open();
    let at = |name: &str| home.path().join("ws").join(name);
    make_folder(&home.path().join("outside"));
    put(&home.path().join("outside/file"), b"secret");
    put(&at("inside"), b"inside");
    symlink("/etc/passwd", at("passwd")).unwrap();
    symlink(home.path().join("outside"), at("folder")).unwrap();
    symlink("../outside", at("relative")).unwrap();
    symlink("/proc/self/root", at("root")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("inside", at("alias")).unwrap();
    for path in ["passwd", "folder/file", "relative/file", "root/etc/passwd", "dangling", "alias"] {
        assert_eq!(variant(&read(&workspace, path).unwrap_err()), "Symlink", "reading {path}");
        assert_eq!(variant(&write(&workspace, path, b"x").unwrap_err()), "Symlink", "writing {path}");
    }
    assert_eq!(variant(&write(&workspace, "folder/new/deep", b"x").unwrap_err()), "Symlink");
    assert_eq!(names(&home.path().join("outside")), ["file"]);
    assert_eq!(bytes_of(&home.path().join("outside/file")), b"secret");
}

#[test]
fn dots_and_absolute_names_lead_nowhere() {
    let (home, workspace) = open();
    put(&home.path().join("outside"), b"secret");
    for name in ["..", "../outside", "a/../../outside", "/etc/passwd", "", ".", "a/", "a\0"] {
        assert_eq!(variant(&workspace.seed(&[(name, b"x")]).unwrap_err()), "Name", "seeding {name:?}");
        assert_eq!(variant(&workspace.read_text(name, 10).unwrap_err()), "Name", "reading {name:?}");
    }
    assert_eq!(bytes_of(&home.path().join("outside")), b"secret");
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let (home, workspace) = open();
    let at = |name: &str| home.path().join("ws").join(name);
    rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
    make_folder(&at("folder"));
    #[expect(clippy::disallowed_methods, reason = "the test plays a program in the workspace")]
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for name in ["pipe", "folder", "socket"] {
        assert_eq!(variant(&read(&workspace, name).unwrap_err()), "NotFile", "reading {name}");
        assert_eq!(variant(&write(&workspace, name, b"x").unwrap_err()), "NotFile", "writing {name}");
    }
    put(&at("file"), b"");
    assert_eq!(variant(&read(&workspace, "file/below").unwrap_err()), "NotFolder");
    assert_eq!(variant(&write(&workspace, "file/below", b"x").unwrap_err()), "NotFolder");
}

#[test]
fn a_device_is_refused() {
    let name = "workspace::a_device_is_refused";
    let (home, workspace) = open();
    let zero = rustix::fs::makedev(1, 5);
    let made = rustix::fs::mknodat(
        CWD,
        home.path().join("ws/zero"),
        FileType::CharacterDevice,
        Mode::RUSR | Mode::WUSR,
        zero,
    );
    if made.is_err() {
        return skip(name, "only root can make a device");
    }
    assert_eq!(variant(&read(&workspace, "zero").unwrap_err()), "NotFile");
    assert_eq!(variant(&write(&workspace, "zero", b"x").unwrap_err()), "NotFile");
}

#[test]
fn a_hard_link_is_a_file_and_writing_it_leaves_the_other_name_alone() {
    let (home, workspace) = open();
    put(&home.path().join("other"), b"old");
    std::fs::hard_link(home.path().join("other"), home.path().join("ws/linked")).unwrap();
    assert_eq!(read(&workspace, "linked").unwrap(), b"old");
    write(&workspace, "linked", b"new").unwrap();
    assert_eq!(read(&workspace, "linked").unwrap(), b"new");
    assert_eq!(bytes_of(&home.path().join("other")), b"old");
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let (home, workspace) = open();
    let path = home.path().join("ws/huge");
    put(&path, b"");
    let file = rustix::fs::open(&path, rustix::fs::OFlags::WRONLY, Mode::empty()).unwrap();
    rustix::fs::ftruncate(file, 1 << 40).unwrap();
    let error = read(&workspace, "huge").unwrap_err();
    assert!(matches!(error, FileError::TooLarge { max: 1000, .. }), "{error}");
}

#[test]
fn what_a_workspace_may_not_be_is_refused() {
    let home = tempdir().unwrap();
    let real = home.path().canonicalize().unwrap();
    let state = real.join("state");
    make_folder(&state);
    symlink(&real, real.join("loop")).unwrap();
    let forbidden: [&Path; 2] = [&real, &state];
    let cases: [(PathBuf, &str); 14] = [
        ("/".into(), "Forbidden"),
        ("/etc".into(), "Forbidden"),
        ("/etc/moltbot-workspace".into(), "Forbidden"),
        ("/proc/self".into(), "Forbidden"),
        ("/sys/x".into(), "Forbidden"),
        ("/dev/shm".into(), "Forbidden"),
        ("/usr/share/x".into(), "Forbidden"),
        ("/home".into(), "Forbidden"),
        ("/tmp".into(), "Forbidden"),
        (real.clone(), "Forbidden"),
        (state.clone(), "Forbidden"),
        (real.parent().unwrap().to_owned(), "Forbidden"),
        (real.join("loop"), "Symlink"),
        (real.join("loop/state"), "Forbidden"),
    ];
    for (path, expected) in cases {
        let error = Workspace::open_or_create(&path, &forbidden).unwrap_err();
        assert_eq!(variant(&error), expected, "{}: {error}", path.display());
    }
    assert!(!Path::new("/etc/moltbot-workspace").exists(), "nothing is made where nothing may be");
    for inside in ["workspace", "sandboxes/one"] {
        let workspace = Workspace::open_or_create(&state.join(inside), &forbidden).unwrap();
        assert_eq!((workspace.path(), mode(workspace.path())), (state.join(inside).as_path(), 0o700));
    }
}

#[test]
fn a_workspace_that_everybody_may_write_is_refused() {
    let home = tempdir().unwrap();
    let path = home.path().join("ws");
    make_folder(&path);
    chmod(&path, 0o777);
    assert_eq!(variant(&Workspace::open_or_create(&path, &[]).unwrap_err()), "Exposed");
    chmod(&path, 0o775);
    Workspace::open_or_create(&path, &[]).unwrap();
    assert_eq!(mode(&path), 0o775, "rights of a group in the owner's own folder are the owner's business");
}

#[test]
fn first_files_are_made_once_and_read_as_text() {
    let (home, workspace) = open();
    workspace.seed(&[("AGENTS.md", b"hello")]).unwrap();
    workspace.seed(&[("AGENTS.md", b"again"), ("TOOLS.md", b"new")]).unwrap();
    assert_eq!(workspace.read_text("AGENTS.md", 100).unwrap().as_deref(), Some("hello"));
    assert_eq!(workspace.read_text("TOOLS.md", 100).unwrap().as_deref(), Some("new"));
    make_folder(&home.path().join("ws/sub"));
    assert_eq!(variant(&workspace.seed(&[("sub/file", b"x")]).unwrap_err()), "Name", "only directly in it");
    assert_eq!(workspace.read_text("SOUL.md", 100).unwrap(), None);
    put(&home.path().join("ws/SOUL.md"), b"caf\xe9");
    assert_eq!(workspace.read_text("SOUL.md", 100).unwrap().as_deref(), Some("caf\u{fffd}"));
    assert_eq!(variant(&workspace.read_text("SOUL.md", 3).unwrap_err()), "TooLarge");
}
