//! What is set of a conversation, through the real binary: by whom it may be, that turns obey it, and that it lasts.

use moltbot_testkit::client::{Client, Device, SignatureVersion, unique};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ModelRequest, Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::http;
use moltbot_testkit::telegram::{Person, TelegramApi};
use serde_json::{Value, json};

use crate::program::book;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const HOOK_TOKEN: &str = "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8";

/// A home whose provider has two models that think.
fn home(model: &ScriptedModel) -> Home {
    let home = Home::with_model(model);
    home.change_config(|config| {
        let models = &mut config["models"]["providers"]["scripted"]["models"];
        models[0]["reasoning"] = json!(true);
        let mut second = models[0].clone();
        second["id"] = json!("second");
        second["cost"] = json!({"input": 1000, "output": 1000});
        models.as_array_mut().unwrap().push(second);
        config["hooks"] = json!({"enabled": true, "token": HOOK_TOKEN});
    });
    home
}

/// The owner's client, which administers.
async fn owner(gateway: &Gateway) -> Client {
    gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3).open().await.unwrap()
}

/// What the gateway answers to a command of the web chat.
async fn says(client: &mut Client, session: &str, text: &str) -> String {
    let run = unique("run");
    let params = json!({"sessionKey": session, "message": text, "idempotencyKey": run});
    let answered = client.call("chat.send", params).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(answered["status"], "ok", "{text} was taken for a message");
    client.finish_chat(run).await.text
}

