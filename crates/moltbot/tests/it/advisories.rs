//! What was exploited in systems like this one, tried here through the real binary: secrets in logs, answers and prompts.
//! Each test is named after its row in the list of advisories.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use moltbot_testkit::client::Connect;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, command, run};
use moltbot_testkit::raw::{RawSocket, http};
use serde_json::json;

use crate::secrets::files;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const CANARY: &str = "hunter2-canary-8Yt3Qw5Z";

/// The credential of an address is in no error, log or transcript, wherever in the address it stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j01_a_credential_in_an_address_is_in_no_error_log_or_transcript() {
    for address in [
        format!("http://user:{CANARY}@127.0.0.1:1/v1"),
        format!("http://127.0.0.1:1/v1?key={CANARY}"),
        format!("http://127.0.0.1:1/bot{CANARY}/v1"),
    ] {
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        home.change_config(|config| {
            config["models"]["providers"]["scripted"]["baseUrl"] = json!(address);
            config["logging"] = json!({"level": "trace", "consoleLevel": "trace"});
        });
        let shape = address.replace(CANARY, "…");
        let validated = run(PROGRAM, &home, &["config", "validate"]);
        assert!(!format!("{:?}", text(&validated)).contains(CANARY), "{shape}: {}", text(&validated));
        if shape.contains('@') {
            let refused = run(PROGRAM, &home, &["gateway", "run"]);
            assert_eq!(refused.status.code(), Some(78), "{shape}: {}", text(&refused));
            assert!(!text(&refused).contains(CANARY), "{shape}: {}", text(&refused));
            continue;
        }
        let sealed = run(PROGRAM, &home, &["config", "set", "gateway.mode", "\"local\""]);
        assert!(sealed.status.success() && !text(&sealed).contains(CANARY), "{shape}: {}", text(&sealed));
        let token =
            String::from_utf8(run(PROGRAM, &home, &["secrets", "get", "gateway.auth.token", "--raw"]).stdout);
        let mut gateway = Gateway::start(PROGRAM, &home);
        let client = Connect::to(gateway.port()).token(&token.unwrap());
        let mut client = client.scopes(&["operator.read", "operator.write"]).open().await.unwrap();
        let failed = client.chat("main", "hello").await;
        assert_eq!(failed.state, "error", "{shape}");
        let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
        let status = client.call("status", json!({})).await.unwrap();
        for told in [failed.end.to_string(), history.to_string(), status.to_string()] {
            assert!(!told.contains(CANARY), "{shape}: {told}");
        }
        for arguments in [&["models", "test"][..], &["models", "list"], &["status", "--all"], &["logs"]] {
            let output = run(PROGRAM, &home, arguments);
            assert!(!text(&output).contains(CANARY), "{shape}: {arguments:?}: {}", text(&output));
        }
        gateway.terminate();
        for (path, bytes) in files(home.path()) {
            // An address whose path holds the credential is the owner's own text, and stands in the config as that.
            let is_config = path.contains("moltbot.json") && shape.contains("/bot");
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found || is_config, "{shape}: {path}");
        }
    }
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Whoever has not signed in learns that something is there, and a nonce.
#[test]
fn j07_before_a_sign_in_there_is_a_word_and_a_challenge_and_nothing_else() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["agents"]["list"] = json!([{"id": "confidant", "name": "Confidant", "default": true}]);
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let told = ["confidant", "0.1.0", env!("CARGO_PKG_VERSION"), ".moltbot", "/tmp", "scripted", "landlock"];
    let clean = |what: &str, text: &str| {
        let text = text.to_lowercase();
        let found = told.iter().find(|word| text.contains(*word));
        assert_eq!(found, None, "{what} tells it: {text}");
    };
    let healthy = http(gateway.port(), "GET", "/healthz", &[], b"");
    assert_eq!((healthy.status, healthy.text().as_str()), (200, "ok"));
    clean("/healthz", &(healthy.head + "ok"));
    for path in
        ["/", "/health", "/status", "/api/status", "/v1/models", "/config.json", "/bootstrap.json", "/ui"]
    {
        for method in ["GET", "POST", "OPTIONS"] {
            let answer = http(gateway.port(), method, path, &[], b"");
            assert!(answer.status >= 400, "{method} {path}: {}", answer.status);
            clean(path, &(answer.head.clone() + &answer.text()));
        }
    }
    let mut socket = RawSocket::open(gateway.port());
    let challenge = format!("{:?}", socket.next_frame());
    assert!(challenge.contains("connect.challenge") && challenge.contains("nonce"), "{challenge}");
    clean("the challenge", &challenge);
    socket.text(r#"{"type":"req","id":"1","method":"health"}"#).unwrap();
    clean("the refusal", &format!("{:?}", socket.next_frame()));
}

