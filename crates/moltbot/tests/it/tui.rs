//! The full-screen client: the real program at a real pseudo-terminal, with a real gateway and a scripted model. What it writes
//! is read as a terminal would read it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::{Circumstances, Gateway, command_in, run};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;
/// What the last row says once the client knows its conversation.
const READY: &str = "idle · scripted";
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

const ENTER: &[u8] = b"\r";
const ESCAPE: &[u8] = b"\x1b";
const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";
const CTRL_N: &[u8] = b"\x0e";
const CTRL_Y: &[u8] = b"\x19";

/// A terminal, and the client at it.
pub(crate) struct Terminal {
    near: File,
    child: Child,
    written: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that the client wrote.
    bytes: Vec<u8>,
    before: Termios,
}

impl Terminal {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        Self::start_with(home, arguments, &[])
    }

    pub(crate) fn start_with(home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&near).unwrap();
        let far = File::from(rustix::pty::ioctl_tiocgptpeer(&near, flags).unwrap());
        resize(&near, ROWS, COLUMNS);
        let before = tcgetattr(&far).unwrap();
        // The terminal is the client's own, so that it is told of sizes.
        let wrapper = ["/usr/bin/setsid", "--ctty", "--wait"].map(Into::into).into();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let circumstances = Circumstances { wrapper, environment, ..Circumstances::default() };
        let mut command = command_in(&circumstances, PROGRAM, home, arguments);
        let end = || Stdio::from(far.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let near = File::from(near);
        let written = read(near.try_clone().unwrap());
        let screen = vt100::Parser::new(ROWS, COLUMNS, 0);
        Self { near, child, written, screen, bytes: Vec::new(), before }
    }

    fn press(&mut self, keys: &[u8]) {
        self.near.write_all(keys).unwrap();
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.press(text.as_bytes());
        self.press(ENTER);
    }

    /// What a person sees.
    pub(crate) fn seen(&self) -> String {
        self.screen.screen().contents()
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |seen| seen.contains(text));
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.seen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.written.recv_timeout(left) else {
                panic!("no {what:?} in\n{}", self.seen());
            };
            self.take(&bytes);
        }
    }

    /// Waits for the end of the client, and that the terminal is as it was. The exit code.
    fn end(mut self) -> (i32, Vec<u8>) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        while let Ok(bytes) = self.written.recv_timeout(PATIENCE) {
            self.take(&bytes);
        }
        let screen = self.screen.screen();
        assert!(
            !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(),
            "{}",
            self.seen()
        );
        let after = tcgetattr(&self.near).unwrap();
        assert_eq!(format!("{:?}", after.local_modes), format!("{:?}", self.before.local_modes));
        assert_eq!(format!("{:?}", after.input_modes), format!("{:?}", self.before.input_modes));
        (code, self.bytes)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.bytes.extend_from_slice(bytes);
    }
}

