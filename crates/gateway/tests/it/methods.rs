use moltbot_testkit::client::Connect;
use moltbot_testkit::home::PROVIDER_KEY;
use serde_json::{Value, json};

use crate::house::House;

type Shape = (&'static str, Value, &'static str);

/// Methods, what they are called with, and the members of their answers.
fn shapes_of_gateway() -> Vec<Shape> {
    vec![
        (
            "health",
            json!({}),
            "agents channelLabels channelOrder channels defaultAgentId durationMs heartbeatSeconds ledger ok quarantined sandbox sessions stopped store ts",
        ),
        (
            "status",
            json!({}),
            "channelSummary config connections heartbeat ledger ledgerFlushes model pid port quarantined queuedSystemEvents runs sandbox security sessions stopped storeCommits uptimeMs version",
        ),
        ("agents.list", json!({}), "agents defaultId mainKey scope"),
        ("models.list", json!({}), "models"),
        ("models.scan", json!({}), "failed models"),
        ("models.test", json!({}), "durationMs model ok provider text tried usage"),
        ("sessions.list", json!({"includeGlobal": false}), "count defaults path sessions ts"),
        ("sessions.preview", json!({"keys": ["main", "nothing"]}), "previews ts"),
        (
            "chat.history",
            json!({"sessionKey": "main", "limit": 10}),
            "messages sessionId sessionKey thinkingLevel",
        ),
        (
            "config.get",
            json!({}),
            "config exists hash issues legacyIssues parsed path raw restart valid warnings",
        ),
        ("agent.identity.get", json!({"sessionKey": "notes"}), "agentId avatar name"),
        (
            "channels.status",
            json!({"probe": true, "timeoutMs": 1000}),
            "channelAccounts channelDefaultAccountId channelDetailLabels channelLabels channelMeta channelOrder channelSystemImages channels ts",
        ),
    ]
}

