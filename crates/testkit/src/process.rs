//! The real program, run in a temporary home.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Connect;
use crate::home::Home;

/// How long a gateway may take to answer, or to stop: longer than it drains.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(5);

/// Who runs a program, and what runs it.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The user and group, where the test is root and the program should not be. The home must be given to it
    /// first: [`Home::give_to`].
    pub user: Option<u32>,
    /// A program and its first arguments that replace themselves by the program under test.
    pub wrapper: Vec<String>,
    /// More variables in the environment.
    pub environment: Vec<(String, String)>,
    /// What a gateway is started with; `gateway run` when there is nothing.
    pub arguments: Vec<String>,
}

/// `program` with these arguments in this home, and no other variables than `HOME`, `PATH` and
/// `MOLTBOT_STATE_DIR`.
pub fn command(program: impl AsRef<Path>, home: &Home, arguments: &[&str]) -> Command {
    command_in(&Circumstances::default(), program, home, arguments)
}

/// The same in these circumstances.
#[expect(clippy::disallowed_methods, reason = "a test starts the real program")]
pub fn command_in(
    circumstances: &Circumstances,
    program: impl AsRef<Path>,
    home: &Home,
    arguments: &[&str],
) -> Command {
    // The child begins in the home, where a relative path would not be found.
    let program = std::path::absolute(program.as_ref()).expect("a path");
    let mut command = match circumstances.wrapper.split_first() {
        None => Command::new(program),
        Some((wrapper, rest)) => {
            let mut command = Command::new(wrapper);
            command.args(rest).arg(program);
            command
        }
    };
    if let Some(user) = circumstances.user {
        command.uid(user).gid(user);
    }
    command
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("MOLTBOT_STATE_DIR", home.state_path())
        .envs(circumstances.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(home.path())
        .stdin(Stdio::null());
    command
}

/// Runs `program` with these arguments in this home to its end.
pub fn run(program: impl AsRef<Path>, home: &Home, arguments: &[&str]) -> Output {
    command(program, home, arguments).output().expect("the program starts")
}

/// A running `moltbot gateway run`. Killed when it is dropped.
pub struct Gateway {
    child: Child,
    program: PathBuf,
    circumstances: Circumstances,
    port: u16,
    token: String,
    log: PathBuf,
}

impl Gateway {
    /// Starts the program (`env!("CARGO_BIN_EXE_moltbot")`) with the home's config and waits until it answers.
    ///
    /// # Panics
    /// With the program's output, when it ends or does not answer within a minute.
    pub fn start(program: impl AsRef<Path>, home: &Home) -> Self {
        Self::start_with(program, home, &[])
    }

    /// The same with more variables in its environment.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_with(program: impl AsRef<Path>, home: &Home, environment: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = environment.iter().map(own).collect();
        Self::start_in(Circumstances { environment, ..Circumstances::default() }, program, home)
    }

    /// The same with another command than `gateway run`.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_as(arguments: &[&str], program: impl AsRef<Path>, home: &Home) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start_in(Circumstances { arguments, ..Circumstances::default() }, program, home)
    }

    /// The same in these circumstances.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_in(circumstances: Circumstances, program: impl AsRef<Path>, home: &Home) -> Self {
        let log = home.path().join("gateway.log");
        let child = spawn(program.as_ref(), home, &circumstances, &log);
        let token = home.token().unwrap_or_default();
        let program = program.as_ref().to_path_buf();
        let mut gateway = Self { child, program, circumstances, port: home.port(), token, log };
        gateway.wait_until_it_answers();
        gateway
    }

    /// Starts it again in the same home, after [`Gateway::kill9`] or [`Gateway::terminate`].
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn restart(&mut self, home: &Home) {
        self.kill9();
        self.child = spawn(&self.program, home, &self.circumstances, &self.log);
        self.wait_until_it_answers();
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its token, from the config.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that presents the token and asks for every right: a token alone is given read and write, a
    /// device of this machine all of them.
    pub fn connect(&self) -> Connect {
        let every = ["operator.admin", "operator.read", "operator.write"];
        Connect::to(self.port).token(&self.token).scopes(&every)
    }

    /// What it printed so far, to either stream, over all its starts.
    #[expect(clippy::disallowed_methods, reason = "a test looks at what the program wrote")]
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Kills it as a power cut would, and waits until it is gone. Nothing happens when it is gone already.
    pub fn kill9(&mut self) {
        if self.child.try_wait().expect("the state of a child").is_none() {
            self.child.kill().expect("a signal to a child");
            self.child.wait().expect("the end of a child");
        }
    }

    /// Asks it to stop, by `SIGTERM`, and waits until it has.
    ///
    /// # Panics
    /// When it does not stop within a minute.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a signal to a child");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the gateway does not end; it printed:\n{}", self.printed());
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the state of a child").is_none()
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !answers(self.port) {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                let how = (status.code(), status.signal());
                panic!(
                    "the gateway ended (code, signal: {how:?}) before it answered; it printed:\n{}",
                    self.printed()
                );
            }
            assert!(
                Instant::now() < deadline,
                "the gateway does not answer; it printed:\n{}",
                self.printed()
            );
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill9();
    }
}

#[expect(clippy::disallowed_methods, reason = "the output of a test's program goes to a file of the test")]
fn spawn(program: &Path, home: &Home, circumstances: &Circumstances, log: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
    let mut arguments: Vec<&str> = circumstances.arguments.iter().map(String::as_str).collect();
    if arguments.is_empty() {
        arguments = vec!["gateway", "run"];
    }
    let mut command = command_in(circumstances, program, home, &arguments);
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// Whether something on that port answers `GET /healthz` with success.
#[expect(clippy::disallowed_methods, reason = "a test asks a gateway on loopback")]
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
