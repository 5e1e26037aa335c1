//! The views that the book's writer keeps: `logs/auth-audit.jsonl` and `logs/command-audit.jsonl`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use moltbot_ledger::view::{auth_lines, auth_successes, command_lines, rebuild_views};
use moltbot_policy::redact::Redactor;
use moltbot_policy::{Book as _, Decision, Entry};
use moltbot_vault::StateDir;
use serde_json::{Value, json};

use crate::{bytes_of, put, state, verified};

fn sign_in(client: &str, method: &str, decision: Decision) -> Entry {
    let entry = Entry::new("device:d1", "auth.sign_in", "gateway", decision);
    let entry = entry.with("client", client).with("method", method);
    if decision == Decision::Refused { entry.with("code", "token_mismatch") } else { entry }
}

fn ended(command: &str) -> Entry {
    Entry::new("agent:r1", "command.end", command, Decision::Done)
        .in_session("agent:main:main")
        .with("directory", "src")
        .with("duration", "12")
        .with("exit", "3")
        .with("outcome", "exit 3")
        .with("sandbox", "embedded")
        .with("start", "2")
}

fn refused(command: &str, session: &str) -> Entry {
    Entry::new("agent:r1", "command.start", command, Decision::Refused)
        .in_session(session)
        .with("code", "command_empty")
        .with("reason", "the command is empty")
}

/// Writes entries into a book, which is closed afterwards.
fn write(state: &StateDir, entries: &[Entry]) {
    let ledger = crate::open(state);
    ledger.enter_all(entries.to_vec()).unwrap();
    ledger.shutdown();
}

fn log(state: &StateDir, name: &str) -> PathBuf {
    state.path().join("logs").join(name)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = String::from_utf8(bytes_of(path)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line without its time and its number, which differ.
fn fixed(mut line: Value) -> Value {
    assert!(line["timestamp"].as_i64().unwrap() > 1_700_000_000_000, "{line}");
    for name in ["timestamp", "seq", "since"] {
        line.as_object_mut().unwrap().remove(name);
    }
    line
}

#[test]
fn d_20_the_address_that_was_resolved_is_logged_and_not_the_proxys() {
    let (_home, state) = state();
    let entry = sign_in("203.0.113.9", "token", Decision::Allowed).with("locality", "remote");
    write(&state, &[entry]);
    let line = lines(&log(&state, "auth-audit.jsonl")).remove(0);
    assert_eq!(
        fixed(line),
        json!({"clientIp": "203.0.113.9", "method": "token", "success": true, "userId": "d1", "locality": "remote"})
    );
}

#[test]
fn d_21_a_device_token_that_opens_is_one_success_with_its_own_method() {
    let (_home, state) = state();
    write(&state, &[sign_in("203.0.113.9", "device-token", Decision::Allowed)]);
    let line = json!({"clientIp": "203.0.113.9", "method": "device-token", "success": true, "userId": "d1"});
    let all = lines(&log(&state, "auth-audit.jsonl"));
    assert_eq!(all.into_iter().map(fixed).collect::<Vec<_>>(), [line]);
}

#[test]
fn d_22_every_kind_of_attempt_has_one_line_with_its_method() {
    let (_home, state) = state();
    let kinds = ["token", "password", "tailscale", "device-token", "device-signature", "hook"];
    let mut entries: Vec<Entry> =
        kinds.iter().map(|kind| sign_in("192.0.2.1", kind, Decision::Refused)).collect();
    entries.push(
        sign_in("192.0.2.2", "token", Decision::Refused).with("code", "rate_limited").with("count", "7"),
    );
    entries.push(sign_in("192.0.2.3", "token", Decision::Refused).with("code", "invalid_role"));
    entries.push(Entry::new("device:d2", "pairing.approve", "device:d1", Decision::Done));
    entries.push(Entry::new("agent:r1", "file.read", "x", Decision::Allowed));
    write(&state, &entries);
    let told: Vec<(String, bool, Option<u64>)> = lines(&log(&state, "auth-audit.jsonl"))
        .iter()
        .map(|line| {
            (line["method"].as_str().unwrap().into(), line["success"] == true, line["count"].as_u64())
        })
        .collect();
    let mut expected: Vec<(String, bool, Option<u64>)> =
        kinds.iter().map(|kind| ((*kind).into(), false, None)).collect();
    expected.extend([
        ("token".into(), false, Some(7)),
        ("token".into(), false, None),
        ("pairing".into(), true, None),
    ]);
    assert_eq!(told, expected);
}

#[test]
fn d_23_many_threads_that_sign_in_while_the_log_is_turned_over_lose_no_line() {
    let (_home, state) = state();
    let folder = state.folder("logs").unwrap();
    let almost = vec![b'\n'; 10 * 1024 * 1024 - 3000];
    folder.write("auth-audit.jsonl", &almost).unwrap();
    let ledger = crate::open(&state);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    let client = format!("10.{thread}.{n}.1");
                    ledger.enter(sign_in(&client, "token", Decision::Allowed)).unwrap();
                }
            });
        }
    });
    ledger.shutdown();
    let mut clients: Vec<String> = ["auth-audit.jsonl.1", "auth-audit.jsonl"]
        .iter()
        .flat_map(|name| {
            let text = String::from_utf8(bytes_of(&log(&state, name))).unwrap();
            let lines = text.lines().filter(|line| !line.is_empty()).map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["clientIp"].as_str().unwrap().to_owned()
            });
            lines.collect::<Vec<_>>()
        })
        .collect();
    clients.sort();
    clients.dedup();
    assert_eq!(clients.len(), 400);
    assert!(!log(&state, "auth-audit.jsonl.2").exists(), "turned over once");
}

