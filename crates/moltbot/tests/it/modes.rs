use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::Program;

/// Everything beneath `folder`, with whether it is a folder, and its mode.
fn modes(folder: &Path) -> Vec<(PathBuf, bool, u32)> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        found.push((path.clone(), meta.is_dir(), meta.mode() & 0o7777));
        if meta.is_dir() {
            found.extend(modes(&path));
        }
    }
    found
}

/// The program, started by a shell that has given every right to everybody.
#[expect(clippy::disallowed_methods, reason = "the program under test, with another umask")]
fn run_open(program: &Program, arguments: &[&str]) {
    let plain = program.command(arguments);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    shell.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in plain.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn j06_every_file_of_a_gateway_is_owner_only_whatever_the_umask() {
    let program = Program::new();
    for _ in 0..2 {
        run_open(&program, &["up", "--detach", "--port", "0"]);
        run_open(&program, &["config", "set", "gateway.port", "18799"]);
        let running = modes(&program.state());
        run_open(&program, &["gateway", "stop"]);
        for (path, is_folder, mode) in running.into_iter().chain(modes(&program.state())) {
            let allowed = if is_folder { 0o700 } else { 0o600 };
            assert_eq!(mode & !allowed, 0, "{} has mode {mode:o}", path.display());
        }
    }
    let made = modes(&program.state());
    for name in ["moltbot.json", "state.db", "gateway.lock", "logs/gateway.jsonl"] {
        assert!(made.iter().any(|(path, ..)| path.ends_with(name)), "{name} was made: {made:?}");
    }
}
