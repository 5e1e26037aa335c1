//! The gateway in the background: this program started once more, in a session of its own.
//!
//! The child says on its standard output that it is ready and then leaves the terminal; until then what it
//! writes to standard error is the person's to see. Not a way around the sandbox: no argument comes from a
//! model, and the program is this one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use moltbot_policy::Recorded;
use moltbot_policy::drill::DrillPermit;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::home::{Home, Running};
use crate::{output, prompt};

/// The longest complaint of a child that is shown.
const COMPLAINT_BYTES: u64 = 64 * 1024;
/// How long a gateway that is thrown away may take to end by itself.
const GOODBYE: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// What a gateway that listens says of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// What its lock says.
    pub(crate) running: Running,
    /// The model choice, said aloud.
    pub(crate) model: String,
    /// What its owner has to know, a line each: that it is locked down, how much of the config has no effect.
    pub(crate) notes: Vec<String>,
}

/// Starts the gateway and waits until it listens, or says why it does not.
///
/// A passphrase is asked for here, because the gateway leaves the terminal, and handed over by its standard input.
pub(crate) fn start(home: &Home, port: Option<u16>) -> anyhow::Result<Ready> {
    home.close_book();
    let passphrase = if home.needs_passphrase()? { Some(prompt::ask(prompt::PASSPHRASE)?) } else { None };
    let stdin = if passphrase.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = spawn(home.environment.profile.as_deref(), port, stdin)
        .context("cannot start the gateway in the background")?;
    if let (Some(passphrase), Some(mut input)) = (passphrase, child.stdin.take()) {
        input.write_all(passphrase.expose_secret().as_bytes())?;
        input.write_all(b"\n")?;
    }
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out.take(COMPLAINT_BYTES)).read_line(&mut line)?;
    }
    if line.is_empty() {
        return Err(complaint(child));
    }
    serde_json::from_str(&line).context("the gateway said something else than that it is ready")
}

#[expect(clippy::disallowed_methods, reason = "this program again, as the gateway; nothing of a model's")]
fn spawn(profile: Option<&str>, port: Option<u16>, stdin: Stdio) -> std::io::Result<Child> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    if let Some(profile) = profile {
        command.arg("--profile").arg(profile);
    }
    command.args(["gateway", "run", "--detached"]);
    if let Some(port) = port {
        command.arg("--port").arg(port.to_string());
    }
    // `/` so that no file system is kept busy.
    command.current_dir("/").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// A gateway for a drill: it ends when this is dropped, and with this process.
pub(crate) struct Throwaway {
    child: Child,
    ready: Ready,
}

impl Throwaway {
    /// What it said when it listened.
    pub(crate) const fn ready(&self) -> &Ready {
        &self.ready
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Our own child, which was not waited for yet: the number is its.
        let told = pid.map(|pid| rustix::process::kill_process(pid, Signal::TERM));
        let until = Instant::now() + GOODBYE;
        while told.is_some() && Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(LOOK),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // What it has is thrown away: how it ends does not matter.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts a gateway on the folder of a stand-in, with nothing of this process's environment: no key of a provider is in it.
pub(crate) fn start_throwaway(home: &Home, _: &Recorded<DrillPermit>) -> anyhow::Result<Throwaway> {
    home.close_book();
    let mut child = spawn_throwaway(home.state.path(), &home.environment.home)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out.take(COMPLAINT_BYTES)).read_line(&mut line)?;
    }
    if line.is_empty() {
        return Err(complaint(child));
    }
    let ready =
        serde_json::from_str(&line).context("the gateway said something else than that it is ready")?;
    Ok(Throwaway { child, ready })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program again, as a gateway for a drill; nothing of a model's"
)]
fn spawn_throwaway(state: &Path, home: &Path) -> std::io::Result<Child> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["gateway", "run", "--detached", "--throwaway", "--port", "0"]);
    command.env_clear().env("HOME", home).env("MOLTBOT_STATE_DIR", state).env("PATH", "/usr/bin:/bin");
    #[cfg(feature = "drill-holes")]
    command.envs(std::env::var_os(crate::HOLE).map(|hole| (crate::HOLE, hole)));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Ends this process with the one that started it.
pub(crate) fn end_with_parent() -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot be bound to the process that started this one")?;
    Ok(())
}

/// What the child said before it gave up, with its exit code.
fn complaint(mut child: Child) -> anyhow::Error {
    let mut text = String::new();
    let read = child.stderr.take().map(|err| err.take(COMPLAINT_BYTES).read_to_string(&mut text));
    let code = child.wait().ok().and_then(|status| status.code());
    let text = match read {
        Some(Ok(_)) if !text.trim().is_empty() => text.trim().trim_start_matches("moltbot: ").to_owned(),
        _ => "the gateway did not start; `moltbot gateway run` shows why".to_owned(),
    };
    let exits = [Exit::Busy, Exit::Config, Exit::Refused];
    let exit = exits.into_iter().find(|exit| Some(i32::from(exit.code())) == code);
    exit.unwrap_or(Exit::Failed).because(text)
}

/// Leaves the terminal's session, so that closing it does not end the gateway.
pub(crate) fn leave_session() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the terminal's session")?;
    Ok(())
}

/// Tells the waiting parent that the gateway listens, then closes both ends to it.
pub(crate) fn ready(ready: &Ready) -> anyhow::Result<()> {
    output::line(&serde_json::to_string(ready)?)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
