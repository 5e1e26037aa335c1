//! The built program in a home of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use moltbot_testkit::home::Home;
use serde_json::Value;
use tempfile::TempDir;

/// The records of the book whose actions begin so.
pub(crate) fn book(home: &Home, action: &str) -> Vec<Value> {
    let search = ["ledger", "search", "--action", action, "--json", "--limit", "1000"];
    let found = moltbot_testkit::process::run(env!("CARGO_BIN_EXE_moltbot"), home, &search);
    assert!(found.status.success(), "{found:?}");
    let text = String::from_utf8_lossy(&found.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A clean home, and the program in it. A gateway that a test leaves running is stopped at the end.
pub(crate) struct Program {
    home: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Sets a variable for every run.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join(".moltbot")
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.state().join("moltbot.json")).unwrap()
    }

    /// Writes the config as a person with an editor would.
    #[expect(clippy::disallowed_methods, reason = "a test writes what the program reads")]
    pub(crate) fn write_config(&self, text: &str) {
        use std::os::unix::fs::DirBuilderExt as _;
        let state = self.state();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&state).unwrap();
        std::fs::write(state.join("moltbot.json"), text).unwrap();
    }

    /// The program with nothing of the test's environment.
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moltbot"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Runs with these lines on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        use std::io::Write as _;
        let mut child: Child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::of(&child.wait_with_output().unwrap())
    }

    /// Starts a gateway in the background, on a free port.
    pub(crate) fn start(&self) -> Ran {
        let ran = self.run(&["up", "--detach", "--port", "0"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.state().join("gateway.lock").exists() {
            self.run(&["gateway", "stop"]);
        }
    }
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}