fn shapes_of_features() -> Vec<Shape> {
    let session = json!({"key": "agent:main:notes"});
    vec![
        ("commands.list", json!({"agentId": "main", "scope": "text", "includeArgs": false}), "commands"),
        (
            "cron.list",
            json!({"includeDisabled": true}),
            "hasMore jobs limit nextOffset offset snapshotRevision total",
        ),
        ("cron.status", json!({}), "enabled jobs nextWakeAtMs storePath"),
        ("logs.tail", json!({"limit": 10}), "cursor file lines reset size truncated"),
        ("node.list", json!({}), "nodes ts"),
        ("question.list", json!({}), "questions"),
        ("sessions.compact", session.clone(), "compacted key ok reason"),
        ("sessions.describe", session.clone(), "session"),
        ("sessions.patch", json!({"key": "notes", "label": "A list"}), "entry key ok path resolved"),
        ("sessions.resolve", json!({"label": "A list"}), "key ok"),
        ("sessions.subscribe", json!({}), "subscribed"),
        ("skills.status", json!({}), "skills"),
        ("taskSuggestions.list", json!({}), "suggestions"),
        ("tts.status", json!({}), "auto enabled fallbackProvider fallbackProviders provider"),
        ("usage.cost", json!({"days": 7}), "daily days totals updatedAt"),
        ("usage.status", json!({}), "providers updatedAt"),
        ("voicewake.get", json!({}), "triggers"),
        ("sessions.release", session.clone(), "key ok released"),
        ("sessions.reset", session.clone(), "entry key ok"),
        ("sessions.delete", session, "archived deleted key ok"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_in_the_shape_that_clients_read() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("main", "hello").await;
    client.chat("notes", "list").await;
    for (method, params, members) in shapes_of_gateway().into_iter().chain(shapes_of_features()) {
        let answer = client.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error:?}"));
        let found: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), members, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_config_is_shown_without_its_secrets() {
    let house = House::echo().await;
    let config = house.client().await.call("config.get", json!({})).await.unwrap();
    assert_eq!(config["config"]["gateway"]["port"], json!(house.port()));
    let text = config.to_string();
    assert!(!text.contains(&house.token()), "the gateway's token");
    assert!(!text.contains(PROVIDER_KEY), "the provider's key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_administer_is_told_of_the_config_that_it_is_there() {
    let house = House::echo().await;
    let reader =
        Connect::to(house.port()).token(&house.token()).scopes(&["operator.read"]).open().await.unwrap();
    let config = reader.call("config.get", json!({})).await.unwrap();
    let expected = [
        ("exists", json!(true)),
        ("valid", json!(true)),
        ("config", json!({})),
        ("raw", Value::Null),
        ("parsed", Value::Null),
        ("path", Value::Null),
    ];
    for (member, value) in expected {
        assert_eq!(config[member], value, "{member}");
    }
    let port = house.port().to_string();
    let text = config.to_string();
    let path = house.home.config_path();
    for word in [port.as_str(), "gateway", "scripted", &path.to_string_lossy()] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_previewed_begun_anew_and_deleted() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("main", "hello").await;
    client.chat("notes", "a list").await;
    let list = client.call("sessions.list", json!({"includeDerivedTitles": true, "search": "NOTES"})).await;
    let list = list.unwrap();
    assert_eq!(list["count"], 1);
    let row = &list["sessions"][0];
    assert_eq!((&row["key"], &row["derivedTitle"]), (&json!("agent:main:notes"), &json!("a list")));
    assert_eq!((&row["kind"], &row["messageCount"]), (&json!("direct"), &json!(2)));
    let keys = json!({"keys": ["notes", "nothing"], "maxChars": 4});
    let previews = client.call("sessions.preview", keys).await.unwrap();
    let items = json!([{"role": "user", "text": "a li"}, {"role": "assistant", "text": "echo"}]);
    assert_eq!(previews["previews"][0], json!({"key": "notes", "status": "ok", "items": items}));
    assert_eq!(previews["previews"][1]["status"], "missing");
    client.chat("notes", &"x".repeat(5000)).await;
    let keys = json!({"keys": vec!["notes"; 64], "limit": 100, "maxChars": 10_000});
    let previews = client.call("sessions.preview", keys).await.unwrap();
    let longest = previews["previews"][63]["items"].as_array().unwrap().iter();
    let longest = longest.map(|item| item["text"].as_str().unwrap().len()).max();
    assert_eq!(longest, Some(1_000_000 / 6400), "all texts of an answer have a limit together");

    let reset = client.call("sessions.reset", json!({"key": "notes"})).await.unwrap();
    assert_ne!(reset["entry"]["sessionId"], row["sessionId"]);
    let history = client.call("chat.history", json!({"sessionKey": "notes"})).await.unwrap();
    assert_eq!(history["messages"], json!([]));
    let deleted = client.call("sessions.delete", json!({"key": "notes"})).await.unwrap();
    assert_eq!(deleted["deleted"], true);
    let again = client.call("sessions.delete", json!({"key": "notes"})).await.unwrap();
    assert_eq!(again["deleted"], false);
    let error = client.call("sessions.delete", json!({"key": "main"})).await.unwrap_err();
    assert_eq!(error.message, "Cannot delete the main session (agent:main:main).");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_is_tried_after_the_socket_answers() {
    let house = House::echo().await;
    let mut client = house.client().await;
    let mut state = Value::Null;
    for _ in 0..100 {
        state = client.call("health", json!({})).await.unwrap()["sandbox"]["state"].clone();
        if state != json!("probing") {
            break;
        }
        client.event("health").await;
    }
    assert!(state == json!("ready") || state == json!("unavailable"), "{state}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_here_is_told_as_nothing() {
    let house = House::echo().await;
    let client = house.client().await;
    for (method, member, nothing) in [
        ("cron.list", "/jobs", json!([])),
        ("cron.status", "/enabled", json!(false)),
        ("last-heartbeat", "", Value::Null),
        ("node.list", "/nodes", json!([])),
        ("plugin.approval.list", "", json!([])),
        ("question.list", "/questions", json!([])),
        ("skills.status", "/skills", json!([])),
        ("taskSuggestions.list", "/suggestions", json!([])),
        ("tts.status", "/enabled", json!(false)),
        ("usage.status", "/providers/0/windows", json!([])),
        ("voicewake.get", "/triggers", json!([])),
    ] {
        let answer =
            client.call(method, json!({})).await.unwrap_or_else(|error| panic!("{method}: {error:?}"));
        assert_eq!(answer.pointer(member), Some(&nothing), "{method}");
        let refused = client.call(method, json!({"nonsense": 1})).await.unwrap_err();
        assert!(refused.message.starts_with(&format!("invalid {method} params: ")), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_the_gateway_and_each_other() {
    let house = House::echo().await;
    let client = house.client().await;
    let hello: Vec<Value> = client.hello["snapshot"]["presence"].as_array().unwrap().clone();
    let modes =
        |entries: &[Value]| -> Vec<Value> { entries.iter().map(|entry| entry["mode"].clone()).collect() };
    assert_eq!(modes(&hello), ["gateway", "test"], "itself and the gateway");
    let other = house.client().await;
    let present = client.call("system-presence", json!({})).await.unwrap();
    let present = present.as_array().unwrap();
    assert_eq!(modes(present), ["gateway", "test", "test"]);
    assert_eq!((&present[0]["host"], &present[0]["reason"]), (&json!("test"), &json!("self")));
    assert_eq!(present[1]["ip"], "127.0.0.1");
    assert_eq!(present[1]["deviceId"].as_str().map(str::len), Some(64));
    assert!(present[1]["scopes"].as_array().unwrap().contains(&json!("operator.admin")));
    drop(other);
    for _ in 0..200 {
        if client.call("system-presence", json!({})).await.unwrap().as_array().unwrap().len() == 2 {
            return;
        }
    }
    panic!("a client that left is still told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_named_found_by_its_name_and_refuses_what_has_no_effect() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("notes", "a list").await;
    let patched =
        client.call("sessions.patch", json!({"key": "notes", "label": " Shopping ", "agentId": "main"}));
    let patched = patched.await.unwrap();
    assert_eq!(
        (&patched["key"], &patched["entry"]["label"]),
        (&json!("agent:main:notes"), &json!("Shopping"))
    );
    for by in [
        json!({"label": "Shopping"}),
        json!({"key": "notes"}),
        json!({"sessionId": patched["entry"]["sessionId"]}),
    ] {
        let found = client.call("sessions.resolve", by.clone()).await.unwrap();
        assert_eq!(found, json!({"ok": true, "key": "agent:main:notes"}), "{by}");
    }
    let list = client.call("sessions.list", json!({"label": "Shopping"})).await.unwrap();
    assert_eq!((&list["count"], &list["sessions"][0]["label"]), (&json!(1), &json!("Shopping")));
    let described = client.call("sessions.describe", json!({"key": "notes"})).await.unwrap();
    assert_eq!(described["session"]["label"], "Shopping");
    let nothing = client.call("sessions.describe", json!({"key": "never"})).await.unwrap();
    assert_eq!(nothing, json!({"session": null}));
    // What is so already, and taking away what is not there, is no change.
    let same = json!({"key": "notes", "elevatedLevel": "off", "execHost": null});
    assert!(client.call("sessions.patch", same).await.is_ok());

    for (method, params, expected) in [
        ("sessions.patch", json!({"key": "notes", "reasoningLevel": "on"}), "reasoningLevel cannot be set: "),
        ("sessions.patch", json!({"key": "notes", "elevatedLevel": "full"}), "elevatedLevel cannot be set: "),
        ("sessions.patch", json!({"key": "notes", "execHost": "gateway"}), "execHost cannot be set: "),
        (
            "sessions.patch",
            json!({"key": "notes", "nonsense": 1}),
            "invalid sessions.patch params: unknown field",
        ),
        ("sessions.patch", json!({"key": "notes", "label": ""}), "label must have 1 to 64"),
        ("sessions.patch", json!({"key": "notes", "label": "x\ny"}), "label must have 1 to 64"),
        (
            "sessions.patch",
            json!({"key": "notes", "model": "nobody/nothing"}),
            "the model nobody/nothing is of the unknown provider",
        ),
        ("sessions.patch", json!({"key": "main", "label": "Shopping"}), "label already in use: Shopping"),
        ("sessions.patch", json!({"key": "notes", "agentId": "other"}), "agent \"other\" does not exist"),
        ("sessions.resolve", json!({"label": "nothing"}), "No session found: nothing"),
        ("sessions.resolve", json!({"key": "notes", "spawnedBy": "main"}), "No session found: notes"),
        ("sessions.resolve", json!({}), "give one of key, sessionId and label"),
        ("usage.cost", json!({"days": 0}), "days must be 1 to 366"),
        ("logs.tail", json!({"limit": 5001}), "invalid logs.tail params: limit must be 1 to 5000"),
        ("agent.identity.get", json!({"agentId": "other"}), "agent \"other\" does not exist"),
    ] {
        let error = client.call(method, params.clone()).await.unwrap_err();
        assert!(error.message.starts_with(expected), "{method} {params}: {}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_summarised_when_a_client_asks_for_it() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("notes", "a list").await;
    let short = client.call("sessions.compact", json!({"key": "notes", "maxLines": 2})).await.unwrap();
    assert_eq!((&short["compacted"], &short["kept"]), (&json!(false), &json!(2)));
    let compacted = client.call("sessions.compact", json!({"key": "notes", "maxLines": 1})).await.unwrap();
    assert_eq!(
        (&compacted["compacted"], compacted["reason"].as_str()),
        (&json!(true), Some("2 messages are summarised. They stay in the transcript."))
    );
    let never = client.call("sessions.compact", json!({"key": "never"})).await.unwrap();
    assert_eq!((&never["compacted"], &never["reason"]), (&json!(false), &json!("no transcript")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chosen_model_is_the_one_that_is_asked() {
    let house = House::changed(|config| {
        let models = &mut config["models"]["providers"]["scripted"]["models"];
        models
            .as_array_mut()
            .unwrap()
            .push(json!({"id": "second", "contextWindow": 50_000, "maxTokens": 1000}));
    })
    .await;
    let mut client = house.client().await;
    let patched =
        client.call("sessions.patch", json!({"key": "notes", "model": "scripted/second"})).await.unwrap();
    assert_eq!(patched["resolved"], json!({"modelProvider": "scripted", "model": "second"}));
    client.chat("notes", "by the second").await;
    client.chat("main", "by the first").await;
    client.call("sessions.reset", json!({"key": "notes"})).await.unwrap();
    client.chat("notes", "by the second again").await;
    client.call("sessions.patch", json!({"key": "notes", "model": null})).await.unwrap();
    client.chat("notes", "by the first again").await;
    let asked: Vec<Value> =
        house.model.requests().iter().map(|request| request.body["model"].clone()).collect();
    assert_eq!(asked, ["second", "scripted", "second", "scripted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_for_it_is_told_when_a_session_changes() {
    let house = House::echo().await;
    let (mut client, mut other) = (house.client().await, house.client().await);
    client.chat("notes", "a list").await;
    client.call("sessions.subscribe", json!({})).await.unwrap();
    client.call("sessions.patch", json!({"key": "notes", "label": "List"})).await.unwrap();
    let mut told = client.event("sessions.changed").await;
    if told["phase"] == "end" {
        // Of the run before, whose answer was there a moment earlier.
        told = client.event("sessions.changed").await;
    }
    assert_eq!((&told["sessionKey"], &told["reason"]), (&json!("agent:main:notes"), &json!("patch")));
    let reset = other.call("sessions.reset", json!({"key": "notes"})).await.unwrap();
    let told = client.event("sessions.changed").await;
    assert_eq!((&told["reason"], &told["sessionId"]), (&json!("reset"), &reset["entry"]["sessionId"]));
    let run = client.send_chat("notes", "more").await;
    let told = client.event("sessions.changed").await;
    assert_eq!((&told["phase"], &told["runId"]), (&json!("end"), &json!(run)));
    // Who did not ask hears of runs, and nothing of sessions.
    other.send_chat("notes", "again").await;
    loop {
        let event = other.next_event().await.expect("an open connection");
        assert_ne!(event.event, "sessions.changed");
        if event.event == "chat" && event.payload.is_some_and(|chat| chat["state"] == "final") {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_in_a_session_that_was_begun_anew_since() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("notes", "a list").await;
    let id = client.call("sessions.describe", json!({"key": "notes"})).await.unwrap()["session"]["sessionId"]
        .clone();
    let send = |key: &str| json!({"sessionKey": "notes", "sessionId": id, "agentId": "main", "message": "more", "idempotencyKey": key});
    assert!(client.call("chat.send", send("one")).await.is_ok());
    client.call("sessions.reset", json!({"key": "notes", "reason": "new"})).await.unwrap();
    let refused = client.call("chat.send", send("two")).await.unwrap_err();
    assert!(refused.message.contains("was begun anew since"), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_told_by_day_without_a_price() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("main", "hello").await;
    client.chat("notes", "hello").await;
    let cost = client.call("usage.cost", json!({"days": 2})).await.unwrap();
    assert_eq!((&cost["days"], &cost["totals"]["turns"]), (&json!(2), &json!(2)));
    assert_eq!(cost["totals"]["missingCostEntries"], 2, "no turn has a price");
    let list = client.call("sessions.list", json!({})).await.unwrap();
    let tokens: u64 =
        list["sessions"].as_array().unwrap().iter().map(|row| row["totalTokens"].as_u64().unwrap()).sum();
    assert_eq!(cost["totals"]["totalTokens"], tokens);
}
