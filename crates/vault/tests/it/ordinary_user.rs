//! The same, as an ordinary user: when the tests run as root, they run again as one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::{chmod, make_folder};

/// The user `nobody`: no rights, no home.
const USER: u32 = 65_534;

#[test]
fn the_same_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            "ordinary_user::the_same_holds_for_an_ordinary_user",
            "this run is an ordinary user's, so the other tests show it; run as root to see both",
        );
    }
    // Where the user can reach them: the build folder may be in root's home.
    let folder = tempfile::tempdir().unwrap();
    let (tests, temporary) = (folder.path().join("tests"), folder.path().join("tmp"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    make_folder(&temporary);
    for (path, mode) in [(folder.path(), 0o755), (tests.as_path(), 0o755), (temporary.as_path(), 0o1777)] {
        chmod(path, mode);
    }
    #[expect(clippy::disallowed_methods, reason = "the tests run themselves as another user")]
    let run = Command::new(&tests)
        .args(["--test-threads=2", "permissions::", "history::", "state_dir::", "owner_file::"])
        .uid(USER)
        .gid(USER)
        .current_dir(folder.path())
        .env("TMPDIR", &temporary)
        .env("HOME", &temporary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("test permissions::d_62_a_stricter_mode_stays ... ok"), "{said}");
}
