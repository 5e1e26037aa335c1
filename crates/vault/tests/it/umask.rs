//! The mode of everything that is made, whatever the process was started with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use moltbot_vault::{
    Change, DeviceKey, FileKey, History, OwnerFile, Places, StateDir, Vault, Workspace, Wrapping, secure,
};
use tempfile::tempdir;

use crate::{mode, names, put};

/// Names the folder of the child.
const CHILD: &str = "MOLTBOT_TEST_UMASK_IN";

/// Everything beneath `folder`, with its mode.
fn modes(folder: &Path) -> Vec<(PathBuf, bool, u32)> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(name);
        found.push((path.clone(), path.is_dir(), mode(&path)));
        if path.is_dir() {
            found.extend(modes(&path));
        }
    }
    found
}

#[test]
fn d_66_j06_modes_do_not_depend_on_the_umask() {
    for umask in ["0", "77", "177"] {
        let home = tempdir().unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a umask is the whole process's, so a copy of this one sets it"
        )]
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["umask::child_with_a_umask", "--exact", "--ignored"]).arg("--nocapture");
        let run = child.env(CHILD, home.path()).env("UMASK", umask).stdout(Stdio::null()).output().unwrap();
        assert!(run.status.success(), "umask {umask}: {}", String::from_utf8_lossy(&run.stderr));
        let made = modes(home.path());
        for (path, is_folder, bits) in &made {
            let expected = match (is_folder, path.ends_with("keys/secrets.key")) {
                (true, _) => 0o700,
                (false, true) => 0o400,
                (false, false) => 0o600,
            };
            assert_eq!(*bits, expected, "{} with umask {umask}", path.display());
        }
        for name in [
            "state/made",
            "state/logs/a.1.jsonl",
            "state/keys/secrets.key",
            "state/keys/writer.lock",
            "state/ledger/generation",
            "state/history/last-known-good",
            "state/history/00000000000000000001-00000000000001.config",
            "state/identity/device.json",
            "state/workspace/AGENTS.md",
            "elsewhere/moltbot.json",
        ] {
            assert!(made.iter().any(|(path, ..)| *path == home.path().join(name)), "{name} was made");
        }
        assert_eq!(made.len(), 25, "{made:?}");
    }
}

/// Makes, rotates, recovers and backs up a file of every kind.
#[test]
#[ignore = "the part of another process in d_66_j06_modes_do_not_depend_on_the_umask"]
#[expect(clippy::disallowed_methods, reason = "how the parent names the folder and the umask")]
fn child_with_a_umask() {
    let (Some(path), Ok(umask)) = (std::env::var_os(CHILD), std::env::var("UMASK")) else {
        return;
    };
    let home = PathBuf::from(path);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(u32::from_str_radix(&umask, 8).unwrap()));
    let state = StateDir::open_or_create(&home.join("state")).unwrap();
    let lock = state.lock("gateway.lock", b"").unwrap();
    // Made, replaced, grown, rotated.
    assert!(state.create("made", b"").unwrap());
    state.write("deep/er/written", b"").unwrap();
    for _ in 0..2 {
        state.append("logs/a.jsonl").unwrap().write_all(b"{}").unwrap();
        state.rename("logs/a.jsonl", "logs/a.1.jsonl").unwrap();
    }
    state.append("logs/a.jsonl").unwrap();
    // Keys, made and changed.
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let vault = vault.begin_rotation(&state).unwrap().end_rotation(&state).unwrap();
    let vault = vault.rekey(&state, &Wrapping::None, &FileKey).unwrap();
    DeviceKey::load_or_create(&state, 1).unwrap();
    // The config, its history, the good copy, and backups that are recovered into it.
    let config = OwnerFile::at(home.join("elsewhere/moltbot.json"));
    config.write(b"{}").unwrap();
    let history = History::new(&state, &vault);
    history.keep(b"{}", &Change { at_ms: 1, actor: "owner", command: "test" }).unwrap();
    history.mark_good(b"{}", 1).unwrap();
    put(&home.join("elsewhere/moltbot.json.bak"), b"{}");
    history.absorb_backups(config.path(), "owner").unwrap();
    let workspace = Workspace::open_or_create(&state.path().join("workspace"), &[]).unwrap();
    workspace.seed(&[("AGENTS.md", b"")]).unwrap();
    // All of it was private from the start: there is nothing to repair.
    let report = secure(&state, &lock, &Places { config: config.path(), extra: &[] }, 0);
    assert!(report.paths.iter().all(|path| !path.path.starts_with(&home)), "{report:?}");
}