fn resize(near: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    tcsetwinsize(near, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// What is written to the terminal, until nobody has its other end.
fn read(mut near: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(count @ 1..) = near.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn a_message_is_answered_on_the_screen_and_the_terminal_is_given_back() {
    let model = ScriptedModel::queue([Reply::words("It is blue."), Reply::text("Still blue.")]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let mut terminal = Terminal::start(&home, &["tui", "--message", "Which colour is the sky?"]);
    terminal.wait_for("> Which colour is the sky?");
    terminal.wait_for("  It is blue.");
    terminal.wait_for(READY);
    terminal.wait_for("12 in, 5 out");
    terminal.say("And now?");
    terminal.wait_for("  Still blue.");
    assert!(terminal.screen.screen().alternate_screen() && terminal.screen.screen().bracketed_paste());
    terminal.press(CTRL_D);
    let (code, bytes) = terminal.end();
    assert_eq!(code, 0);
    assert!(has(&bytes, b"\x1b[?1049h") && has(&bytes, b"\x1b[?1049l"));
    // Another client of another day sees what was said.
    let mut terminal = Terminal::start_with(&home, &["tui"], &[("NO_COLOR", "1")]);
    terminal.wait_for("> And now?");
    terminal.say("/exit");
    let (code, bytes) = terminal.end();
    assert_eq!(code, 0);
    for colour in [&b"\x1b[3"[..], b"\x1b[4", b"\x1b[7m", b"\x1b[2m", b"\x1b[1m"] {
        let is_colour = |window: &[u8]| {
            window.starts_with(colour) && !window.starts_with(b"\x1b[39") && !window.starts_with(b"\x1b[49")
        };
        assert!(!bytes.windows(5).any(is_colour), "{:?}", String::from_utf8_lossy(colour));
    }
}

#[test]
fn a_command_that_waits_for_a_yes_is_shown_and_runs_after_a_yes_alone() {
    let model = ScriptedModel::queue([
        Reply::tool("exec", &json!({"command": "touch denied"})),
        Reply::text("It was denied."),
        Reply::tool("exec", &json!({"command": "touch allowed"})),
        Reply::text("It was allowed."),
    ]);
    let home = Home::with_model(&model);
    home.change_config(|config| config["tools"]["exec"] = json!({"ask": "always"}));
    let _gateway = Gateway::start(PROGRAM, &home);
    let workspace = home.state_path().join("workspace");
    let mut terminal = Terminal::start(&home, &["tui"]);
    terminal.wait_for(READY);
    terminal.say("go");
    terminal.wait_for("  | touch denied");
    terminal.wait_for("Ctrl+N denies it");
    terminal.wait_for("→ exec (runs)");
    // What is typed meanwhile answers nothing, and Enter least of all.
    terminal.press(ENTER);
    terminal.press(b"yes");
    terminal.wait_for("> yes");
    assert!(terminal.seen().contains("  | touch denied"), "{}", terminal.seen());
    terminal.press(CTRL_C);
    terminal.wait_until("an empty line", |seen| !seen.contains("> yes"));
    terminal.press(CTRL_N);
    terminal.wait_for("It was denied.");
    assert!(!workspace.join("denied").exists());
    assert!(model.requests()[1].tool_results()[0].contains("the owner said no"));
    terminal.wait_for("idle");
    terminal.say("go");
    terminal.wait_for("  | touch allowed");
    assert!(!workspace.join("allowed").exists());
    terminal.press(CTRL_Y);
    terminal.wait_for("It was allowed.");
    terminal.wait_for("→ exec (done)");
    assert!(workspace.join("allowed").exists());
    terminal.press(CTRL_D);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn nothing_of_what_others_wrote_acts_on_the_terminal() {
    let hostile = "seen\u{1b}]52;c;aGVsbG8=\u{7}\u{1b}]8;;http://x\u{1b}\\\u{1b}[2J\u{1b}[31m\u{9b}5m\u{202e}\u{2066}\u{200b}\u{200d}\r\u{8}end";
    let model = ScriptedModel::queue([Reply::tool("read", &json!({"path": hostile})), Reply::text(hostile)]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let mut terminal = Terminal::start(&home, &["tui"]);
    terminal.wait_for(READY);
    let begin = terminal.bytes.len();
    terminal.say("go");
    terminal.wait_for("seen<U+001B>]52;c;aGVsbG8=<U+0007>");
    terminal.wait_for("<U+202E><U+2066><U+200B>");
    terminal.wait_for("idle");
    terminal.press(CTRL_D);
    let (code, bytes) = terminal.end();
    assert_eq!(code, 0);
    let written = &bytes[begin..];
    for dangerous in [
        "\u{1b}]",
        "\u{1b}[2J",
        "\u{1b}[31m",
        "\u{1b}\\",
        "\u{7}",
        "\u{8}",
        "\u{9b}",
        "\u{202e}",
        "\u{2066}",
        "\u{200b}",
        "\u{200d}",
    ] {
        assert!(!has(written, dangerous.as_bytes()), "{dangerous:?} reached the terminal");
    }
}

#[test]
fn a_gateway_that_goes_and_comes_back_costs_nothing_that_was_typed() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut terminal = Terminal::start(&home, &["tui"]);
    terminal.wait_for(READY);
    terminal.press(b"half typed");
    terminal.wait_for("> half typed");
    gateway.kill9();
    terminal.wait_for("NOT CONNECTED");
    terminal.press(ENTER);
    terminal.wait_for("nothing was sent, and what you");
    assert!(terminal.seen().contains("> half typed"), "{}", terminal.seen());
    gateway.restart(&home);
    terminal.wait_for("connected again");
    terminal.press(b", and sent");
    terminal.press(ENTER);
    terminal.wait_for(&echo_of("half typed, and sent"));
    assert_eq!(model.requests().len(), 1, "nothing was sent twice");
    terminal.press(CTRL_D);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let home = Home::empty().unwrap();
    let ran = run(PROGRAM, &home, &["tui"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("`moltbot chat`") && said.contains("`moltbot agent`"), "{said}");
    assert!(ran.stdout.is_empty() && !home.state_path().exists(), "nothing else was done");
}

#[test]
fn escape_stops_an_answer_of_which_a_part_is_shown() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["half of an answer".into()]), Reply::text("whole")]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let mut terminal = Terminal::start(&home, &["tui"]);
    terminal.wait_for(READY);
    terminal.say("hello");
    terminal.wait_for("  half of an answer");
    terminal.wait_for("running, Esc stops it");
    terminal.press(ESCAPE);
    terminal.wait_for("· stopped");
    model.wait_for_hang_ups(1);
    terminal.wait_for("idle");
    terminal.say("again");
    terminal.wait_for("  whole");
    terminal.press(CTRL_D);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_small_screen_will_do_and_a_signal_gives_the_terminal_back() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let mut terminal = Terminal::start(&home, &["tui"]);
    terminal.wait_for(READY);
    terminal.screen.screen_mut().set_size(5, 20);
    resize(&terminal.near, 5, 20);
    terminal.say("日本語の長い文章です");
    terminal.wait_for("idle");
    terminal
        .wait_until("the answer in three rows", |seen| seen.contains("です") && seen.lines().count() <= 5);
    resize(&terminal.near, 1, 1);
    terminal.press(b"x");
    terminal.press(CTRL_D);
    assert_eq!(terminal.end().0, 0);
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        let mut terminal = Terminal::start(&home, &["tui"]);
        terminal.wait_for(READY);
        let pid = i32::try_from(terminal.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(terminal.end().0, 130, "{signal:?}");
    }
}

#[test]
fn without_a_gateway_it_ends_before_it_takes_the_terminal() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let mut terminal = Terminal::start(&home, &["tui"]);
    terminal.wait_for("no gateway runs here");
    let (code, bytes) = terminal.end();
    assert_eq!(code, 69);
    assert!(!has(&bytes, b"\x1b[?1049h"));
}
