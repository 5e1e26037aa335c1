//! Secrets from a person: asked at the terminal without showing them, or read from standard input. Never from argv.

use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::exit::Exit;

/// What is asked when the root keys are under a passphrase.
pub(crate) const PASSPHRASE: &str = "passphrase of keys/secrets.key";
/// The longest secret that is read, in bytes: a service account's key has 3 kB.
const BYTES: usize = 64 * 1024;

/// Asks at the terminal; where there is none, reads one line of standard input.
///
/// # Errors
/// When there is neither, or nothing is said.
pub(crate) fn ask(question: &str) -> anyhow::Result<SecretString> {
    match terminal() {
        Some(terminal) => ask_at(&terminal, question),
        None if io::stdin().is_terminal() => Err(no_one(question)),
        None => read_line(&mut io::stdin().lock(), question),
    }
}

/// A new secret: asked twice at the terminal, or all of standard input without its last line feed.
pub(crate) fn new_secret(question: &str) -> anyhow::Result<SecretString> {
    if !io::stdin().is_terminal() {
        return read_all(question);
    }
    let terminal = terminal().ok_or_else(|| no_one(question))?;
    let first = ask_at(&terminal, question)?;
    let second = ask_at(&terminal, &format!("{question}, once more"))?;
    if secrecy::ExposeSecret::expose_secret(&first) == secrecy::ExposeSecret::expose_secret(&second) {
        return Ok(first);
    }
    Err(Exit::Failed.because("the two are not the same; nothing was changed"))
}

/// Asks for a yes at the terminal; anything else, and no terminal, is a no.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    let Some(terminal) = terminal() else { return Ok(false) };
    rustix::io::write(&terminal, format!("{question} [y/N] ").as_bytes())?;
    let answer = read_until_feed(&terminal)?;
    Ok(matches!(answer.as_slice(), b"y" | b"Y" | b"yes"))
}

/// Asks for one of these answers at the terminal; anything else, and no terminal, is none.
pub(crate) fn answer(answers: &[String]) -> anyhow::Result<Option<String>> {
    let Some(terminal) = terminal() else { return Ok(None) };
    rustix::io::write(&terminal, format!("{}? ", answers.join(", ")).as_bytes())?;
    let said = read_until_feed(&terminal)?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Ok(answers.iter().find(|answer| **answer == said).cloned())
}

/// Shows a text on the terminal's other screen until a line is entered, and leaves nothing of it behind.
pub(crate) fn on_other_screen(text: &str) -> anyhow::Result<()> {
    let terminal = terminal().ok_or_else(|| no_one("a secret"))?;
    let _gone = OtherScreen::enter(&terminal)?;
    rustix::io::write(&terminal, format!("{text}\r\n\r\nEnter hides it again").as_bytes())?;
    read_until_feed(&terminal)?;
    Ok(())
}

/// The other screen is shown for as long as this lives, and is wiped at its end.
struct OtherScreen<'a>(&'a OwnedFd);

impl<'a> OtherScreen<'a> {
    fn enter(terminal: &'a OwnedFd) -> anyhow::Result<Self> {
        rustix::io::write(terminal, b"\x1b[?1049h\x1b[2J\x1b[H")?;
        Ok(Self(terminal))
    }
}

impl Drop for OtherScreen<'_> {
    fn drop(&mut self) {
        if let Err(error) = rustix::io::write(self.0, b"\x1b[2J\x1b[3J\x1b[?1049l") {
            tracing::debug!(%error, "the terminal is gone");
        }
    }
}

/// The terminal that this process belongs to, whatever its standard streams are.
fn terminal() -> Option<OwnedFd> {
    rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()).ok()
}

fn ask_at(terminal: &OwnedFd, question: &str) -> anyhow::Result<SecretString> {
    rustix::io::write(terminal, format!("{question}: ").as_bytes())?;
    let shown = tcgetattr(terminal)?;
    let _hidden = Hidden::begin(terminal, shown)?;
    let line = read_until_feed(terminal)?;
    rustix::io::write(terminal, b"\n")?;
    to_secret(&line, question)
}

/// The terminal does not show what is typed for as long as this lives.
struct Hidden<'a> {
    terminal: &'a OwnedFd,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn begin(terminal: &'a OwnedFd, before: Termios) -> anyhow::Result<Self> {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            tracing::debug!(%error, "the terminal stays as it is");
        }
    }
}

/// Byte by byte, so that nothing behind the line is taken away from whoever reads next.
fn read_until_feed(from: impl AsFd) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(&from, &mut byte))? == 1 {
        match byte {
            [b'\n'] => break,
            [byte] if line.len() < BYTES => line.push(byte),
            _ => return Err(Exit::Failed.because("it is longer than 64 KiB")),
        }
    }
    Ok(line)
}

fn read_line(input: &mut (impl Read + AsFd), question: &str) -> anyhow::Result<SecretString> {
    to_secret(&read_until_feed(&*input)?, question)
}

fn read_all(question: &str) -> anyhow::Result<SecretString> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
    let limit = u64::try_from(BYTES).unwrap_or(u64::MAX);
    io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    if bytes.len() == BYTES {
        return Err(Exit::Failed.because("it is longer than 64 KiB"));
    }
    to_secret(bytes.strip_suffix(b"\n").unwrap_or(&bytes), question)
}

fn to_secret(bytes: &[u8], question: &str) -> anyhow::Result<SecretString> {
    let text = std::str::from_utf8(bytes).map_err(|_| Exit::Failed.because("it is not UTF-8"))?;
    let text = text.trim_end_matches('\r');
    if text.is_empty() {
        return Err(Exit::Failed.because(format!("{question}: nothing was given")));
    }
    Ok(SecretString::from(text))
}

fn no_one(question: &str) -> anyhow::Error {
    Exit::Failed.because(format!("{question}: there is no terminal to ask at; give it on standard input"))
}
