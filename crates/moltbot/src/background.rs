//! The gateway in the background: this program started once more, in a session of its own.
//!
//! The child says on its standard output that it is ready and then leaves the terminal; until then what it
//! writes to standard error is the person's to see. Not a way around the sandbox: no argument comes from a
//! model, and the program is this one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::home::{Home, Running};
use crate::{output, prompt};

/// The longest complaint of a child that is shown.
const COMPLAINT_BYTES: u64 = 64 * 1024;

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
    let mut child = spawn(port, stdin).context("cannot start the gateway in the background")?;
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
fn spawn(port: Option<u16>, stdin: Stdio) -> std::io::Result<Child> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["gateway", "run", "--detached"]);
    if let Some(port) = port {
        command.arg("--port").arg(port.to_string());
    }
    // `/` so that no file system is kept busy.
    command.current_dir("/").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
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
