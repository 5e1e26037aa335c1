//! A sandbox with a book, a workspace and a way to run a script.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use moltbot_config::Config;
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_policy::Recorded;
use moltbot_policy::approval::{self, ApprovalsFile, Facts, Judgement, Rules};
use moltbot_policy::cause::Cause;
use moltbot_policy::command::{self, CommandPermit, CommandRequest, permit_own};
use moltbot_policy::container::Backend;
use moltbot_policy::profile::Profile;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_sandbox::{Exit, Outcome, RunError, Sandbox};
use moltbot_vault::StateDir;
use rustix::fs::{Mode, OFlags};
use tokio_util::sync::CancellationToken;

/// Whom the workspace is given to.
const NOBODY: u32 = 65_534;

pub(crate) struct Room {
    pub(crate) sandbox: Sandbox,
    pub(crate) ledger: Ledger,
    pub(crate) home: tempfile::TempDir,
    backend: Backend,
}

/// The helper: where cargo built it, or where the run as an ordinary user has put it.
pub(crate) const HELPER_VARIABLE: &str = "MOLTBOT_TEST_HELPER";

pub(crate) fn helper() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "set by the test that starts this one again")]
    std::env::var_os(HELPER_VARIABLE)
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_moltbot-sandbox-helper")), PathBuf::from)
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::over(backend())
    }

    /// A room for one backend.
    pub(crate) fn over(backend: Backend) -> Self {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
        let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
        let sandbox = Sandbox::with_helper(helper(), ledger.clone());
        let room = Self { sandbox, ledger, home, backend };
        #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
        std::fs::create_dir(room.workspace()).unwrap();
        rustix::fs::chmod(room.workspace(), Mode::RWXU).unwrap();
        if room.backend == Backend::EmbeddedWeak {
            // Commands find the workspace by its path, and are run as whom it belongs to.
            rustix::fs::chmod(room.home.path(), Mode::from_raw_mode(0o711)).unwrap();
            room.give(&room.workspace());
        }
        room
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.workspace().join(name);
        #[expect(clippy::disallowed_methods, reason = "a test's own files")]
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own files")]
        std::fs::write(&path, text).unwrap();
        for path in path.ancestors().take_while(|path| path.starts_with(self.workspace())) {
            self.give(path);
        }
    }

    /// Gives a file to whom commands run as, where a root gateway cannot lend it.
    pub(crate) fn give(&self, path: &Path) {
        if self.backend == Backend::EmbeddedWeak && rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    pub(crate) fn open(&self) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(self.workspace(), flags, Mode::empty()).unwrap()
    }

    /// A permit that no review stands before: these tests are about the walls alone.
    pub(crate) fn permit(&self, script: &str, profile: Profile) -> Recorded<CommandPermit> {
        let script = match self.backend {
            // There is no root of its own, in which the workspace would have another name.
            Backend::EmbeddedWeak => script.replace("/workspace", &self.workspace().display().to_string()),
            _ => script.to_owned(),
        };
        let script: &'static str = Box::leak(script.into_boxed_str());
        moltbot_policy::record(permit_own(script, profile), &self.ledger).unwrap()
    }

    pub(crate) async fn run_with(&self, script: &str, profile: Profile) -> Result<Outcome, RunError> {
        let permit = self.permit(script, profile);
        self.sandbox.run(permit, Some(self.open()), CancellationToken::new()).await
    }

    pub(crate) async fn run(&self, script: &str) -> Outcome {
        self.run_with(script, profile()).await.unwrap()
    }

    /// What a script writes; it must end well.
    pub(crate) async fn output(&self, script: &str) -> String {
        let outcome = self.run(script).await;
        let text = text(&outcome);
        assert_eq!(outcome.exit, Exit::Code(0), "{script} wrote {text}");
        text
    }
}

/// The permit for a command of the agent that nobody has to be asked about.
pub(crate) fn judged(request: CommandRequest, profile: Profile) -> CommandPermit {
    let command = command::review(request, profile, command::Rules::built_in().unwrap()).unwrap();
    let rules = Rules::of(&Config::default().tools.exec, &ApprovalsFile::default(), "main");
    let judged = approval::judge(command, &Facts::default(), &rules).unwrap();
    let Judgement::Run { permit, .. } = judged else { unreachable!("nothing is asked about") };
    *permit
}

pub(crate) fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.output).into_owned()
}

/// The walls of the agent's commands, with a minute.
pub(crate) fn profile() -> Profile {
    Profile { backend: backend(), ..Profile::for_exec(&Config::default(), Some(Duration::from_secs(60))) }
}

/// Set where these tests run again over another backend than the embedded one.
pub(crate) const BACKEND_VARIABLE: &str = "MOLTBOT_TEST_BACKEND";

/// What builds the walls in this run.
pub(crate) fn backend() -> Backend {
    #[expect(clippy::disallowed_methods, reason = "set by the test that starts this one again")]
    match std::env::var(BACKEND_VARIABLE).as_deref() {
        Err(_) => Backend::Embedded,
        Ok("bwrap") => Backend::Bwrap,
        Ok("embedded-weak") => Backend::EmbeddedWeak,
        Ok(other) => unreachable!("{other} is no backend of these tests"),
    }
}

/// Whether a process of this machine has `marker` in its arguments.
pub(crate) fn survivors(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        #[expect(clippy::disallowed_methods, reason = "the list of processes")]
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(marker) {
            found.push(format!("{}: {line}", entry.path().display()));
        }
    }
    found
}

/// Whether the inside has a program.
pub(crate) fn has(program: &str) -> bool {
    Path::new(program).exists()
}

/// The cause of a turn of the owner.
pub(crate) fn cause(run: &str) -> Cause {
    let (session, run) = (SessionKey::main_of(&AgentId::main()), RunId::parse(run).unwrap());
    Cause::of(&moltbot_config::Config::default(), session, run, Principal::Owner)
}