#[test]
fn five_old_logs_are_kept() {
    let (_home, state) = state();
    let folder = state.folder("logs").unwrap();
    for round in 0..8 {
        let mut full = vec![b'\n'; 10 * 1024 * 1024];
        full[0] = b'0' + round;
        folder.write("command-audit.jsonl", &full).unwrap();
        write(&state, &[ended("ls")]);
    }
    let first = |n: u32| bytes_of(&log(&state, &format!("command-audit.jsonl.{n}")))[0];
    assert_eq!([1, 2, 3, 4, 5].map(first), *b"76543");
    assert!(!log(&state, "command-audit.jsonl.6").exists());
    assert_eq!(lines(&log(&state, "command-audit.jsonl")).len(), 1);
}

#[test]
fn d_25_a_flood_of_failures_is_counted_and_pushes_no_success_out() {
    let (_home, state) = state();
    let ledger = crate::open(&state);
    ledger.enter(sign_in("127.0.0.1", "token", Decision::Allowed)).unwrap();
    let one: Vec<Entry> = (0..500).map(|_| sign_in("203.0.113.9", "token", Decision::Refused)).collect();
    let many: Vec<Entry> = (0..2000)
        .map(|n| sign_in(&format!("10.0.{}.{}", n / 250, n % 250), "token", Decision::Refused))
        .collect();
    for entries in one.chunks(250).chain(many.chunks(250)) {
        ledger.enter_all(entries.to_vec()).unwrap();
    }
    ledger.shutdown();
    let all = lines(&log(&state, "auth-audit.jsonl"));
    let (failures, successes): (Vec<&Value>, Vec<&Value>) =
        all.iter().partition(|line| line["success"] == false);
    let total: u64 = failures.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!((total, successes.len()), (2500, 1), "nothing is lost, all is counted");
    // The test may cross the end of a minute once.
    assert!(failures.len() <= 2 * 122, "{} lines for 2500 failures", failures.len());
    let flood = failures.iter().find(|line| line["clientIp"] == "many").unwrap();
    assert!(flood["count"].as_u64().unwrap() > 1000 && flood["since"].is_i64(), "{flood}");
    assert_eq!(
        lines(&log(&state, "auth-audit-success.jsonl")).len(),
        1,
        "successes have a file of their own"
    );
    assert_eq!(auth_successes(&state, 10).unwrap().lines.len(), 1);
}

