//! What follows an attempt, through the real program: the turn ends, its session is in quarantine, its owner is told, and
//! nothing runs in it before he lets it go on.

mod channels;
mod kill;

use moltbot_testkit::client::{Client, Device, SignatureVersion, unique};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::http;
use serde_json::{Value, json};

use crate::program::book;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const CODE: &str = "session_quarantined";
/// What the review refuses as high.
const REFUSED: &str = "nsenter -t 1 -m sh";
const HOOK_TOKEN: &str = "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8";

fn moltbot(home: &Home, arguments: &[&str]) -> (i32, String) {
    let ran = run(PROGRAM, home, arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.code().unwrap_or(-1), text)
}

/// The command that the review reads nothing in and that tries to leave the sandbox, with the file that it runs.
fn seen_by_the_sandbox(home: &Home) -> &'static str {
    home.state()
        .folder("workspace")
        .unwrap()
        .write("a.pl", b"syscall(272, 0x10000000); print 'went on'")
        .unwrap();
    "perl a.pl"
}

/// Every way in refuses a message to the main session, and no model hears of it.
async fn nothing_gets_in(gateway: &Gateway, client: &Client, model: &ScriptedModel) {
    let asked = model.requests().len();
    let message = json!({"sessionKey": "main", "message": "go on", "idempotencyKey": unique("k")});
    for method in ["chat.send", "agent"] {
        let refused = client.call(method, message.clone()).await.unwrap_err();
        assert_eq!(refused.details.unwrap()["code"], CODE, "{method}");
        assert!(refused.message.contains("moltbot sessions release agent:main:main"), "{}", refused.message);
    }
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("authorization", bearer.as_str()), ("x-moltbot-session-key", "agent:main:main")];
    let body = json!({"messages": [{"role": "user", "content": "go on"}]}).to_string();
    let answer = http(gateway.port(), "POST", "/v1/chat/completions", &headers, body.as_bytes());
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 423 && said.contains(CODE), "{}: {said}", answer.status);
    let bearer = format!("Bearer {HOOK_TOKEN}");
    let body = json!({"text": "go on"}).to_string();
    let answer =
        http(gateway.port(), "POST", "/hooks/wake", &[("authorization", bearer.as_str())], body.as_bytes());
    assert_eq!(answer.status, 423, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(model.requests().len(), asked, "a model was asked");
}

fn home(model: &ScriptedModel) -> Home {
    let home = Home::with_model(model);
    home.change_config(|config| {
        config["gateway"]["http"] = json!({"endpoints": {"chatCompletions": {"enabled": true}}});
        config["hooks"] = json!({"enabled": true, "token": HOOK_TOKEN});
    });
    home
}

/// The model tries twice: the second call of the same answer is not run, and after a release the next attempt ends the next
/// turn just so.
#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_attempt_nothing_runs_in_the_session_before_its_owner_releases_it() {
    for is_seen in [true, false] {
        let model = ScriptedModel::queue([]);
        let home = home(&model);
        let mut gateway = Gateway::start(PROGRAM, &home);
        let attempt = if is_seen { seen_by_the_sandbox(&home) } else { REFUSED };
        let mut client = gateway.connect().open().await.unwrap();
        for round in 1..=2 {
            let command = json!({"command": attempt});
            model.push(Reply::tools(&[("exec", command.clone()), ("exec", json!({"command": "touch ran"}))]));
            let run = client.send_chat("main", "go").await;
            let event = client.event("session.quarantine").await;
            assert_eq!((&event["state"], &event["sessionKey"]), (&json!("held"), &json!("agent:main:main")));
            let chat = client.finish_chat(run.clone()).await;
            assert_eq!(chat.state, "error", "{}", chat.end);
            let said = chat.end.to_string();
            assert!(said.contains("in quarantine") && said.contains("moltbot sessions release"), "{said}");
            assert_eq!(model.requests().len(), round * 2 - 1, "no model was told how it went");
            nothing_gets_in(&gateway, &client, &model).await;
            // Others go on.
            model.push(Reply::text("fine"));
            assert_eq!(client.chat("agent:main:other", "hello").await.text, "fine");
            let (_, status) = moltbot(&home, &["status"]);
            assert!(status.contains("agent:main:main is in quarantine, because a command"), "{status}");
            let (_, list) = moltbot(&home, &["sessions", "list", "--json"]);
            let list: Value = serde_json::from_str(&list).unwrap();
            let held = |row: &&Value| row.get("quarantine").is_some();
            let held: Vec<&Value> = list["sessions"].as_array().unwrap().iter().filter(held).collect();
            assert!(held.len() == 1 && held[0]["quarantine"]["runId"] == run.as_str(), "{list}");
            assert!(!home.state_path().join("workspace/ran").exists(), "the second call was run");
            let (status, text) = moltbot(&home, &["sessions", "release", "main"]);
            assert!(status == 0 && text.contains("goes on"), "{status}: {text}");
            assert_eq!(client.event("session.quarantine").await["state"], "released");
        }
        model.push(Reply::text("on we go"));
        assert_eq!(client.chat("main", "and now?").await.text, "on we go");
        assert_eq!(moltbot(&home, &["sessions", "release", "main"]).0, 1, "it is in no quarantine");
        gateway.terminate();
        let records: Vec<(String, String)> = book(&home, "session.")
            .iter()
            .map(|line| (line["action"].as_str().unwrap().into(), line["session"].as_str().unwrap().into()))
            .collect();
        let main = |action: &str| (action.to_owned(), "agent:main:main".to_owned());
        let once = [main("session.quarantine"), main("session.release")];
        assert_eq!(records, [once.clone(), once].concat());
        assert_eq!(book(&home, "command.attempt").len(), if is_seen { 2 } else { 0 });
        let refused = book(&home, "message.refuse");
        assert!(refused.iter().any(|line| line["details"]["code"] == CODE), "{refused:?}");
    }
}

