//! The book leaves the machine: to a real syslog server over TLS, to a collector, and to files that remember its head.

mod authority;
mod collector;
mod rsyslog;

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use crate::program::Program;
use authority::Authority;
use collector::{Collector, log_records};
use rsyslog::Rsyslog;

/// How long anything here may take. Longer than the time between two heads.
const PATIENCE: Duration = Duration::from_secs(150);

/// Waits until `look` finds something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A home whose book goes to `server`, if there is a syslog server to test with.
fn sending_to(server: &Rsyslog, host: &str, ca: &Path) -> Program {
    let program = Program::new();
    let setting = json!({"host": host, "port": server.port(), "caFile": ca});
    let ran = program.run(&["config", "set", "ledger.syslog", &setting.to_string()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    program
}

/// What `status` says of the sending.
fn sending(program: &Program) -> Value {
    let ran = program.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    status.pointer("/heard/status/sending").cloned().unwrap_or_default()
}

fn problem(program: &Program) -> Option<String> {
    let problem = sending(program).pointer("/servers/0/problem").cloned();
    problem.as_ref().and_then(Value::as_str).map(str::to_owned)
}

/// The records of the book from the first that a gateway wrote, as messages: the number and the text of each.
fn messages(program: &Program, from: u64) -> Vec<(u64, String)> {
    let from = from.to_string();
    let ran = program.run(&["ledger", "export", "--format", "syslog", "--from", &from]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.out.lines().map(|line| (number_in(line), line.to_owned())).collect()
}

fn number_in(message: &str) -> u64 {
    let (_, rest) = message.split_once(" seq=\"").unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

/// The numbers of the records that a server has, in the order in which it has them.
fn numbers(server: &Rsyslog) -> Vec<u64> {
    server.records().iter().map(|line| number_in(line)).collect()
}

/// Numbers without those that came a second time.
fn first_times(numbers: &[u64]) -> Vec<u64> {
    let mut largest = 0;
    let mut is_new = |number: &u64| {
        let is_new = *number > largest;
        largest = largest.max(*number);
        is_new
    };
    numbers.iter().copied().filter(|number| is_new(number)).collect()
}

fn stop(program: &Program) {
    let ran = program.run(&["gateway", "stop"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// The number of the last record in the book.
fn last(program: &Program) -> u64 {
    let ran = program.run(&["ledger", "tail", "--lines", "1", "--json"]);
    serde_json::from_str::<Value>(&ran.out).unwrap()["seq"].as_u64().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test looks at what the program wrote")]
fn log(program: &Program) -> String {
    std::fs::read_to_string(program.state().join("logs/gateway.jsonl")).unwrap_or_default()
}

/// Records of connections to elsewhere that the book has, as `decision target`.
fn egress(program: &Program) -> Vec<String> {
    let ran = program.run(&["ledger", "search", "--action", "egress", "--json"]);
    ran.out
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            format!(
                "{} {} {}",
                text("decision"),
                record["details"]["purpose"].as_str().unwrap(),
                text("target")
            )
        })
        .filter(|decision| !decision.contains(" discovery "))
        .collect()
}

#[test]
fn a_syslog_server_has_every_record_with_all_of_it_and_what_came_while_nobody_sent() {
    let authority = Authority::new();
    let Some(server) = Rsyslog::start(&authority, "localhost") else {
        return skip(
            "a_syslog_server_has_every_record_with_all_of_it_and_what_came_while_nobody_sent",
            rsyslog::MISSING,
        );
    };
    let program = sending_to(&server, "localhost", authority.file());
    program.start();
    let began = until("the first records", || server.records().first().map(|line| number_in(line)));
    assert!(began > 1, "what was before the first start is left to `ledger export`");
    assert_eq!(program.run(&["health"]).code, 0);
    stop(&program);
    let end = last(&program);
    program.start();
    until("the end of the first run", || (numbers(&server).last() > Some(&end)).then_some(()));
    stop(&program);
    let had = server.records();
    let sent = numbers(&server);
    assert_eq!(
        first_times(&sent),
        (began..=*sent.last().unwrap()).collect::<Vec<_>>(),
        "in order, without a gap"
    );
    assert_eq!(first_times(&sent), sent, "nothing twice while nothing broke");
    let written = messages(&program, began);
    for (line, (number, message)) in had.iter().zip(&written) {
        assert_eq!(line, message, "record {number} as it was exported");
    }
    let everything = had.join("\n");
    for action in ["ledger.start", "gateway.listen", "auth.sign_in", "gateway.stop", "ledger.stop"] {
        assert!(everything.contains(&format!(" action=\"{action}\"")), "{action} in {everything}");
    }
    // One decision for each connection, not one for each record.
    let decisions = egress(&program);
    assert_eq!(decisions, vec![format!("allowed syslog localhost:{}", server.port()); 2]);
}

#[test]
fn a_server_that_is_not_the_one_that_was_meant_is_told_and_sent_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let Some(server) = Rsyslog::start(&authority, "localhost") else {
        return skip(
            "a_server_that_is_not_the_one_that_was_meant_is_told_and_sent_nothing",
            rsyslog::MISSING,
        );
    };
    // 127.0.0.1 is where it is, and no name in its certificate.
    for (host, ca, case) in
        [("localhost", &other, "another authority"), ("127.0.0.1", &authority, "another name")]
    {
        let program = sending_to(&server, host, ca.file());
        program.start();
        let told = until("the refusal", || problem(&program));
        assert!(told.contains("cannot set up an encrypted connection"), "{case}: {told}");
        assert!(log(&program).contains("the book cannot be sent"), "{case}");
        let status = program.run(&["status"]).out;
        assert!(status.contains("cannot set up an encrypted connection"), "{case}: {status}");
        let expected = format!("allowed syslog {host}:{}", server.port());
        assert!(egress(&program).iter().all(|decision| *decision == expected), "{case}");
        stop(&program);
    }
    assert_eq!(server.records(), [""; 0]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
fn a_server_without_tls_is_told_and_hears_nothing_of_the_book() {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::io::Write::write_all(&mut stream, b"220 syslog\n").unwrap();
            let mut bytes = Vec::new();
            // A reset is an end, too.
            stream.read_to_end(&mut bytes).unwrap_or_default();
            sender.send(bytes).unwrap_or_default();
        }
    });
    let (program, authority) = (Program::new(), Authority::new());
    let setting = json!({"host": "localhost", "port": port, "caFile": authority.file()});
    assert_eq!(program.run(&["config", "set", "ledger.syslog", &setting.to_string()]).code, 0);
    program.start();
    let told = until("the refusal", || problem(&program));
    assert!(told.contains("cannot set up an encrypted connection"), "{told}");
    let heard = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(heard[..2], [22, 3], "a handshake of TLS");
    let text = String::from_utf8_lossy(&heard);
    assert!(!text.contains("moltbot") && !text.contains("seq="), "{text}");
}

#[test]
fn a_server_that_was_killed_has_everything_in_order_once_it_is_back() {
    let authority = Authority::new();
    let Some(mut server) = Rsyslog::start(&authority, "localhost") else {
        return skip("a_server_that_was_killed_has_everything_in_order_once_it_is_back", rsyslog::MISSING);
    };
    let program = sending_to(&server, "localhost", authority.file());
    program.start();
    until("the first records", || server.records().first().cloned());
    server.kill();
    let told = until("the loss", || problem(&program));
    assert!(told.contains("localhost"), "{told}");
    // Each of these signs in, which is recorded.
    for _ in 0..5 {
        assert_eq!(program.run(&["health"]).code, 0);
    }
    let end = last(&program);
    server.restart();
    until("the rest", || (numbers(&server).last() >= Some(&end)).then_some(()));
    until("the good news", || log(&program).contains("the server takes the book again").then_some(()));
    // `status` may be a second old.
    until("the status", || problem(&program).is_none().then_some(()));
    stop(&program);
    let had = numbers(&server);
    let distinct = first_times(&had);
    let began = *distinct.first().unwrap();
    assert_eq!(distinct, (began..=*had.last().unwrap()).collect::<Vec<_>>(), "everything, in order: {had:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a power cut")]
fn a_gateway_that_was_killed_sends_again_what_the_server_has_not_confirmed_and_leaves_nothing_out() {
    let authority = Authority::new();
    let Some(server) = Rsyslog::start(&authority, "localhost") else {
        return skip(
            "a_gateway_that_was_killed_sends_again_what_the_server_has_not_confirmed_and_leaves_nothing_out",
            rsyslog::MISSING,
        );
    };
    let program = sending_to(&server, "localhost", authority.file());
    for _ in 0..3 {
        program.start();
        assert_eq!(program.run(&["health"]).code, 0);
        until("records of this run", || (numbers(&server).last() >= Some(&last(&program))).then_some(()));
        let status: Value = serde_json::from_str(&program.run(&["status", "--json"]).out).unwrap();
        let pid = status["gateway"]["pid"].to_string();
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        until("its end", || (!Path::new("/proc").join(&pid).exists()).then_some(()));
    }
    program.start();
    let end = last(&program);
    until("the rest", || (numbers(&server).last() >= Some(&end)).then_some(()));
    stop(&program);
    let had = numbers(&server);
    let distinct = first_times(&had);
    assert_eq!(distinct, (distinct[0]..=*had.last().unwrap()).collect::<Vec<_>>(), "{had:?}");
    assert!(had.len() > distinct.len(), "what was not confirmed came again");
    // What came twice is the same.
    let mut messages: Vec<String> = server.records();
    messages.sort_unstable();
    messages.dedup();
    assert_eq!(messages.len(), distinct.len());
}

/// Cuts the book off behind the record with this number, as one who wants to hide something would, register and all.
#[expect(clippy::disallowed_methods, reason = "an attacker's hand")]
fn cut(program: &Program, number: u64) {
    let folder = program.state().join("ledger");
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "mlog"));
    let [segment] = segments.as_slice() else { panic!("one segment: {segments:?}") };
    let text = std::fs::read_to_string(segment).unwrap();
    let kept: String =
        text.lines().take(number.try_into().unwrap()).map(|line| format!("{line}\n")).collect();
    std::fs::write(segment, kept).unwrap();
    std::fs::remove_file(folder.join("head")).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "an owner's hand")]
fn put(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_book_that_was_cut_is_found_by_the_head_that_the_syslog_server_has() {
    let authority = Authority::new();
    let Some(server) = Rsyslog::start(&authority, "localhost") else {
        return skip("a_book_that_was_cut_is_found_by_the_head_that_the_syslog_server_has", rsyslog::MISSING);
    };
    let program = sending_to(&server, "localhost", authority.file());
    program.start();
    until("the first head", || server.heads().first().cloned());
    for _ in 0..3 {
        assert_eq!(program.run(&["health"]).code, 0);
    }
    let first = server.heads().len();
    // Each minute, when it has changed.
    let head = until("the next head", || server.heads().get(first).cloned());
    stop(&program);
    assert_eq!(egress(&program).len(), 1, "one connection, however much it carries");
    let file = program.state().join("pasted");
    put(&file, &head);
    let verify = || program.run(&["ledger", "verify", "--expect-head", file.to_str().unwrap()]);
    assert_eq!(verify().code, 0, "{:?}", verify());
    let number = serde_json::from_str::<Value>(&head).unwrap()["seq"].as_u64().unwrap();
    cut(&program, number - 1);
    assert_eq!(program.run(&["ledger", "verify"]).code, 0, "the folder alone cannot tell");
    let found = verify();
    assert_eq!(found.code, 5, "{found:?}");
    // The gateway has no anchor, so it starts; what it sent before is longer than its book, and it says so.
    program.start();
    let told = until("the alarm", || problem(&program));
    assert!(told.contains("its end was cut off"), "{told}");
    until("the alarm at the server", || {
        server.records().iter().any(|line| line.contains(" action=\"alarm.cut\"")).then_some(())
    });
    stop(&program);
}

#[test]
fn anchors_are_kept_up_to_date_and_a_gateway_behind_one_is_locked_down() {
    let program = Program::new();
    let volume = tempfile::tempdir().unwrap();
    let anchor = volume.path().join("anchor");
    program.start();
    let ran = program.run(&["ledger", "anchor", anchor.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let remembered = |path: &Path| {
        #[expect(clippy::disallowed_methods, reason = "a test looks at what the program wrote")]
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str::<Value>(&text).ok().and_then(|head| head["seq"].as_u64()).unwrap_or(0)
    };
    let at_first = remembered(&anchor);
    assert_eq!(program.run(&["health"]).code, 0);
    until("the first time", || (remembered(&anchor) > at_first).then_some(()));
    let at_first = remembered(&anchor);
    assert_eq!(program.run(&["health"]).code, 0);
    let later = until("the next minute", || Some(remembered(&anchor)).filter(|number| *number > at_first));
    let told = until("the status", || sending(&program).pointer("/anchors/0").cloned());
    assert_eq!(told["problem"], Value::Null, "{told}");
    stop(&program);
    assert_eq!(remembered(&anchor), last(&program), "the end of a book that was closed");
    cut(&program, later - 1);
    program.start();
    assert!(log(&program).contains("the book was changed"), "{}", log(&program));
    let refused = program.run(&["agent", "--message", "hello"]);
    assert!(refused.code != 0 && refused.err.contains("the ledger was tampered with"), "{refused:?}");
    assert_eq!(program.run(&["ledger", "verify"]).code, 4);
}

/// An attribute of a log record.
fn attribute(record: &Value, name: &str) -> Option<String> {
    let attributes = record["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == name)?;
    let value = &found["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str()).map(str::to_owned)
}

fn numbers_at(collector: &Collector) -> Vec<u64> {
    let records = log_records(&collector.taken());
    records.iter().map(|record| attribute(record, "moltbot.seq").unwrap().parse().unwrap()).collect()
}

/// Has the protocol's own definition, from PyPI, read what was sent.
#[expect(clippy::disallowed_methods, reason = "a foreign reader, as a child of the test")]
fn judge_by_definition(requests: &[collector::Request]) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let python = repository.join("target/test-tools/python/bin/python");
    if !python.exists() {
        let reason = "opentelemetry-proto is not installed; `make test` installs it";
        return skip("a_collector_has_every_record_once_with_a_header_that_is_sealed_here", reason);
    }
    let mut child = std::process::Command::new(python)
        .arg(repository.join("tests/compat/otlp_requests.py"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = requests.iter().map(|request| format!("{}\n", request.body)).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.trim(), format!("passed {}", log_records(requests).len()), "{err}");
}

#[test]
fn a_collector_has_every_record_once_with_a_header_that_is_sealed_here() {
    const KEY: &str = "canary-collector-q8Zr3VtLx0NwYbE5mKc7";
    let (program, collector) = (Program::new(), Collector::start());
    let setting = json!({"url": collector.url(), "headers": {"x-api-key": KEY}});
    // A secret is not given as an argument: the config is written as with an editor, and sealed by the next change.
    assert_eq!(program.run(&["config", "set", "logging.level", "\"info\""]).code, 0);
    let text = program.config();
    let (before, _) = text.rsplit_once('}').unwrap();
    let before = before.trim_end().trim_end_matches(',');
    program.write_config(&format!("{before},\n ledger: {{ otlp: {setting} }} }}"));
    assert_eq!(program.run(&["config", "set", "logging.level", "\"debug\""]).code, 0);
    assert!(!program.config().contains(KEY), "{}", program.config());
    program.start();
    let began = until("the first records", || numbers_at(&collector).first().copied());
    // It is away for a while: nothing is lost, and it is told.
    collector.answer("503 Unavailable");
    assert_eq!(program.run(&["health"]).code, 0);
    let told = until("the refusal", || problem(&program));
    assert!(told.contains("answered with status 503"), "{told}");
    let end = last(&program);
    collector.answer("200 OK");
    until("the rest", || (numbers_at(&collector).last() >= Some(&end)).then_some(()));
    stop(&program);
    let (requests, numbers) = (collector.taken(), numbers_at(&collector));
    assert_eq!(numbers, (began..=*numbers.last().unwrap()).collect::<Vec<_>>(), "each once, in order");
    for request in &requests {
        assert_eq!(request.line, "POST /v1/logs HTTP/1.1");
        assert!(request.headers.contains(&format!("x-api-key: {KEY}")), "{}", request.headers);
        assert!(request.headers.to_lowercase().contains("content-type: application/json"));
    }
    // What was sent is what an export has, one by one.
    let ran = program.run(&["ledger", "export", "--format", "otlp", "--from", &began.to_string()]);
    let exported = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let exported = exported.map(|one| one["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone());
    let sent = log_records(&requests);
    assert_eq!(exported.take(sent.len()).collect::<Vec<_>>(), sent);
    judge_by_definition(&requests);
    let book = program.run(&["ledger", "export", "--format", "jsonl"]).out;
    assert!(!book.contains(KEY) && !log(&program).contains(KEY));
}

#[test]
fn records_are_sent_once_on_demand_with_and_without_a_gateway() {
    let authority = Authority::new();
    let (program, collector) = (Program::new(), Collector::start());
    assert_eq!(program.run(&["config", "set", "logging.level", "\"info\""]).code, 0);
    let url = collector.url();
    let otlp = ["ledger", "export", "--format", "otlp", "--to", &url, "--until", "3"];
    let ran = program.run(&otlp);
    assert_eq!((ran.code, numbers_at(&collector)), (0, vec![1, 2, 3]), "{ran:?}");
    program.start();
    let ran = program.run(&otlp);
    assert_eq!((ran.code, numbers_at(&collector).len()), (0, 6), "{ran:?}");
    let decision =
        format!("allowed collector {}", url.trim_start_matches("http://").trim_end_matches("/v1/logs"));
    assert_eq!(egress(&program), vec![decision; 2]);
    collector.answer("404 Not Found");
    let ran = program.run(&otlp);
    assert!(ran.code == 1 && ran.err.contains("answered with status 404"), "{ran:?}");
    for (format, to) in [
        ("syslog", url.as_str()),
        ("otlp", "tls://localhost"),
        ("ocsf", "tls://localhost"),
        ("syslog", "tls://"),
    ] {
        let ran = program.run(&["ledger", "export", "--format", format, "--to", to]);
        assert_eq!(ran.code, 2, "{format} to {to}: {ran:?}");
    }
    let ran = program.run(&["ledger", "export", "--format", "otlp", "--to", "http://192.0.2.1/v1/logs"]);
    assert!(ran.code == 1 && ran.err.contains("in clear"), "{ran:?}");
    let Some(server) = Rsyslog::start(&authority, "localhost") else {
        return skip("records_are_sent_once_on_demand_with_and_without_a_gateway", rsyslog::MISSING);
    };
    let (to, other) = (format!("tls://localhost:{}", server.port()), Authority::new());
    let syslog = |ca: &Authority| {
        let ca = ca.file().to_str().unwrap();
        program.run(&[
            "ledger", "export", "--format", "syslog", "--to", &to, "--ca", ca, "--from", "2", "--until", "9",
        ])
    };
    let ran = syslog(&other);
    assert!(ran.code == 1 && ran.err.contains("cannot set up an encrypted connection"), "{ran:?}");
    assert_eq!(server.records(), [""; 0]);
    let ran = syslog(&authority);
    assert_eq!(ran.code, 0, "{ran:?}");
    let expected: Vec<String> =
        messages(&program, 2).into_iter().take(8).map(|(_, message)| message).collect();
    until("the records", || (server.records() == expected).then_some(()));
}

#[test]
fn an_export_to_a_file_is_the_one_to_standard_output() {
    let program = Program::new();
    assert_eq!(program.run(&["config", "set", "logging.level", "\"info\""]).code, 0);
    let file = program.state().join("export");
    let ran = program.run(&["ledger", "export", "--format", "ocsf", "--output", file.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    #[expect(clippy::disallowed_methods, reason = "a test looks at what the program wrote")]
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written, program.run(&["ledger", "export", "--format", "ocsf"]).out);
    let again = program.run(&["ledger", "export", "--format", "ocsf", "--output", file.to_str().unwrap()]);
    assert!(again.code == 1 && again.err.contains("is there already"), "{again:?}");
}