#[test]
fn d_26_a_corrupt_line_hides_no_other_and_old_logs_are_read() {
    let (_home, state) = state();
    let folder = state.folder("logs").unwrap();
    let line =
        |n: u64| format!(r#"{{"timestamp":{n},"clientIp":"a","method":"token","success":true,"seq":{n}}}"#);
    let file = |numbers: std::ops::Range<u64>| numbers.map(|n| line(n) + "\n").collect::<String>();
    folder.write("auth-audit.jsonl.2", file(0..100).as_bytes()).unwrap();
    let corrupt = format!("{}not json\n\u{0}\u{ff}\n{{}}\n{}", file(100..150), file(150..200));
    folder.write("auth-audit.jsonl.1", corrupt.as_bytes()).unwrap();
    let torn = format!("{}{}", file(200..210), &line(999)[..30]);
    folder.write("auth-audit.jsonl", torn.as_bytes()).unwrap();
    let found = auth_lines(&state, 150).unwrap();
    let expected: Vec<i64> = (60..210).rev().collect();
    assert_eq!(
        found.lines.iter().map(|line| line.timestamp).collect::<Vec<_>>(),
        expected,
        "the newest first"
    );
    assert_eq!(found.skipped, 4);
    assert_eq!(auth_lines(&state, 3).unwrap().lines.len(), 3);
    let (_other, empty) = crate::state();
    assert_eq!(auth_lines(&empty, 100).unwrap().lines, []);
}

#[test]
fn d_26_commands_are_read_with_the_oldest_first() {
    let (_home, state) = state();
    write(&state, &["one", "two", "three"].map(ended));
    let found = command_lines(&state, 2).unwrap();
    assert_eq!(found.lines.iter().map(|line| line.command.as_str()).collect::<Vec<_>>(), ["two", "three"]);
    let line = &found.lines[0];
    assert_eq!((line.exit_code, line.duration, line.cwd.as_deref()), (Some(3), Some(12), Some("src")));
}

#[test]
fn d_27_modes_are_repaired_and_links_are_not_followed() {
    let (home, state) = state();
    let logs = state.path().join("logs");
    drop(state.folder("logs").unwrap());
    put(&log(&state, "auth-audit.jsonl"), b"");
    let mode = |path: &Path, mode| {
        path.metadata()
            .map(|_| std::fs::Permissions::from_mode(mode))
            .and_then(|to| set_mode(path, to))
            .unwrap();
    };
    mode(&log(&state, "auth-audit.jsonl"), 0o666);
    mode(&logs, 0o755);
    let outside = home.path().join("outside");
    put(&outside, b"theirs");
    symlink(&outside, log(&state, "command-audit.jsonl")).unwrap();
    write(&state, &[sign_in("127.0.0.1", "token", Decision::Allowed), ended("ls")]);
    let now = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
    assert_eq!(now(&log(&state, "auth-audit.jsonl")), 0o600);
    assert_eq!(now(&log(&state, "auth-audit-success.jsonl")), 0o600);
    assert_eq!(now(&logs), 0o700);
    assert_eq!(bytes_of(&outside), b"theirs", "a view that is a link is not written");
    assert_eq!(verified(state.path()).len(), 6, "and the book is");
}

#[expect(clippy::disallowed_methods, reason = "the test plays one who loosens modes")]
fn set_mode(path: &Path, to: std::fs::Permissions) -> std::io::Result<()> {
    std::fs::set_permissions(path, to)
}

#[test]
fn d_27_no_text_of_an_attacker_makes_a_line_or_moves_a_terminal() {
    let (_home, state) = state();
    let hostile = "a\n{\"timestamp\":1,\"clientIp\":\"x\",\"method\":\"token\",\"success\":true}\r\u{1b}[2J\u{202e}\u{9b}\u{2028}";
    let entry = sign_in(hostile, hostile, Decision::Refused).with("user", hostile).with("code", hostile);
    write(&state, &[entry, ended(hostile), refused(hostile, "agent:main:main")]);
    for (name, count) in [("auth-audit.jsonl", 1), ("command-audit.jsonl", 2)] {
        let text = String::from_utf8(bytes_of(&log(&state, name))).unwrap();
        assert_eq!(text.lines().count(), count, "{text}");
        let obeyed = |c: char| c != '\n' && (c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c));
        assert!(!text.contains(obeyed), "{text:?}");
    }
    assert_eq!(auth_lines(&state, 9).unwrap().lines[0].client_ip, hostile);
}

#[test]
fn d_28_what_a_peer_calls_itself_is_bounded() {
    let (_home, state) = state();
    let long = "é".repeat(100_000);
    write(&state, &[sign_in(&long, &long, Decision::Refused).with("user", &*long).with("code", &*long)]);
    let length = bytes_of(&log(&state, "auth-audit.jsonl")).len();
    assert!(length < 4 * 256 + 200, "{length} bytes");
}

#[test]
fn d_70_d_75_every_command_that_ended_or_was_refused_has_a_line_that_says_why_and_where() {
    let (_home, state) = state();
    let start =
        Entry::new("agent:r1", "command.start", "ls", Decision::Allowed).in_session("agent:main:main");
    write(&state, &[start, ended("ls"), refused(" ", "agent:work:main")]);
    let told: Vec<Value> = lines(&log(&state, "command-audit.jsonl")).into_iter().map(fixed).collect();
    let ran = json!({"sessionKey": "agent:main:main", "command": "ls", "sandbox": true, "elevated": false,
        "approved": true, "exitCode": 3, "duration": 12, "outcome": "exit 3", "cwd": "src", "agentId": "main",
        "runId": "r1", "start": 2});
    let not = json!({"sessionKey": "agent:work:main", "command": " ", "sandbox": false, "elevated": false,
        "approved": false, "agentId": "work", "runId": "r1", "reason": "the command is empty"});
    assert_eq!(told, [ran, not]);
}

