//! Which sessions see the owner's files, through the real program.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, command};
use serde_json::{Value, json};

use super::stage::{PROGRAM, Stage};

const SECRET: &str = "of-the-owner-alone";

async fn stage(sandbox: Value) -> Stage {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    home.change_config(|config| config["agents"]["defaults"]["sandbox"] = sandbox);
    let gateway = Gateway::start(PROGRAM, &home);
    let client = gateway.connect().open().await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "the owner's own file")]
    std::fs::write(home.state_path().join("workspace/note.txt"), SECRET).unwrap();
    Stage { model, home, gateway, client }
}

impl Stage {
    /// Has the model call one tool in a session, and answers what it was told.
    async fn call_in(&mut self, session: &str, tool: &str, arguments: Value) -> String {
        self.model.push(Reply::tool(tool, &arguments));
        self.model.push(Reply::text("done"));
        let run = self.client.send_chat(session, "go").await;
        self.end(run).await
    }

    /// What a session reads of the owner's note, by the tool and by a command; and whether it can write.
    async fn sees(&mut self, session: &str) -> [bool; 4] {
        let read = self.call_in(session, "read", json!({"path": "note.txt"})).await.contains(SECRET);
        let shown = self.call_in(session, "exec", json!({"command": "cat note.txt"})).await.contains(SECRET);
        let write = json!({"path": "new.txt", "content": "x"});
        let written = self.call_in(session, "write", write).await;
        let changed = json!({"command": "echo x > made.txt && echo made"});
        let changed = self.call_in(session, "exec", changed).await.contains("made\n");
        [read, shown, !written.contains("no tool") && !written.contains("error"), changed]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_98_another_session_sees_of_the_workspace_what_the_config_says_and_no_more() {
    let (nothing, reads, all) =
        ([false, false, true, true], [true, true, false, false], [true, true, true, true]);
    for (sandbox, main, other) in [
        (json!({}), all, nothing),
        (json!({"workspaceAccess": "ro"}), all, reads),
        (json!({"workspaceAccess": "rw"}), all, all),
        (json!({"mode": "all"}), nothing, nothing),
        (json!({"mode": "all", "workspaceAccess": "ro"}), reads, reads),
        (json!({"mode": "off"}), all, all),
    ] {
        let mut stage = stage(sandbox.clone()).await;
        assert_eq!(stage.sees("main").await, main, "{sandbox}: main");
        for odd in ["telegram:dm:7", "agent:main:main:x", "main2"] {
            assert_eq!(stage.sees(odd).await, other, "{sandbox}: {odd}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_share_a_folder_as_the_scope_says() {
    for (scope, expected) in [("session", false), ("agent", true), ("shared", true)] {
        let mut stage = stage(json!({"scope": scope})).await;
        let write = json!({"command": "echo kept > mine.txt"});
        stage.call_in("irc:dm:one", "exec", write).await;
        let told = stage.call_in("irc:dm:two", "exec", json!({"command": "cat mine.txt"})).await;
        assert_eq!(told.contains("kept"), expected, "{scope}: {told}");
        let own = stage.call_in("irc:dm:one", "exec", json!({"command": "cat mine.txt"})).await;
        assert!(own.contains("kept"), "{scope}: {own}");
        let main = stage.call_in("main", "exec", json!({"command": "cat mine.txt"})).await;
        assert!(!main.contains("kept"), "{scope}: {main}");
    }
}

/// A link in a folder that is read-only, or in one of its own, leads nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shut_off_session_does_not_get_out_by_links_or_names() {
    let mut stage = stage(json!({})).await;
    for path in ["../workspace/note.txt", "/workspace/../workspace/note.txt", "../../workspace/note.txt"] {
        let told = stage.call_in("irc:dm:one", "read", json!({"path": path})).await;
        assert!(!told.contains(SECRET), "{path}: {told}");
    }
    let workspace = stage.workspace();
    let link = format!("ln -s {}/note.txt out; cat out; ls -d {0}", workspace.display());
    let told = stage.call_in("irc:dm:one", "exec", json!({"command": link})).await;
    assert!(!told.contains(SECRET), "{told}");
    let told = stage.call_in("irc:dm:one", "read", json!({"path": "out"})).await;
    assert!(!told.contains(SECRET), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_shuts_nobody_off_is_a_critical_finding() {
    for (sandbox, critical) in [(json!({}), false), (json!({"mode": "off"}), true)] {
        let stage = stage(sandbox).await;
        let ran = command(PROGRAM, &stage.home, &["doctor", "--json"]).output().unwrap();
        let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let checks = told["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == "sandbox.mode").unwrap();
        assert_eq!(check["what"].as_str().unwrap().starts_with("critical: "), critical, "{check}");
        assert_eq!(check["fix"].is_string(), critical, "{check}");
    }
}

fn told(home: &Home, arguments: &[&str]) -> Value {
    let ran = command(PROGRAM, home, arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_sees_why_a_session_has_its_walls_and_removes_its_folder() {
    let mut stage = stage(json!({})).await;
    stage.call_in("irc:dm:one", "exec", json!({"command": "echo kept > mine.txt"})).await;
    let main = told(&stage.home, &["sandbox", "explain", "--json"]);
    assert_eq!((&main["folder"], &main["network"]), (&json!("the agent's workspace"), &json!("none")));
    let other = told(&stage.home, &["sandbox", "explain", "irc:dm:one", "--json"]);
    assert!(other["because"].as_str().unwrap().contains("workspaceAccess"), "{other}");
    let folders = told(&stage.home, &["sandbox", "list", "--json"]);
    let name = folders["folders"][0]["name"].as_str().unwrap();
    assert!(other["folder"].as_str().unwrap().contains(name), "{other} {folders}");
    assert_eq!(told(&stage.home, &["sandbox", "prune", "--json"]), json!({"removed": []}), "it is in use");
    assert_eq!(told(&stage.home, &["sandbox", "recreate", name, "--json"]), json!({"removed": [name]}));
    let again = stage.call_in("irc:dm:one", "exec", json!({"command": "ls; echo end"})).await;
    assert!(again.ends_with("\n\nend\n"), "{again}");
    let found = command(PROGRAM, &stage.home, &["ledger", "search", "--action", "sandbox.remove", "--json"]);
    let found = String::from_utf8({ found }.output().unwrap().stdout).unwrap();
    assert_eq!(found.lines().count(), 1, "{found}");
    let gone = command(PROGRAM, &stage.home, &["sandbox", "recreate", "../workspace"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(stage.workspace().join("note.txt").exists());
}
