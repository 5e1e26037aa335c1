//! Tests that run as root, run again as a user without rights.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, chmod};

/// The user `nobody`: no rights, no home.
const USER: u32 = 65_534;

/// Runs this test binary again as an ordinary user, with these arguments, and gives what it printed. `helpers` are
/// programs that it needs, each with the variable that is to name its copy.
///
/// # Panics
/// When a test of that run fails, or it cannot be run.
pub fn run_tests_again(arguments: &[&str], helpers: &[(&str, &Path)]) -> String {
    run_tests_again_with(arguments, helpers, &[])
}

/// The same, with more variables in its environment.
///
/// # Panics
/// As [`run_tests_again`].
#[expect(clippy::disallowed_methods, reason = "the tests run themselves as another user")]
pub fn run_tests_again_with(
    arguments: &[&str],
    helpers: &[(&str, &Path)],
    variables: &[(&str, &str)],
) -> String {
    // Where the user can reach them: the build folder may be in root's home.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |from: &Path, name: &str| {
        let to = folder.path().join(name);
        std::fs::copy(from, &to).expect("a program can be copied");
        open_to_all(&to, 0o755);
        to
    };
    let tests = place(&std::env::current_exe().expect("the tests have a path"), "tests");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a folder in a folder of our own");
    open_to_all(folder.path(), 0o755);
    open_to_all(&temporary, 0o1777);
    let mut command = Command::new(&tests);
    for (variable, helper) in helpers {
        command.env(variable, place(helper, variable));
    }
    command.envs(variables.iter().copied()).args(arguments).uid(USER).gid(USER).current_dir(folder.path());
    let run = command.env("TMPDIR", &temporary).env("HOME", &temporary).output().expect("the tests start");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    said
}

fn open_to_all(path: &Path, mode: u32) {
    chmod(path, Mode::from_raw_mode(mode)).expect("a mode of a file of our own");
}
