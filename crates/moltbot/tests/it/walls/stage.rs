//! A real gateway, a model that calls `exec` as the test wants, and a look at the host.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moltbot_testkit::client::Client;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Circumstances, Gateway};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// The user `nobody`: no rights, no home.
pub(crate) const NOBODY: u32 = 65_534;

/// Everything that one test of the walls needs.
pub(crate) struct Stage {
    pub(crate) model: ScriptedModel,
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
    pub(crate) client: Client,
}

/// The users whose gateway the test `name` tries: whoever runs the test, and an ordinary user where that is root.
pub(crate) fn users(name: &str) -> Vec<Option<u32>> {
    if rustix::process::geteuid().is_root() {
        return vec![None, Some(NOBODY)];
    }
    skip(name, "tried as this user only; run as root to try it as root as well");
    vec![None]
}

/// The program where another user can reach it: the build folder may be in root's home.
pub(crate) fn program_for(home: &Home) -> PathBuf {
    let copy = home.path().join("program");
    if !copy.exists() && std::fs::hard_link(PROGRAM, &copy).is_err() {
        std::fs::copy(PROGRAM, &copy).unwrap();
    }
    copy
}

impl Stage {
    pub(crate) async fn new(user: Option<u32>) -> Self {
        Self::with(Circumstances { user, ..Circumstances::default() }).await
    }

    pub(crate) async fn with(circumstances: Circumstances) -> Self {
        let model = ScriptedModel::queue([]);
        let home = Home::with_model(&model);
        let mut program = PathBuf::from(PROGRAM);
        if let Some(user) = circumstances.user {
            home.give_to(user);
            program = program_for(&home);
        }
        let gateway = Gateway::start_in(circumstances, &program, &home);
        let client = gateway.connect().open().await.unwrap();
        Self { model, home, gateway, client }
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.home.state_path().join("workspace")
    }

    /// Has the model call one tool, and answers what it was told.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> String {
        let run = self.begin(tool, arguments).await;
        self.end(run).await
    }

    /// Has the model run one command, and answers what it was told.
    pub(crate) async fn exec(&mut self, command: &str) -> String {
        self.call("exec", json!({"command": command})).await
    }

    /// What a command wrote; it must end well, and say `end` last.
    pub(crate) async fn output(&mut self, command: &str) -> String {
        let told = self.exec(&format!("{command}\necho end")).await;
        let written = told.strip_prefix("exit code 0\n\n").unwrap_or_else(|| panic!("{command}: {told}"));
        written.strip_suffix("end\n").unwrap_or_else(|| panic!("{command}: {told}")).to_owned()
    }

    /// Begins a turn in which the model calls one tool.
    pub(crate) async fn begin(&mut self, tool: &str, mut arguments: Value) -> String {
        if let Some(command) = arguments["command"].as_str().map(str::to_owned).filter(|_| tool == "exec") {
            arguments["command"] = self.past_the_review(command).into();
        }
        self.model.push(Reply::tool(tool, &arguments));
        self.model.push(Reply::text("done"));
        self.client.send_chat("main", "go").await
    }

    /// The review refuses what looks like an attack. It reads no files: a command that runs one gets past it, and what
    /// stops the attack then is the walls, which these tests are about.
    #[expect(clippy::disallowed_methods, reason = "a file that an attacker has brought into the workspace")]
    fn past_the_review(&self, command: String) -> String {
        let rules = moltbot_policy::command::Rules::built_in().unwrap();
        if moltbot_policy::command::judge(&command, rules).choice != moltbot_policy::command::Choice::Refuse {
            return command;
        }
        let file = self.workspace().join(".attack");
        std::fs::write(&file, command).unwrap();
        rustix::fs::chmod(&file, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
        let owner = self.workspace().metadata().unwrap();
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        "bash ./.attack".to_owned()
    }

    /// Waits for the end of that turn, and answers what the model was told.
    pub(crate) async fn end(&mut self, run: String) -> String {
        let chat = self.client.finish_chat(run).await;
        assert_eq!((chat.state.as_str(), chat.text.as_str()), ("final", "done"), "{}", chat.end);
        self.model.requests().last().unwrap().tool_results().pop().unwrap()
    }
}

/// A number that no other test uses, to be found among the arguments of processes.
pub(crate) fn marker(tag: u32) -> String {
    format!("{}.{tag}", 3_000_000 + std::process::id())
}

/// Processes of this machine that have `marker` in their arguments, and are not zombies.
#[expect(clippy::disallowed_methods, reason = "the kernel's list of processes is files")]
pub(crate) fn processes_with(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(marker) {
            found.push(format!("{}: {line}", entry.path().display()));
        }
    }
    found
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits, for a few seconds on a busy machine, until no process has `marker`.
pub(crate) async fn none_survives(marker: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !processes_with(marker).is_empty() {
        assert!(Instant::now() < deadline, "survivors: {:?}", processes_with(marker));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every file below a folder, with its owner, group and mode; links are not followed.
pub(crate) fn files_below(folder: &Path) -> Vec<(PathBuf, u32, u32, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stat = path.symlink_metadata().unwrap();
        if stat.is_dir() {
            found.extend(files_below(&path));
        }
        found.push((path, stat.uid(), stat.gid(), stat.mode()));
    }
    found
}

/// Whether this machine has a program that commands see too.
pub(crate) fn has(program: &str) -> bool {
    Path::new(program).exists()
}

/// Runs a script on the host, outside all walls: what it does there is what the walls must stop.
#[expect(clippy::disallowed_methods, reason = "shows that the attack works where there are no walls")]
pub(crate) fn outside(folder: &Path, script: &str) -> String {
    let ran = std::process::Command::new("/bin/bash").args(["-c", script]).current_dir(folder).output();
    String::from_utf8_lossy(&ran.unwrap().stdout).into_owned()
}
