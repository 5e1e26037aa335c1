//! Bad input and bad conditions through the real binary: a clear error, nothing lost, the process alive.

use moltbot_testkit::home::{Home, PROVIDER};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::skip::skip;
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

#[test]
fn a_config_that_cannot_be_read_stops_the_program_with_78_and_stays_as_it_was() {
    let big = format!("{{ meta: {{ lastTouchedVersion: '{}' }} }}", "x".repeat(10_000_000));
    let deep = "[".repeat(200_000);
    for (what, text, says) in [
        ("truncated", "{ gateway: { port: 18789, ", "line 1"),
        ("a list", "[]", "object"),
        ("empty", "", "empty"),
        ("too large", big.as_str(), "1048576"),
        ("too deep", deep.as_str(), "deep"),
        ("a wrong type", "{ gateway: { port: 'x' } }", "gateway.port"),
        ("out of range", "{ gateway: { port: 70000 } }", "65535"),
        ("a misspelt key", "{ gateway: { prot: 1 } }", "port"),
        ("a missing variable", "{ gateway: { auth: { token: '${NOT_SET_HERE}' } } }", "NOT_SET_HERE"),
    ] {
        let home = Home::empty().unwrap();
        home.write_config_text(text);
        for command in [&["config", "validate"][..], &["gateway", "run"], &["up", "--detach"]] {
            let output = run(PROGRAM, &home, command);
            let err = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(78), "{what} with {command:?}: {err:.600}");
            assert!(err.contains(says), "{what} with {command:?} does not say {says}: {err:.600}");
        }
        assert_eq!(home.config_text().unwrap(), text, "{what}: the config was changed");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the config has bytes that are not text")]
fn a_config_with_invalid_utf8_names_the_byte() {
    let home = Home::empty().unwrap();
    home.write_config_text("{}");
    std::fs::write(home.config_path(), b"{ logging: { level: 'in\xfffo' } }").unwrap();
    let output = run(PROGRAM, &home, &["config", "validate"]);
    assert_eq!(output.status.code(), Some(78));
    let err = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(err.contains("UTF-8") && err.contains("23"), "{err}");
}

#[test]
fn all_errors_of_a_config_are_told_at_once() {
    let home = Home::empty().unwrap();
    home.write_config_text("{ gateway: { port: 'x', bind: 'moon', auht: {} }, agents: { defaults: { timeoutSeconds: 0 } }, logging: { level: 7 } }");
    let output = run(PROGRAM, &home, &["config", "validate", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for path in
        ["gateway.port", "gateway.bind", "gateway.auht", "agents.defaults.timeoutSeconds", "logging.level"]
    {
        assert!(text.contains(path), "{path} is missing in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_misbehaves_gives_a_clear_error_and_the_next_turn_works() {
    let garbage = Reply::Garbage(b"data: {\"choices\": [}\n\ndata: \xff\xfe\n\n".to_vec());
    let half = Reply::HalfToolCall { name: "exec".into() };
    let replies = [
        garbage,
        half,
        Reply::Drop(vec!["Once upon".into()]),
        Reply::status(401, "no"),
        Reply::status(404, "model not found"),
    ];
    let model = ScriptedModel::queue(replies);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    for what in ["garbage", "half a call", "a dropped stream", "a bad key", "an unknown model"] {
        let chat = client.chat("main", what).await;
        assert_eq!(chat.state, "error", "{what}: {}", chat.end);
        let message = chat.end["errorMessage"].as_str().unwrap();
        assert!(message.len() > 20 && !message.contains("sk-"), "{what}: {message}");
    }
    model.push(Reply::text("well again"));
    assert_eq!(client.chat("main", "and now?").await.text, "well again");
    assert!(gateway.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_ends_a_turn_within_a_second_and_kills_its_command() {
    let model = ScriptedModel::queue([Reply::tool("exec", &json!({"command": "touch started; sleep 300"}))]);
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    let run = client.send_chat("main", "sleep").await;
    let marker = home.state_path().join("workspace/started");
    while !marker.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let began = std::time::Instant::now();
    client.call("chat.abort", json!({"sessionKey": "main", "runId": run})).await.unwrap();
    let chat = client.finish_chat(run).await;
    assert_eq!(chat.state, "aborted", "{}", chat.end);
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "it took {:?}", began.elapsed());
    let sleepers = processes_with("sleep\u{0}300");
    assert!(sleepers.is_empty(), "survivors: {sleepers:?}");
}

/// Processes of this machine whose command line has `text`.
#[expect(clippy::disallowed_methods, reason = "the kernel's list of processes is files")]
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(text)).collect()
}

/// However long a model speaks, its clients hear the end of it and stay connected, and the session can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_speaks_without_end_costs_no_client_its_connection() {
    let model = ScriptedModel::queue([Reply::Huge(13_000_000), Reply::text("short")]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    let bystander = gateway.connect().open().await.unwrap();
    let chat = client.chat("main", "all of it").await;
    assert_eq!((chat.state.as_str(), chat.text.len()), ("final", 13_000_000));
    assert_eq!(client.chat("main", "and now?").await.text, "short");
    for limit in [1, 200] {
        let params = json!({"sessionKey": "main", "limit": limit});
        let history = bystander.call("chat.history", params).await.unwrap();
        assert!(history.to_string().contains("short"), "limit {limit}");
    }
    assert!(gateway.is_running(), "{}", gateway.printed());
}

/// What tools brought is reported up to a size: a report grows with the turn, and a client must be able to take it.
#[test]
fn a_turn_with_many_long_results_has_a_report_that_can_be_sent() {
    let line = "x".repeat(99);
    let first = Reply::tool("write", &json!({"path": "long", "content": format!("{line}\n").repeat(999)}));
    let read = ("read", json!({"path": "long"}));
    let reads = || Reply::tools(&vec![read.clone(); 60]);
    let model = ScriptedModel::queue([first, reads(), reads(), reads(), Reply::text("read it all")]);
    let home = Home::with_model(&model);
    // A window that takes it all: what does not fit is not sent.
    home.change_config(|config| {
        let models = &mut config["models"]["providers"][PROVIDER]["models"];
        models[0]["contextWindow"] = json!(10_000_000);
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let output = run(PROGRAM, &home, &["agent", "--json", "--message", "read it"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: serde_json::Value = serde_json::from_str(&printed)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(
        (&answer["status"], &answer["text"]),
        (&json!("ok"), &json!("read it all")),
        "{:?}",
        answer["error"]
    );
    let calls = answer["toolCalls"].as_array().unwrap();
    assert_eq!(calls.len(), 181, "every call is named");
    assert!(calls[1]["result"].as_str().unwrap().len() > 90_000, "the first results are whole");
    assert!(calls[180]["result"].as_str().unwrap().contains("left out"), "{}", calls[180]);
    assert!(printed.len() < 5_000_000, "{} bytes", printed.len());
    drop(gateway);
}

/// A state folder on a file system of 6 MB that the test fills.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    #[expect(clippy::disallowed_methods, reason = "mounting needs the mount program")]
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self { folder })
    }

    /// Starts a gateway with the home's config and its state on this disk.
    fn start(&self, home: &Home) -> Gateway {
        let state = self.folder.path().join("state");
        let config = home.config_path();
        let environment = [
            ("MOLTBOT_STATE_DIR", state.to_str().unwrap()),
            ("MOLTBOT_CONFIG_PATH", config.to_str().unwrap()),
        ];
        Gateway::start_with(PROGRAM, home, &environment)
    }

    /// Fills the disk but for a few bytes.
    #[expect(clippy::disallowed_methods, reason = "a test fills a disk")]
    fn fill(&self) {
        let mut size = 4 * 1024 * 1024;
        for number in 0..200 {
            if std::fs::write(self.folder.path().join(format!("filler-{number}")), vec![0_u8; size]).is_err()
            {
                size = (size / 2).max(1);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test empties a disk")]
    fn empty(&self) {
        for number in 0..200 {
            drop(std::fs::remove_file(self.folder.path().join(format!("filler-{number}"))));
        }
    }
}

impl Drop for SmallDisk {
    #[expect(clippy::disallowed_methods, reason = "unmounting needs the umount program")]
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(self.folder.path()).output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_clearly_loses_nothing_and_recovers() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("a_full_disk_refuses_clearly_loses_nothing_and_recovers", "mounting a tmpfs needs root");
    };
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = disk.start(&home);
    let mut client = gateway.connect().open().await.unwrap();
    assert_eq!(client.chat("main", "before").await.state, "final");
    disk.fill();
    let mut accepted = Vec::new();
    for number in 0..20 {
        let text = format!("full {number}");
        let params = json!({"sessionKey": "main", "message": text.repeat(20_000), "idempotencyKey": format!("full-{number}")});
        match client.call("chat.send", params).await {
            Ok(_) => accepted.push(format!("full-{number}")),
            Err(error) => {
                assert_eq!(serde_json::to_value(error.code).unwrap(), json!("UNAVAILABLE"), "{error:?}");
                assert!(error.message.contains("full") || error.message.contains("space"), "{error:?}");
            }
        }
    }
    assert!(accepted.len() < 20, "the disk was not full");
    assert!(gateway.is_running(), "{}", gateway.printed());
    disk.empty();
    // The connection is the one from before: reading and writing work again.
    // A book that was refused room asks the disk again after a second; until then messages are refused.
    let mut taken = Err(String::new());
    for number in 0..30 {
        let run = format!("after-{number}");
        let params = json!({"sessionKey": "other", "message": "after", "idempotencyKey": run});
        taken = client.call("chat.send", params).await.map(|_| run).map_err(|error| error.message);
        if taken.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let chat = client.finish_chat(taken.unwrap()).await;
    assert_eq!(chat.state, "final", "{}", chat.end);
    for run in accepted {
        let ended = client.call("agent.wait", json!({"runId": run, "timeoutMs": 30_000})).await.unwrap();
        assert_ne!(ended["status"], "timeout", "{run} was acknowledged and never ended");
    }
    let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
    assert!(history.to_string().contains("before"), "what was said before is lost");
}

/// An end that cannot be kept is an error, and does not stand before the rest of its session for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_in_the_middle_of_a_turn_does_not_end_its_session() {
    let Some(disk) = SmallDisk::mount() else {
        let test = "a_disk_that_fills_in_the_middle_of_a_turn_does_not_end_its_session";
        return skip(test, "mounting a tmpfs needs root");
    };
    let chunks = vec!["one ".into(), "x".repeat(300_000)];
    let slow = Reply::Slow { chunks, delay: std::time::Duration::from_millis(1500) };
    let model = ScriptedModel::queue([slow]);
    let home = Home::with_model(&model);
    let mut gateway = disk.start(&home);
    let mut client = gateway.connect().open().await.unwrap();
    let run = client.send_chat("main", "tell me").await;
    client.delta_of(&run).await;
    disk.fill();
    let chat = client.finish_chat(run.clone()).await;
    assert_eq!(chat.state, "error", "{:.300}", chat.end.to_string());
    let told = chat.end["errorMessage"].as_str().unwrap_or_default();
    assert!(told.contains("could not be kept") && told.contains("space"), "{told}");
    assert!(gateway.is_running(), "{}", gateway.printed());
    disk.empty();
    model.push(Reply::text("well again"));
    let chat = client.chat("main", "and now?").await;
    assert_eq!((chat.state.as_str(), chat.text.as_str()), ("final", "well again"), "{}", chat.end);
    let ended = client.call("agent.wait", json!({"runId": run, "timeoutMs": 30_000})).await.unwrap();
    assert_eq!(ended["status"], "error", "{ended}");
    gateway.terminate();
    gateway.restart(&home);
    assert_eq!(model.requests().len(), 2, "no turn was left to be taken up");
}
