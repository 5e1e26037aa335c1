//! The same, as an ordinary user: when the tests run as root, they run again as one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::room::HELPER_VARIABLE;

/// The user `nobody`: no rights, no home.
const USER: u32 = 65_534;

#[test]
fn the_same_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            "the_same_holds_for_an_ordinary_user",
            "this run is an ordinary user's, so the other tests show it; run as root to see both",
        );
    }
    // Where the user can reach them: the build folder may be in root's home.
    let folder = tempfile::tempdir().unwrap();
    let (tests, helper) = (folder.path().join("tests"), folder.path().join("helper"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_moltbot-sandbox-helper"), &helper).unwrap();
    let temporary = folder.path().join("tmp");
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    std::fs::create_dir(&temporary).unwrap();
    for (path, mode) in [(folder.path(), 0o755), (&tests, 0o755), (&helper, 0o755), (&temporary, 0o1777)] {
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode)).unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "the tests run themselves as another user")]
    let run = Command::new(&tests)
        .args(["--test-threads=2", "--skip", "ordinary_user"])
        .uid(USER)
        .gid(USER)
        .current_dir(folder.path())
        .env(HELPER_VARIABLE, &helper)
        .env("TMPDIR", &temporary)
        .env("HOME", &temporary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("test escape::no_system_call_leads_out ... ok"), "{said}");
}
