//! Turns through the real binary against a stand-in that other people wrote, with its switches that make it fail.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const WAIT: Duration = Duration::from_secs(30);
const SAID: &str = "I have looked at it, all of it, and nothing is missing.";

/// The wire formats, and what stands behind the address of each.
const FORMATS: [(&str, &str); 5] = [
    ("openai-completions", "/v1"),
    ("openai-responses", "/v1"),
    ("anthropic-messages", ""),
    ("google-generative-ai", "/v1beta"),
    ("ollama", ""),
];

fn tool() -> PathBuf {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf();
    repository.join("target/test-tools/node/node_modules/@copilotkit/aimock/dist/cli.js")
}

/// The stand-in; stopped when it is dropped.
struct Aimock {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Aimock {
    #[expect(clippy::disallowed_methods, reason = "somebody else's stand-in, as a child of the test")]
    fn start(switches: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = folder.path().join("answers.json");
        let looks = json!({"toolCalls": [{"name": "read", "arguments": "{\"path\":\"AGENTS.md\"}"}]});
        let answers = json!({"fixtures": [
            {"match": {"userMessage": "look", "hasToolResult": false}, "response": looks},
            {"match": {"userMessage": "look"}, "response": {"content": SAID}},
        ]});
        std::fs::write(&fixtures, answers.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("node")
            .arg(tool())
            .args(["-p", &port.to_string(), "-f", fixtures.to_str().unwrap(), "--log-level", "silent"])
            .args(switches)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let it = Self { process, port, _folder: folder };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < WAIT, "the stand-in did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        it
    }

    /// Changes what it does to requests while it runs.
    #[expect(clippy::disallowed_methods, reason = "a request to somebody else's stand-in")]
    fn chaos(&self, method: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /__aimock/chaos HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{method}: {answer}");
    }

    fn provider(&self, (api, path): (&str, &str)) -> Value {
        json!({
            "api": api, "baseUrl": format!("http://127.0.0.1:{}{path}", self.port), "apiKey": "sk-aimock-0123456789",
            "models": [{"id": "mocked", "contextWindow": 100_000, "cost": {"input": 3, "output": 15}}],
        })
    }
}

impl Drop for Aimock {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A gateway that asks `first`, and `second` when that fails.
fn house(first: Value, second: Option<Value>) -> (Home, Gateway) {
    let home = Home::with_model(&ScriptedModel::echo());
    home.change_config(|config| {
        let fallbacks = if second.is_some() { vec!["second/mocked"] } else { Vec::new() };
        config["models"]["providers"] = json!({"first": first});
        if let Some(second) = second {
            config["models"]["providers"]["second"] = second;
        }
        config["agents"]["defaults"]["model"] = json!({"primary": "first/mocked", "fallbacks": fallbacks});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    (home, gateway)
}

/// One turn with a tool, and what it came to.
fn look(home: &Home) -> Value {
    let ran = run(PROGRAM, home, &["agent", "--message", "look", "--json"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said} {}", String::from_utf8_lossy(&ran.stdout));
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn require_whole(answer: &Value, what: &str) {
    let text = answer["text"].as_str().unwrap_or_default();
    assert!(text.ends_with(SAID), "{what}: {answer}");
    assert_eq!(text.matches("nothing is missing").count(), 1, "{what}: said once: {answer}");
    let calls = answer["toolCalls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{what}: the tool ran once: {answer}");
    assert_eq!(
        (&calls[0]["name"], &calls[0]["isError"]),
        (&json!("read"), &json!(false)),
        "{what}: {answer}"
    );
}

fn is_there(name: &str) -> bool {
    let there = tool().exists();
    if !there {
        skip(name, "the stand-in is not installed; `make test` installs it");
    }
    there
}

#[test]
fn a_turn_with_a_tool_goes_through_every_wire_format_of_somebody_elses_stand_in() {
    if !is_there("chaos::a_turn_with_a_tool_goes_through_every_wire_format_of_somebody_elses_stand_in") {
        return;
    }
    let peer = Aimock::start(&["--chunk-size", "7"]);
    for format in FORMATS {
        let (home, _gateway) = house(peer.provider(format), None);
        require_whole(&look(&home), format.0);
    }
}

#[test]
fn a_turn_survives_each_kind_of_chaos_by_its_fallback() {
    if !is_there("chaos::a_turn_survives_each_kind_of_chaos_by_its_fallback") {
        return;
    }
    let calm = Aimock::start(&[]);
    for switch in ["--chaos-drop", "--chaos-malformed", "--chaos-disconnect", "--chaos-ratelimit"] {
        let wild = Aimock::start(&[switch, "1"]);
        for format in [FORMATS[0], FORMATS[2]] {
            let (home, _gateway) = house(wild.provider(format), Some(calm.provider(FORMATS[0])));
            let what = format!("{switch} {}", format.0);
            require_whole(&look(&home), &what);
            let tested = run(PROGRAM, &home, &["models", "test", "first/mocked"]);
            assert!(!tested.status.success(), "{what}: the first still fails");
        }
    }
}

#[test]
fn a_turn_waits_until_its_only_provider_is_well_again() {
    if !is_there("chaos::a_turn_waits_until_its_only_provider_is_well_again") {
        return;
    }
    for kind in ["dropRate", "disconnectRate", "rateLimitRate"] {
        let peer = Aimock::start(&["--chaos-latency", "50"]);
        let (home, _gateway) = house(peer.provider(FORMATS[0]), None);
        peer.chaos("POST", &json!({kind: 1}).to_string());
        std::thread::scope(|scope| {
            let turn = scope.spawn(|| look(&home));
            std::thread::sleep(Duration::from_millis(400));
            peer.chaos("DELETE", "");
            require_whole(&turn.join().unwrap(), kind);
        });
    }
}

#[test]
fn a_provider_that_is_slow_to_begin_is_waited_for() {
    if !is_there("chaos::a_provider_that_is_slow_to_begin_is_waited_for") {
        return;
    }
    let peer = Aimock::start(&["--chaos-latency", "1500", "--latency", "20"]);
    let (home, _gateway) = house(peer.provider(FORMATS[1]), None);
    require_whole(&look(&home), "latency");
}