/// What the model is told does not depend on the gateway's token in any way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j09_a_prompt_is_the_same_byte_for_byte_when_the_token_changes() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let first = home.token().unwrap();
    let mut gateway = Gateway::start(PROGRAM, &home);
    for (session, token) in [("one", None), ("two", Some("Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8"))] {
        if let Some(token) = token {
            gateway.terminate();
            let mut child = command(PROGRAM, &home, &["secrets", "set", "gateway.auth.token"]);
            let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), token.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
            gateway.restart(&home);
            assert!(Connect::to(gateway.port()).token(&first).open().await.is_err(), "the old one is over");
        }
        let client = Connect::to(gateway.port()).token(token.unwrap_or(&first));
        let mut client = client.scopes(&["operator.read", "operator.write"]).open().await.unwrap();
        assert_eq!(client.chat(session, "who am I?").await.state, "final");
    }
    let requests = model.requests();
    let [one, two] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!(one.body.to_string(), two.body.to_string());
}

/// A state folder that others can write in is closed before the start, and who looks is told; a config that is a link
/// is refused.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test plays the careless owner")]
fn j11_an_open_state_folder_is_closed_and_a_linked_config_is_refused() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let open = || {
        for (path, mode) in [(home.state_path(), 0o777), (home.config_path(), 0o666)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let mode = |path: std::path::PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    open();
    let told = run(PROGRAM, &home, &["doctor", "--json"]);
    assert!(text(&told).contains("777"), "a finding: {}", text(&told));
    open();
    let mut gateway = Gateway::start(PROGRAM, &home);
    assert_eq!((mode(home.state_path()), mode(home.config_path())), (0o700, 0o600));
    gateway.terminate();

    let elsewhere = home.path().join("elsewhere.json");
    std::fs::rename(home.config_path(), &elsewhere).unwrap();
    symlink(&elsewhere, home.config_path()).unwrap();
    let refused = run(PROGRAM, &home, &["gateway", "run"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    assert!(text(&refused).contains("moltbot.json"), "{}", text(&refused));
    assert!(home.config_path().symlink_metadata().unwrap().is_symlink(), "it is not replaced");
}

/// How much of what a stranger sends may stand in one line of a log.
const MOST_IN_A_LINE: usize = 128;

#[test]
fn l04_what_strangers_put_into_headers_is_in_no_log_beyond_a_few_escaped_words() {
    const WORD: &str = "obeyme";
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| config["logging"] = json!({"level": "trace", "consoleLevel": "trace"}));
    let mut gateway = Gateway::start(PROGRAM, &home);
    let port = gateway.port();
    let attack = format!("{WORD} ").repeat(900);
    let escape = format!("{WORD}\u{1b}[2J\u{7}{WORD}");
    for value in [attack.as_str(), &escape] {
        for name in [
            "origin",
            "user-agent",
            "host",
            "x-forwarded-for",
            "forwarded",
            "referer",
            "x-moltbot-token",
            "accept",
            "cookie",
        ] {
            http(port, "GET", "/v1/models", &[(name, value)], b"");
            let upgrade = [("upgrade", "websocket"), ("connection", "upgrade"), (name, value)];
            http(port, "GET", "/", &upgrade, b"");
        }
        http(port, "GET", &format!("/{}", value.replace(' ', "-")), &[], b"");
        http(port, "BREW", "/", &[("user-agent", value)], b"");
    }
    let mut socket = RawSocket::open(port);
    let client =
        json!({"id": "cli", "version": attack, "platform": escape, "mode": "cli", "displayName": attack});
    let params = json!({"minProtocol": 3, "maxProtocol": 3, "client": client, "userAgent": attack, "locale": escape,
        "auth": {"token": attack}});
    drop(socket.text(&json!({"type": "req", "id": "1", "method": "connect", "params": params}).to_string()));
    drop(socket);
    assert_eq!(http(port, "GET", "/healthz", &[], b"").status, 200);
    gateway.terminate();
    let printed = gateway.printed();
    assert!(printed.contains("was not looked at"), "something was logged: {printed}");
    let logged = files(&home.state_path().join("logs"));
    assert!(!logged.is_empty());
    let texts = logged.into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned());
    for text in texts.chain([printed]) {
        for line in text.lines() {
            let told = line.matches(WORD).count() * WORD.len();
            assert!(told <= MOST_IN_A_LINE, "{told} bytes of a stranger's: {line}");
            assert!(!line.contains(&escape) && !line.contains('\u{7}'), "a control character: {line:?}");
        }
    }
}