#[test]
fn d_71_d_74_refused_commands_are_counted_and_push_nothing_out() {
    let (_home, state) = state();
    let mut entries = vec![ended("first")];
    entries.extend((0..1000).map(|n| refused(&format!("rm {n}"), "agent:main:main")));
    entries.extend((0..200).map(|n| refused("x", &format!("agent:a{n}:main"))));
    entries.push(ended("last"));
    let ledger = crate::open(&state);
    entries.chunks(200).for_each(|entries| drop(ledger.enter_all(entries.to_vec()).unwrap()));
    ledger.shutdown();
    let told = lines(&log(&state, "command-audit.jsonl"));
    let total: u64 = told.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(total, 1202, "all are counted");
    assert!(told.len() < 2 * 122, "{} lines", told.len());
    let ran: Vec<&str> = told
        .iter()
        .filter(|line| line["approved"] == true)
        .map(|line| line["command"].as_str().unwrap())
        .collect();
    assert_eq!(ran, ["first", "last"]);
}

#[test]
fn d_72_no_secret_of_a_command_reaches_the_book_or_a_view_and_its_hash_is_found() {
    let (_home, state) = state();
    let redactor = Redactor::default();
    redactor.hide(&["correct horse battery".into()]);
    let ledger = crate::open(&state);
    ledger.enter(ended("told before the values are known")).unwrap();
    ledger.conceal(redactor);
    let command = "curl -H 'Authorization: Bearer abc123def456' -d 'correct horse battery' https://u:hunter2@h; mysql -phunter2";
    ledger.enter(ended(command).with("reason", "API_KEY=sk-abcdefgh12345678")).unwrap();
    ledger.shutdown();
    let book = verified(state.path()).remove(3);
    let hashes =
        ["abc123def456", "correct horse battery", "hunter2", "hunter2"].map(|value| ledger.hash_of(value));
    let [bearer, known, address, flag] = &hashes;
    assert_eq!(
        book["target"].as_str().unwrap(),
        format!(
            "curl -H 'Authorization: Bearer {bearer}' -d '{known}' https://u:{address}@h; mysql -p{flag}"
        )
    );
    assert_eq!((bearer.len(), &bearer[..5]), (69, "hmac:"));
    for file in ["logs/command-audit.jsonl", "ledger/00000000000000000001.mlog"] {
        let text = String::from_utf8(bytes_of(&state.path().join(file))).unwrap();
        for secret in ["abc123def456", "correct horse", "hunter2", "sk-abcdefgh12345678"] {
            assert!(!text.contains(secret), "{secret} is in {file}");
        }
        assert!(text.contains(known), "{file}");
    }
}

#[test]
fn d_74_a_view_that_cannot_be_written_does_not_hold_up_the_book_and_is_written_again_from_it() {
    let (_home, state) = state();
    put(&state.path().join("logs"), b"not a folder");
    let entries =
        [sign_in("127.0.0.1", "token", Decision::Allowed), ended("ls"), refused("rm", "agent:main:main")];
    write(&state, &entries);
    assert_eq!(verified(state.path()).len(), 7);
    state.remove("logs").unwrap();
    let mut more = vec![sign_in("192.0.2.1", "token", Decision::Refused); 30];
    more.push(ended("pwd"));
    write(&state, &more);
    let live = ["auth-audit.jsonl", "auth-audit-success.jsonl", "command-audit.jsonl"]
        .map(|name| log(&state, name))
        .map(|path| if path.exists() { lines(&path) } else { Vec::new() });
    assert_eq!(rebuild_views(&state).unwrap(), 0);
    let [auth, successes, commands] = ["auth-audit.jsonl", "auth-audit-success.jsonl", "command-audit.jsonl"]
        .map(|name| lines(&log(&state, name)));
    assert_eq!((auth.len() - live[0].len(), successes.len(), commands.len() - live[2].len()), (1, 1, 2));
    assert_eq!(auth[1..], live[0], "what was there is the same: a view is a function of the book");
    assert_eq!(commands[2..], live[2]);
    let left = state.folder("logs").unwrap().list().unwrap();
    assert!(left.iter().all(|name| !name.starts_with("new-")), "{left:?}");
    let ledger = crate::open(&state);
    assert!(rebuild_views(&state).is_err(), "not while a gateway writes them");
    ledger.shutdown();
}

#[test]
fn a_line_that_a_crash_tore_off_does_not_spoil_the_next() {
    let (_home, state) = state();
    state.folder("logs").unwrap().write("command-audit.jsonl", b"{\"timestamp\":1,\"sess").unwrap();
    write(&state, &[ended("ls")]);
    let found = command_lines(&state, 10).unwrap();
    assert_eq!((found.lines.len(), found.skipped), (1, 1));
}