/// What is refused for what nobody can read, or is asked about, is no attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_refused_as_less_than_high_ends_nothing() {
    let model = ScriptedModel::queue([
        Reply::tool("exec", &json!({"command": "if true; then"})),
        Reply::text("then not"),
    ]);
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    assert_eq!(client.chat("main", "go").await.text, "then not");
    assert!(book(&home, "session.").is_empty());
}

/// What waited behind the turn waits on, over a restart too, and is answered in its order after the release; only who
/// administers releases, and neither a new beginning nor a deletion does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_goes_on_after_the_release_alone_and_only_an_administrator_gives_it() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let device = Device::from_seed(7);
    let client = gateway.connect().device(&device, SignatureVersion::V3).open().await.unwrap();
    let send = |text: &str| json!({"sessionKey": "agent:main:s", "message": text, "idempotencyKey": text});
    model.push(Reply::tool("exec", &json!({"command": format!("sleep 1; {REFUSED}")})));
    for text in ["one", "two", "three"] {
        client.call("chat.send", send(text)).await.unwrap();
    }
    let ended = client.call("agent.wait", json!({"runId": "one"})).await.unwrap();
    assert_eq!(ended["status"], "error", "{ended}");
    let writer = gateway.connect().scopes(&["operator.write", "operator.read"]).open().await.unwrap();
    let release = json!({"key": "agent:main:s"});
    let refused = writer.call("sessions.release", release.clone()).await.unwrap_err();
    assert_eq!(refused.message, "missing scope: operator.admin");
    let said =
        json!({"sessionKey": "agent:main:s", "message": "/release agent:main:s", "idempotencyKey": "r"});
    let refused = writer.call("chat.send", said.clone()).await.unwrap_err();
    assert_eq!(refused.message, "missing scope: operator.admin");
    client.call("sessions.reset", release.clone()).await.unwrap();
    drop((client, writer));
    gateway.kill9();
    gateway.restart(&home);
    let client = gateway.connect().device(&device, SignatureVersion::V3).open().await.unwrap();
    let refused = client.call("chat.send", send("four")).await.unwrap_err();
    assert_eq!(refused.details.unwrap()["code"], CODE, "a new beginning is no release");
    assert_eq!(model.requests().len(), 1, "nothing of what waits has begun");
    model.push(Reply::text("second"));
    model.push(Reply::text("third"));
    client.call("chat.send", said).await.unwrap();
    for text in ["two", "three"] {
        assert_eq!(client.call("agent.wait", json!({"runId": text})).await.unwrap()["status"], "ok");
    }
    let asked: Vec<String> = model.requests().iter().map(|request| request.last_user_text()).collect();
    assert_eq!(asked, ["one", "two", "three"]);
    assert!(book(&home, "session.release")[0]["actor"].as_str().unwrap().starts_with("device:"));
}
