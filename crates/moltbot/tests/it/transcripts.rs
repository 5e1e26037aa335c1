//! Whole transcripts at the command line: one as JSON lines, and a text in all of them, beyond one page.

use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use crate::paths::write;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// Turns of one that is brought back: more than fits into one request.
const BROUGHT: usize = 40;
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

/// What a transcript of another program holds: settings, a branch that was left, a call that was never answered, an answer of none.
const FOREIGN: [&str; 9] = [
    r#"{"type":"session","version":3,"id":"0d9f","timestamp":"2026-01-02T03:04:05.000Z","cwd":"/home/me/clawd"}"#,
    r#"{"type":"model_change","id":"a1","parentId":null,"timestamp":"2026-01-02T03:04:05.000Z","provider":"p","modelId":"m"}"#,
    r#"{"type":"message","id":"a2","parentId":"a1","timestamp":"2026-01-02T03:04:06.000Z","message":{"role":"user","content":"My cat is called Quillfeather."}}"#,
    r#"{"type":"message","id":"a3","parentId":"a2","timestamp":"2026-01-02T03:04:07.000Z","message":{"role":"assistant","content":[{"type":"text","text":"left branch"}]}}"#,
    r#"{"type":"message","id":"a4","parentId":"a2","timestamp":"2026-01-02T03:04:08.000Z","message":{"role":"assistant","api":"x","provider":"p","model":"m","stopReason":"toolUse","usage":{"input":1,"output":2,"cost":{"total":0.1}},"content":[{"type":"thinking","thinking":"hm","thinkingSignature":"theirs"},{"type":"toolCall","id":"c1","name":"exec","arguments":{"command":"ls"}}]}}"#,
    r#"{"type":"message","id":"a5","parentId":"a4","timestamp":"2026-01-02T03:04:09.000Z","message":{"role":"toolResult","toolCallId":"stranger","toolName":"exec","content":[{"type":"text","text":"of no call"}],"details":{},"isError":false}}"#,
    r#"{"type":"message","id":"a6","parentId":"a5","timestamp":"2026-01-02T03:04:10.000Z","message":{"role":"user","content":[{"type":"text","text":"go on"},{"type":"image","data":"AAAA","mimeType":"image/png"}]}}"#,
    r#"{"type":"message","id":"a7","parentId":"a6","timestamp":"2026-01-02T03:04:11.000Z","message":{"role":"assistant","provider":"p","model":"m","stopReason":"stop","content":[{"type":"text","text":"Gladly."}]}}"#,
    r#"{"type":"message","id":"a8","pare"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_brought_back_and_goes_on_where_it_was() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    for number in 0..BROUGHT {
        client.chat("notes", &format!("line {number} of it{}", " and more".repeat(1000))).await;
    }
    let exported = printed(&home, &["sessions", "export", "notes"]).1;
    let file = home.path().join("notes.jsonl");
    write(&file, &exported);
    let file = file.to_str().unwrap();

    // More than fits into one request, under a key of its own; the original stays.
    let (code, told) = printed(&home, &["sessions", "import", "brought", file, "--json"]);
    assert_eq!(code, 0, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["messages"], &told["leftOut"]), (&json!(2 * BROUGHT), &json!({})));
    let messages = |lines: &str| -> Vec<Value> {
        let lines = lines.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|mut line| line["message"].take()).collect()
    };
    let again = printed(&home, &["sessions", "export", "brought"]).1;
    assert_eq!(messages(&again), messages(&exported));
    // What was used elsewhere was not used here.
    let rows = client.call("sessions.list", json!({"search": "brought"})).await.unwrap();
    assert_eq!((&rows["count"], &rows["sessions"][0]["totalTokens"]), (&json!(1), &json!(0)), "{rows}");

    // It is there now: a second time nothing is added, and it is said.
    let ran = run(PROGRAM, &home, &["sessions", "import", "brought", file]);
    let complaint = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(complaint.contains("has 80 messages and not 0: nothing was added"), "{complaint}");
    assert_eq!(printed(&home, &["sessions", "export", "brought"]).1, again);
    let book = printed(&home, &["ledger", "search", "--action", "session.import"]).1;
    assert!(book.contains("agent:main:brought"), "{book}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transcript_of_another_program_is_read_as_far_as_it_can_be() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let file = home.path().join("foreign.jsonl");
    write(&file, &FOREIGN.join("\n"));
    let (code, told) = printed(&home, &["sessions", "import", "old", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    for expected in [
        "5 messages",
        "branches that were left (1)",
        "pictures (1)",
        "a last line that is cut (1)",
        "model_change",
    ] {
        assert!(told.contains(expected), "no {expected} in {told}");
    }
    let mut client = gateway.connect().open().await.unwrap();
    client.chat("old", "what is my cat called?").await;
    // What the model is asked is a conversation that a provider takes: each call has its answer, and no answer is of no call.
    let asked = model.requests().pop().unwrap().body;
    let messages = asked["messages"].as_array().unwrap();
    let text = asked.to_string();
    assert!(text.contains("Quillfeather") && text.contains("Gladly."), "{text}");
    for not in ["left branch", "of no call", "theirs"] {
        assert!(!text.contains(not), "{not} reached the model: {text}");
    }
    let calls = messages.iter().filter(|message| message["tool_calls"].is_array()).count();
    let answers = messages.iter().filter(|message| message["role"] == "tool").count();
    assert_eq!((calls, answers), (1, 1), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_conversation_is_refused_and_nothing_of_it_is_kept() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let client = gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3).open().await.unwrap();
    let said = json!({"role": "user", "content": [{"type": "text", "text": "a"}], "timestamp": 1});
    let picture = json!({"role": "user", "content": [{"type": "image", "mimeType": "image/png", "path": "/etc/shadow"}], "timestamp": 1});
    let answer = json!({"role": "toolResult", "toolCallId": "c", "toolName": "exec", "content": [], "isError": false, "timestamp": 1});
    let odd = json!({"role": "system", "content": [], "timestamp": 1});
    let nobody = json!({"role": "user", "content": [], "timestamp": 1, "principal": "root"});
    for (params, expected) in [
        (json!({"key": "x", "messages": []}), "there are no messages"),
        (json!({"key": "x", "messages": [answer]}), "role user"),
        (json!({"key": "x", "messages": [said, picture]}), "pictures"),
        (json!({"key": "x", "messages": [said, odd]}), "unknown variant"),
        (json!({"key": "x", "messages": [nobody]}), "names nobody"),
        (json!({"key": "x", "skip": 4, "messages": [said]}), "has 0 messages and not 4"),
        (json!({"key": "x", "sessionId": "y", "messages": [said]}), "unknown field"),
        (json!({"key": "agent:nobody:x", "messages": [said]}), "nobody"),
    ] {
        let refused = client.call("sessions.import", params.clone()).await.unwrap_err();
        assert!(refused.message.contains(expected), "{params}: {refused:?}");
    }
    assert_eq!(client.call("sessions.list", json!({})).await.unwrap()["count"], 0);
    // Who may write may not put words into a conversation as if they had been said.
    let writer = gateway.connect().scopes(&["operator.read", "operator.write"]).open().await.unwrap();
    let refused = writer.call("sessions.import", json!({"key": "x", "messages": [said]})).await.unwrap_err();
    assert!(refused.message.contains("operator.admin"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_put_into_a_conversation_as_if_the_agent_had_said_it() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let connect = || gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3);
    let mut client = connect().open().await.unwrap();
    let note = json!({"sessionKey": "main", "message": " the tea is ready ", "label": "kitchen"});
    let refused = client.call("chat.inject", note.clone()).await.unwrap_err();
    assert!(refused.message.contains("nothing was said"), "{refused:?}");
    assert_eq!(client.chat("main", "hello").await.text, echo_of("hello"));
    let told = client.call("chat.inject", note).await.unwrap();
    assert!(told["ok"] == true && told["messageId"].as_str().unwrap().ends_with(":3"), "{told}");
    let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
    let last = history["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["role"], &last["content"][0]["text"]),
        (&json!("assistant"), &json!("[kitchen]\n\nthe tea is ready"))
    );
    assert_eq!(model.requests().len(), 1, "no model was asked");
    assert_eq!(client.chat("main", "and now?").await.text, echo_of("and now?"));
    let asked = format!("{:?}", model.requests().last().unwrap());
    assert!(
        asked.find("the tea is ready").unwrap() < asked.find("and now?").unwrap(),
        "the model reads it: {asked}"
    );
    for (params, expected) in [
        (json!({"sessionKey": "main", "message": " "}), "is empty"),
        (json!({"sessionKey": "main", "message": "x", "label": "a\u{7}b"}), "control characters"),
        (json!({"sessionKey": "main", "message": "x", "role": "user"}), "unknown field"),
        (json!({"sessionKey": "agent:nobody:x", "message": "x"}), "nobody"),
    ] {
        let refused = client.call("chat.inject", params.clone()).await.unwrap_err();
        assert!(refused.message.contains(expected), "{params}: {refused:?}");
    }
    let writer = gateway.connect().scopes(&["operator.read", "operator.write"]).open().await.unwrap();
    let refused =
        writer.call("chat.inject", json!({"sessionKey": "main", "message": "x"})).await.unwrap_err();
    assert!(refused.message.contains("operator.admin"), "{refused:?}");
}
