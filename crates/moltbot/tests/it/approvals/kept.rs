//! What the owner keeps about commands: `exec-approvals.json`, the list of programs, the command line.

use std::io::Write as _;
use std::process::Stdio;

use moltbot_testkit::process::{command, run};
use serde_json::{Value, json};

use super::stage::{PROGRAM, Stage};

const LISTED: fn(&mut Value) = |config| config["tools"]["exec"]["security"] = json!("allowlist");

fn file(stage: &Stage) -> Value {
    let path = stage.home.state_path().join("exec-approvals.json");
    #[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn cli(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let ran = run(PROGRAM, &stage.home, arguments);
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e16_always_puts_the_program_on_the_list_and_never_one_that_runs_what_it_is_given() {
    let mut stage = Stage::new(LISTED).await;
    for command in ["sh -c 'touch ran'", "bash -lc 'touch ran'", "python3 -c 1", "env touch ran", "./ls"] {
        let asked = stage.ask(command).await;
        assert!(!asked["decisions"].to_string().contains("allow-always"), "{command}: {asked}");
        let refused = stage.resolve(&asked, "allow-always").await.unwrap_err();
        assert!(refused.contains("cannot be answered here"), "{command}: {refused}");
        stage.answer(&asked, "deny").await;
    }
    assert!(!stage.workspace().join("ran").exists());
    let asked = stage.ask("ls -a").await;
    assert!(stage.answer(&asked, "allow-always").await.starts_with("exit code 0"));
    let kept = file(&stage);
    let entry = &kept["agents"]["main"]["allowlist"][0];
    let path = asked["request"]["resolvedPath"].as_str().unwrap();
    assert_eq!(entry["pattern"], path, "{kept}");
    assert!(path.ends_with("/ls") && !kept.to_string().contains("/sh"), "{kept}");
    let decided = stage.book("approval.decide");
    assert!(decided.iter().any(|line| line["details"]["listed"] == path), "{decided:?}");
    assert!(
        stage.exec(&json!({"command": "ls -l"})).await.starts_with("exit code 0"),
        "it is not asked about"
    );
    let entry = file(&stage)["agents"]["main"]["allowlist"][0].clone();
    assert_eq!((&entry["lastUsedCommand"], &entry["lastResolvedPath"]), (&json!("ls -l"), &json!(path)));
    assert!(entry["lastUsedAt"].is_u64(), "{entry}");
    let (code, said) = cli(&stage, &["approvals", "allowlist", "remove", path]);
    assert_eq!(code, 0, "{said}");
    let again = stage.ask("ls -l").await;
    stage.answer(&again, "deny").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_kept_from_the_command_line_and_speaks_for_whole_commands_alone() {
    let mut stage = Stage::new(|config| {
        LISTED(config);
        config["tools"]["exec"]["ask"] = json!("off");
    })
    .await;
    let told = stage.exec(&json!({"command": "ls"})).await;
    assert!(told.contains("not on your owner's list"), "{told}");
    let ls = std::fs::canonicalize("/usr/bin/ls").unwrap().display().to_string();
    assert_eq!(cli(&stage, &["approvals", "allowlist", "add", &ls]).0, 0);
    assert!(stage.exec(&json!({"command": "ls"})).await.starts_with("exit code 0"));
    for command in [
        "ls; id",
        "ls && id",
        "ls | id",
        "ls > x",
        "ls $(id)",
        "ls `id`",
        "ls \"$(id)\"",
        "ls *",
        "ls $HOME",
        "ls\nid",
        "id",
        "./ls",
        "X=1 ls",
    ] {
        let told = stage.exec(&json!({"command": command})).await;
        assert!(told.contains("not on your owner's list"), "{command}: {told}");
    }
    for path in ["/bin/sh", "/usr/bin/python3", "/usr/bin/env", "ls", "../ls", "/tmp/ls"] {
        let (code, said) = cli(&stage, &["approvals", "allowlist", "add", path]);
        assert!(code == 1 && said.contains("is not put on the list"), "{path}: {said}");
    }
    let (_, shown) = cli(&stage, &["approvals", "get"]);
    assert!(shown.contains(&format!("main  {ls}")), "{shown}");
    let (code, said) = cli(&stage, &["approvals", "allowlist", "remove", "/usr/bin/absent"]);
    assert!(code == 1 && said.contains("is not on the list"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_changed_from_what_it_was_and_its_secret_is_never_shown() {
    let stage = Stage::new(|_| {}).await;
    let set = |params: Value| stage.client.call("exec.approvals.set", params);
    let empty = stage.client.call("exec.approvals.get", json!({})).await.unwrap();
    assert_eq!((&empty["exists"], &empty["hash"]), (&json!(false), &Value::Null), "{empty}");
    let new =
        json!({"version": 1, "socket": {"path": "/run/x", "token": "S3CR3T-of-the-socket"}, "agents": {}});
    let kept = set(json!({"file": new})).await.unwrap();
    assert!(!kept.to_string().contains("S3CR3T"), "{kept}");
    assert_eq!(file(&stage)["socket"]["token"], "S3CR3T-of-the-socket");
    let blind = set(json!({"file": {"version": 1}})).await.unwrap_err();
    assert!(blind.message.contains("base hash required"), "{blind:?}");
    let stale = set(json!({"file": {"version": 1}, "baseHash": "0".repeat(64)})).await.unwrap_err();
    assert!(stale.message.contains("changed since last load"), "{stale:?}");
    let mut next = kept["file"].clone();
    next["defaults"] = json!({"security": "allowlist"});
    set(json!({"file": next, "baseHash": kept["hash"]})).await.unwrap();
    assert_eq!(
        file(&stage)["socket"]["token"],
        "S3CR3T-of-the-socket",
        "who was not shown it does not lose it"
    );
    let (_, shown) = cli(&stage, &["approvals", "get", "--json"]);
    assert!(!shown.contains("S3CR3T") && shown.contains("allowlist"), "{shown}");
    assert!(
        stage.book("approvals.set").len() == 2
            && !format!("{:?}", stage.book("approvals")).contains("S3CR3T")
    );
    let mut setting = command(PROGRAM, &stage.home, &["approvals", "set"]);
    let mut setting = setting.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    setting.stdin.take().unwrap().write_all(br#"{"version":1,"defaults":{"security":"deny"}}"#).unwrap();
    assert!(setting.wait().unwrap().success());
    assert_eq!(file(&stage)["defaults"]["security"], "deny");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stricter_of_config_and_file_holds_and_a_broken_file_lets_nothing_pass() {
    let mut stage = Stage::new(|config| config["tools"]["exec"]["ask"] = json!("off")).await;
    assert!(stage.exec(&json!({"command": "true"})).await.starts_with("exit code 0"));
    let path = stage.home.state_path().join("exec-approvals.json");
    for (text, says) in [
        (r#"{"version":1,"defaults":{"security":"deny"}}"#, "no command may run"),
        (r#"{"version":1,"agents":{"main":{"security":"deny"}}}"#, "no command may run"),
        (r#"{"version":1,"defaults":{"security":"allowlist","ask":"off"}}"#, "exit code 0"),
        ("{", "exec-approvals.json cannot be used"),
        (r#"{"version":7}"#, "its version is not 1"),
        (r#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#, "exit code 0"),
    ] {
        #[expect(clippy::disallowed_methods, reason = "the owner writes it by hand")]
        std::fs::write(&path, text).unwrap();
        let told = stage.exec(&json!({"command": "true"})).await;
        let expected = if text.contains("allowlist") { "not on your owner's list" } else { says };
        assert!(told.contains(expected), "{text}: {told}");
    }
}
