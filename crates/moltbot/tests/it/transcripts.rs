//! Whole transcripts at the command line: one as JSON lines, and a text in all of them, beyond one page.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// Turns of the long conversation: more messages than a page has.
const TURNS: usize = 260;

/// What the program prints with these arguments, and its exit code.
fn printed(home: &Home, arguments: &[&str]) -> (i32, String) {
    let ran = run(PROGRAM, home, arguments);
    (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transcript_is_exported_whole_and_every_word_of_it_is_found() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    for number in 0..TURNS {
        client.chat("notes", &format!("line {number} of it")).await;
    }
    client.chat("main", "The Blue Door is open").await;
    let listed = client.call("sessions.resolve", json!({"key": "notes"})).await.unwrap();
    assert_eq!(listed["key"], "agent:main:notes");

    let (code, lines) = printed(&home, &["sessions", "export", "notes"]);
    assert_eq!(code, 0);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["type"], &lines[0]["version"]), (&json!("session"), &json!(3)));
    assert_eq!(lines.len(), 1 + 2 * TURNS);
    let mut parent = Value::Null;
    for (number, line) in lines[1..].iter().enumerate() {
        assert_eq!((&line["type"], &line["parentId"]), (&json!("message"), &parent));
        assert_eq!(line["id"].as_str().unwrap().len(), 8);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        let said = format!("line {} of it", number / 2);
        let (role, text) = if number % 2 == 0 { ("user", said) } else { ("assistant", echo_of(&said)) };
        assert_eq!(
            (&line["message"]["role"], &line["message"]["content"][0]["text"]),
            (&json!(role), &json!(text))
        );
        parent = line["id"].clone();
    }
    let id = lines[0]["id"].as_str().unwrap();
    assert_eq!(printed(&home, &["sessions", "export", id]).1.lines().count(), lines.len());

    let (code, found) = printed(&home, &["sessions", "search", "LINE 0 of"]);
    assert_eq!((code, found.lines().count()), (0, 2), "{found}");
    let (code, found) = printed(&home, &["sessions", "search", "blue door", "--json"]);
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, found.len()), (0, 2));
    assert_eq!((&found[0]["key"], &found[0]["role"]), (&json!("agent:main:main"), &json!("user")));
    assert_eq!(printed(&home, &["sessions", "search", "green door"]), (1, String::new()));
    for file in ["state.db", "state.db-wal"] {
        let sealed = home.state().read(file, 1 << 30).unwrap().unwrap_or_default();
        assert!(!sealed.windows(9).any(|bytes| bytes == b"Blue Door"), "a word is in {file} in plaintext");
    }
}
