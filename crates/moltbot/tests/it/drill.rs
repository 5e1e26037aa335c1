//! `moltbot security drill` through the real binary: every attack fails, is in the book as a drill and leaves nothing behind;
//! and with its control taken away, each gets through.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_testkit::skip::skip;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Program, Ran};

/// The variable that names the control to take away, in a program built for that.
const HOLE: &str = "MOLTBOT_DRILL_HOLE";

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The verdicts by the drills' names.
fn verdicts(report: &Value) -> BTreeMap<String, String> {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let drills = report["drills"].as_array().unwrap().iter();
    drills.map(|one| (text(one, "name"), text(one, "verdict"))).collect()
}

fn names(program: &Program) -> Vec<String> {
    let listed = report(&program.run(&["security", "drill", "--list", "--json"]));
    listed["drills"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// A program whose folder for temporary files is its own.
fn program() -> (Program, TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    (Program::new().with("TMPDIR", temporary.path().to_str().unwrap()), temporary)
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The records of drills in the book: action and name, in their order.
fn told(program: &Program) -> Vec<(String, String, Value)> {
    let found = program.run(&["ledger", "search", "--action", "drill.", "--json", "--limit", "1000"]);
    let records = found.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    records.map(|record| (text(&record, "action"), text(&record, "target"), record)).collect()
}

/// What a bare token is answered.
#[expect(clippy::disallowed_methods, reason = "a client of another kind")]
fn status(program: &Program) -> String {
    let token = program.run(&["secrets", "get", "gateway.auth.token", "--raw"]).out;
    let running = report(&program.run(&["status", "--json"]));
    let port = running["gateway"]["port"].as_u64().unwrap();
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let request = format!(
        "GET /a-drill HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn every_attack_on_a_gateway_that_runs_fails_and_is_told_to_the_book_before_it_is_tried() {
    let (program, temporary) = program();
    program.start();
    let config = program.config();
    // Twice: who attacks himself is not locked out by it.
    for round in 1..=2 {
        let ran = program.run(&["security", "drill", "--json"]);
        let told = report(&ran);
        assert_eq!(ran.code, 0, "{told:#}");
        let found = verdicts(&told);
        assert!(found.len() >= 18 && found.values().all(|verdict| verdict == "held"), "{told:#}");
        assert_eq!(status(&program), "HTTP/1.1 404 Not Found", "round {round}: a bare token still gets in");
        assert_eq!(left_in(temporary.path()), Vec::<PathBuf>::new(), "nothing is left behind");
    }
    assert_eq!(program.config(), config, "nothing was written into the config");
    let devices = program.run(&["devices", "list", "--json"]);
    let known = report(&devices)["paired"].as_array().unwrap().len();
    assert_eq!(known, 1, "no device was left behind: {devices:?}");
    let records = told(&program);
    for name in names(&program) {
        let of = |action: &str| records.iter().position(|(it, of, _)| it == action && *of == name);
        let (start, end) = (of("drill.start"), of("drill.end"));
        assert!(start.is_some() && end.is_some(), "{name}: {records:?}");
        let sequence = |at: Option<usize>| records[at.unwrap()].2["seq"].as_u64();
        assert!(sequence(start) < sequence(end), "{name} is in the book before it is tried");
        assert_eq!(records[end.unwrap()].2["details"]["verdict"], "held", "{name}");
    }
    assert_eq!(program.run(&["ledger", "verify"]).code, 0);
}

#[test]
fn without_a_gateway_one_is_started_for_the_drills_and_thrown_away() {
    let (program, temporary) = program();
    let ran = program.run(&["security", "drill", "no-credentials", "bad-sign-ins", "stop-button", "--json"]);
    let told = report(&ran);
    assert_eq!(ran.code, 0, "{told:#}");
    assert_eq!(verdicts(&told).len(), 3);
    assert_eq!(left_in(temporary.path()), Vec::<PathBuf>::new());
    assert!(!program.state().join("gateway.lock").exists(), "the installation has no gateway");
    assert!(!program.state().join("stopped.json").exists(), "and is not stopped");
}

#[test]
fn a_drill_is_known_by_its_name_and_listing_tries_nothing() {
    let program = Program::new();
    let listed = program.run(&["security", "drill", "--list"]);
    assert!(listed.code == 0 && listed.out.contains("sandbox-fork-bomb"), "{listed:?}");
    assert!(told(&program).is_empty());
    let unknown = program.run(&["security", "drill", "everything"]);
    assert!(unknown.code == 2 && unknown.err.contains("bad-sign-ins"), "{unknown:?}");
}

#[test]
fn what_could_not_be_tried_is_told_and_is_no_success() {
    let program = Program::new();
    program.write_config(r#"{"gateway":{"auth":{"token":"q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM"}},"agents":{"defaults":{"sandbox":{"backend":"docker"}}}}"#);
    let ran = program.run(&["security", "drill", "sandbox-escape", "denied-command"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("1 held, 0 got through, 1 not run"), "{ran:?}");
}

#[test]
fn a_drill_that_is_killed_takes_its_gateway_with_it() {
    let (program, _temporary) = program();
    program.run(&["config", "validate"]);
    let mut drill = program.command(&["security", "drill", "bad-sign-ins", "stop-button"]).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", drill.id());
    #[expect(clippy::disallowed_methods, reason = "a test looks at processes")]
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let is_gateway = |pid: &str| read(&format!("/proc/{pid}/cmdline")).contains("--throwaway");
    let mut gateway = None;
    within(|| {
        gateway = read(&children).split_whitespace().find(|pid| is_gateway(pid)).map(str::to_owned);
        gateway.is_some()
    });
    drill.kill().unwrap();
    drill.wait().unwrap();
    let gateway = gateway.unwrap();
    within(|| !is_gateway(&gateway));
}

fn within(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < until, "it did not come to be");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_fresh_installation_is_excellent_also_when_it_is_attacked() {
    let (program, _temporary) = program();
    program.start();
    let ran = program.run(&["security", "audit", "--deep", "--json"]);
    let told = report(&ran);
    assert_eq!(ran.code, 0, "{told:#}");
    let (score, coverage) = (told["score"].as_u64().unwrap(), told["coverage"].as_u64().unwrap());
    assert!(score >= 95 && coverage >= 95, "{told:#}");
    let passed: Vec<&str> =
        told["passed"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    for name in names(&program) {
        assert!(passed.contains(&&*format!("drill.{name}")), "{name}: {told:#}");
    }
    let plain = report(&program.run(&["security", "audit", "--json"]));
    assert!(!plain.to_string().contains("drill.no-credentials"), "they count when they were asked for");
}

/// The program in which controls can be taken away. Built by `tests/holes.sh`.
#[expect(clippy::disallowed_methods, reason = "where the tools of the tests are")]
fn drilled(test: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("MOLTBOT_TEST_TOOLS").map(PathBuf::from);
    let path = tools.map(|tools| tools.join("moltbot-drilled")).filter(|path| path.exists());
    if path.is_none() {
        skip(test, "there is no moltbot-drilled; `sh tests/holes.sh` builds it");
    }
    path
}

/// Runs one drill with a program in which `hole` is open.
#[expect(clippy::disallowed_methods, reason = "the program under test, built with its holes")]
fn drill_with_hole(binary: &Path, hole: &str, drill: &str) -> (i32, Value) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary);
    command.args(["security", "drill", drill, "--json"]).env_clear();
    // The drill on secrets looks for what it has laid out where temporary files are, unless they are elsewhere.
    let temporary = if drill == "sandbox-secret" { Path::new("/tmp") } else { home.path() };
    command.env("HOME", home.path()).env("TMPDIR", temporary).env("PATH", "/usr/bin:/bin").env(HOLE, hole);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let ran = Ran::of(&output);
    (ran.code, report(&ran))
}

macro_rules! holes {
    ($($test:ident: $name:literal),+ $(,)?) => {$(
        #[test]
        fn $test() {
            let Some(binary) = drilled(stringify!($test)) else { return };
            let (code, told) = drill_with_hole(&binary, $name, $name);
            assert_eq!((code, verdicts(&told)[$name].as_str()), (1, "got-through"), "{told:#}");
            // The same program with another control taken away: it is this control that holds.
            let other = if $name == "denied-command" { "swapped-envelope" } else { "denied-command" };
            let (code, told) = drill_with_hole(&binary, other, $name);
            assert_eq!((code, verdicts(&told)[$name].as_str()), (0, "held"), "{told:#}");
        }
    )+};
}

holes! {
    the_drill_without_credentials_gets_through_where_nothing_asks_for_one: "no-credentials",
    the_drill_with_a_short_token_gets_through_where_nothing_compares: "short-token",
    the_drill_of_a_replay_gets_through_where_nonces_are_not_compared: "replayed-signature",
    the_drill_of_an_open_policy_gets_through_where_nobody_refuses_it: "open-dm-policy",
    the_drill_of_a_denied_command_gets_through_where_nothing_is_refused: "denied-command",
    the_drill_of_a_swap_gets_through_where_envelopes_have_no_place: "swapped-envelope",
    the_drill_of_a_changed_book_gets_through_where_nothing_is_verified: "changed-ledger",
    the_drill_of_the_canary_gets_through_where_nothing_is_redacted: "log-canary",
    the_drill_of_an_escape_gets_through_where_there_are_no_walls: "sandbox-escape",
    the_drill_of_a_secret_gets_through_where_there_are_no_walls: "sandbox-secret",
    the_drill_of_a_socket_gets_through_where_there_are_no_walls: "sandbox-socket",
    the_drill_of_the_fork_bomb_gets_through_where_nobody_counts: "sandbox-fork-bomb",
    the_drill_of_a_revoked_device_gets_through_where_nothing_is_revoked: "revoked-device",
    the_drill_of_the_stop_gets_through_where_nothing_stops: "stop-button",
    the_drill_of_forged_headers_gets_through_where_they_are_believed: "forged-forwarding",
    the_drill_of_a_foreign_page_gets_through_where_origins_are_not_judged: "foreign-origin",
    the_drill_of_a_foreign_name_gets_through_where_hosts_are_not_judged: "foreign-host",
    the_drill_of_guesses_gets_through_where_they_are_not_counted: "bad-sign-ins",
}

/// What everybody uses has no holes: the variable does nothing, and neither it nor a hole's question is in the program.
#[test]
fn the_program_that_everybody_uses_has_no_holes() {
    let program = Program::new().with(HOLE, "denied-command");
    let ran = program.run(&["security", "drill", "denied-command", "--json"]);
    assert_eq!((ran.code, verdicts(&report(&ran))["denied-command"].as_str()), (0, "held"), "{ran:?}");
    let has = |path: &Path| {
        #[expect(clippy::disallowed_methods, reason = "a test reads the program")]
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(HOLE.len()).any(|window| window == HOLE.as_bytes())
    };
    assert!(!has(Path::new(env!("CARGO_BIN_EXE_moltbot"))));
    let Some(drilled) = drilled("the_program_that_everybody_uses_has_no_holes") else { return };
    assert!(has(&drilled), "the word would be found");
}