fn asked(request: &ModelRequest) -> (&str, &Value) {
    (request.body["model"].as_str().unwrap(), &request.body["reasoning_effort"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_keeps_its_model_and_its_thinking_over_a_restart_and_its_turns_obey() {
    let model = ScriptedModel::answering(|_| Reply::text("yes"));
    let home = home(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    let patch =
        json!({"key": "notes", "model": "scripted/second", "thinkingLevel": "high", "verboseLevel": "off"});
    let patched = client.call("sessions.patch", patch).await.unwrap();
    assert_eq!(patched["entry"]["thinkingLevel"], "high", "{patched}");
    client.chat("notes", "one").await;
    client.chat("main", "other").await;
    let requests = model.requests();
    assert_eq!(asked(&requests[0]), ("second", &json!("high")));
    assert_eq!(asked(&requests[1]), ("scripted", &Value::Null), "another conversation is as it was");
    // A level that comes with a message counts for that one alone.
    let with = json!({"sessionKey": "notes", "message": "two", "thinking": "low", "idempotencyKey": "two"});
    client.call("chat.send", with).await.unwrap();
    client.finish_chat("two".into()).await;
    let with =
        json!({"sessionKey": "notes", "message": "three", "thinking": "minimal", "idempotencyKey": "three"});
    let (_, ended) = client.call_twice("agent", with).await;
    ended.unwrap().unwrap();
    gateway.kill9();
    gateway.restart(&home);
    let mut client = owner(&gateway).await;
    client.chat("notes", "four").await;
    let levels: Vec<Value> =
        model.requests()[2..].iter().map(|it| it.body["reasoning_effort"].clone()).collect();
    assert_eq!(levels, [json!("low"), json!("minimal"), json!("high")]);
    // A conversation that is begun anew keeps what was set.
    client.call("sessions.reset", json!({"key": "notes"})).await.unwrap();
    client.chat("notes", "five").await;
    assert_eq!(asked(model.requests().last().unwrap()), ("second", &json!("high")));
    let list = run(PROGRAM, &home, &["sessions", "list", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let rows = list["sessions"].as_array().unwrap();
    let notes = rows.iter().find(|row| row["key"] == "agent:main:notes").unwrap();
    assert_eq!(
        (&notes["modelProvider"], &notes["model"], &notes["thinkingLevel"], &notes["verboseLevel"]),
        (&json!("scripted"), &json!("second"), &json!("high"), &json!("off"))
    );
    let shown = run(PROGRAM, &home, &["sessions", "list"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("model scripted/second, thinking high, verbose off"), "{shown}");
    let history = client.call("chat.history", json!({"sessionKey": "notes"})).await.unwrap();
    assert_eq!(history["thinkingLevel"], "high");
    let sets = book(&home, "session.set");
    assert_eq!(sets.len(), 1, "{sets:?}");
    assert_eq!(sets[0]["details"]["thinkingLevel"], "high", "{sets:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_the_web_chat_tell_and_set_it_and_what_is_unknown_is_refused_with_the_list() {
    let model = ScriptedModel::answering(|_| Reply::text("yes"));
    let home = home(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    let told = says(&mut client, "main", "/models").await;
    assert_eq!(told, "/model scripted/scripted\n/model scripted/second");
    let told = says(&mut client, "main", "/model scripted/second").await;
    assert!(told.contains("model: scripted/second (chosen for this conversation)"), "{told}");
    let told = says(&mut client, "main", "/think xhigh").await;
    assert!(told.contains("thinking: xhigh (of this conversation)"), "{told}");
    let told = says(&mut client, "main", "/verbose on").await;
    assert!(told.contains("verbose: on"), "{told}");
    client.chat("main", "hello").await;
    assert_eq!(asked(model.requests().last().unwrap()).0, "second");
    let told = says(&mut client, "main", "/status").await;
    for part in
        ["model: scripted/second", "thinking: xhigh", "verbose: on", "used: 2 messages, ", "sandbox: "]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("$0.00") && !told.contains("is not known"), "the model has a price: {told}");
    for (text, part) in [
        ("/think deep", "/think off|minimal|low|medium|high|xhigh|default"),
        ("/v loud", "/verbose off|on|full|default"),
        ("/model nobody/none", "; there are: scripted/scripted, scripted/second"),
        ("/model a b", "/model <provider/model>|default"),
        ("/help", "/think, /thinking, /t off|"),
    ] {
        let told = says(&mut client, "main", text).await;
        assert!(told.contains(part), "{text}: {told}");
    }
    for (patch, part) in [
        (json!({"thinkingLevel": "deep"}), "there are: off, minimal, low, medium, high, xhigh"),
        (json!({"verboseLevel": "loud"}), "there are: off, on, full"),
        (json!({"model": "nobody/none"}), "there are: scripted/scripted, scripted/second"),
    ] {
        let mut patch = patch;
        patch["key"] = json!("main");
        let refused = client.call("sessions.patch", patch).await.unwrap_err();
        assert!(refused.message.contains(part), "{}", refused.message);
    }
    let unknown = json!({"sessionKey": "main", "message": "x", "thinking": "deep", "idempotencyKey": "k"});
    let refused = client.call("chat.send", unknown).await.unwrap_err();
    assert!(refused.message.contains("use off, minimal, low, medium, high or xhigh"), "{}", refused.message);
    says(&mut client, "main", "/model default").await;
    let told = says(&mut client, "main", "/t default").await;
    assert!(told.contains("model: scripted/scripted (of the agent)"), "{told}");
    assert!(told.contains("thinking: as much as the model does by itself"), "{told}");
    assert_eq!(model.requests().len(), 1, "a command was told to the model");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_tools_is_as_the_conversation_says() {
    let model = ScriptedModel::answering(|request| match request.tool_results().is_empty() {
        true => Reply::tool("read", &json!({"path": "SOUL.md"})),
        false => Reply::text("read"),
    });
    let home = home(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    for (level, expected) in [("off", ""), ("on", "start result"), ("full", "start result+text")] {
        let mut client = owner(&gateway).await;
        let session = format!("agent:main:{level}");
        let patch = json!({"key": session, "verboseLevel": level});
        client.call("sessions.patch", patch).await.unwrap();
        let run = client.send_chat(&session, "go").await;
        let mut told = Vec::new();
        loop {
            let event = client.event("agent").await;
            if event["runId"] != run.as_str() {
                continue;
            }
            match event["stream"].as_str() {
                Some("tool") if event["data"].get("result").is_some() => told.push("result+text".to_owned()),
                Some("tool") => told.push(event["data"]["phase"].as_str().unwrap().to_owned()),
                Some("lifecycle") if event["data"]["phase"] == "end" => break,
                _ => {}
            }
        }
        assert_eq!(told.join(" "), expected, "{level}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_reads_its_own_status_and_a_hook_does_not() {
    let model = ScriptedModel::answering(|request| {
        let ask = |arguments| Reply::tool("session_status", &arguments);
        match (request.tool_results().len(), request.last_user_text().contains("set it")) {
            (0, true) | (2, false) => ask(json!({})),
            (1, true) => ask(json!({"model": "scripted/second"})),
            _ => Reply::text("told"),
        }
    });
    let home = home(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    client.chat("main", "set it").await;
    let results = model.requests().last().unwrap().tool_results();
    for part in ["session: agent:main:main", "model: scripted/scripted (of the agent)", "sandbox: ", "used: "]
    {
        assert!(results[0].contains(part), "{part} in {results:?}");
    }
    assert!(results[1].contains("model"), "it sets nothing: {results:?}");
    let status = says(&mut client, "main", "/status").await;
    assert!(status.contains("(of the agent)"), "{status}");
    assert_eq!(book(&home, "session.status").len(), 1);
    // A caller from outside has no such tool, and its words are no command.
    let bearer = format!("Bearer {HOOK_TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let asked = model.requests().len();
    let body = json!({"text": "/think high"}).to_string();
    let answer = http(gateway.port(), "POST", "/hooks/wake", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let requests = model.wait_for_requests(asked + 2);
    let last = requests.last().unwrap();
    assert!(!last.tools().contains(&"session_status".to_owned()), "{:?}", last.tools());
    assert!(last.tool_results().last().unwrap().contains("there is no tool `session_status`"));
    let status = says(&mut client, "main", "/status").await;
    assert!(status.contains("thinking: as much as the model does"), "{status}");
    assert!(book(&home, "session.set").is_empty());
}

/// Who may write may not make turns dearer; nor may who was let in on a channel, or anybody in a group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_owner_sets_anything() {
    let (api, model) = (TelegramApi::start(), ScriptedModel::answering(|_| Reply::text("yes")));
    let home = home(&model);
    let group = api.group("Home");
    let listed = group["id"].to_string();
    home.change_config(|config| {
        config["channels"] = json!({"telegram": {
            "botToken": api.token(), "apiRoot": api.root(), "allowFrom": [500, 1001], "groupAllowFrom": [500, 1001],
            "groups": {listed: {"requireMention": false}},
        }});
        config["session"] = json!({"dmScope": "per-channel-peer"});
        config["commands"] = json!({"ownerAllowFrom": ["telegram:default:user:500"]});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let writer = gateway.connect().scopes(&["operator.write", "operator.read"]).open().await.unwrap();
    for text in ["/model scripted/second", "/think high", "/verbose off"] {
        let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": unique("k")});
        let refused = writer.call("chat.send", params).await.unwrap_err();
        assert!(refused.message.contains("missing scope: operator.admin"), "{text}: {}", refused.message);
    }
    let refused = writer.call("sessions.patch", json!({"key": "main", "thinkingLevel": "high"})).await;
    assert!(refused.unwrap_err().message.contains("missing scope: operator.admin"));
    let (olga, ann) = (Person::new(500, "Olga", None), Person::new(1001, "Ann", Some("ann")));
    api.write(&ann, "/model scripted/second");
    assert!(api.wait_for_sent(1001, 1)[0].text.contains("is the owner's"));
    let chat = group["id"].as_i64().unwrap();
    for (count, person) in [&ann, &olga].into_iter().enumerate() {
        api.post(&group, person, &json!({"text": "/think xhigh"}));
        assert!(api.wait_for_sent(chat, count + 1)[count].text.contains("is the owner's"));
    }
    assert!(book(&home, "session.set").is_empty());
    api.write(&olga, "/think high");
    let told = api.wait_for_sent(500, 1).remove(0).text;
    assert!(told.contains("thinking: high (of this conversation)"), "{told}");
    api.write(&olga, "hello");
    api.wait_for_sent(500, 2);
    assert_eq!(asked(model.requests().last().unwrap()).1, "high");
    let set = book(&home, "session.set");
    assert_eq!((set.len(), &set[0]["actor"]), (1, &json!("owner:telegram:default:user:500")));
}
