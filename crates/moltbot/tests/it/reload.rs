//! A config that is changed while the gateway runs, through the real binary: what counts at once, what waits, and what is
//! never taken up.

use std::time::{Duration, Instant};

use moltbot_testkit::client::{Client, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const KEY: &str = "Zq8vN3xT6bW1rY5kHs9LmC2pFjD7gQe4";

async fn owner(gateway: &Gateway) -> Client {
    let connect =
        gateway.connect().scopes(&["operator.admin"]).device(&Device::from_seed(1), SignatureVersion::V3);
    connect.open().await.unwrap_or_else(|rejection| panic!("{rejection:?}"))
}

fn said(home: &Home, arguments: &[&str]) -> String {
    let ran = run(PROGRAM, home, arguments);
    String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
}

/// The config of a home as one line of JSON, changed.
fn changed(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut config: Value = serde_json::from_str(text).unwrap();
    change(&mut config);
    config.to_string()
}

/// Waits until `status` says so of the config.
async fn until(client: &Client, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = client.call("status", json!({})).await.unwrap()["config"].clone();
        if is_so(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes a config one that no gateway starts with.
type Spoil<'s> = &'s dyn Fn(&mut Value, usize);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_count_at_once_does_and_the_rest_is_told() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let good = home.config_text().unwrap();
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    home.write_config_text(&changed(&good, |config| {
        config["hooks"] = json!({"enabled": true, "token": KEY});
        config["agents"]["defaults"]["timeoutSeconds"] = json!(77);
    }));
    let told = client.event("config.changed").await;
    assert_eq!(told["valid"], true, "{told}");
    assert_eq!(told["applied"], json!(["hooks.enabled", "hooks.token"]));
    assert_eq!(told["restart"], json!(["agents.defaults.timeoutSeconds"]));
    assert!(!told.to_string().contains(KEY));
    // The hooks are answered without a restart.
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer =
        moltbot_testkit::raw::http(gateway.port(), "POST", "/hooks/wake", &headers, br#"{"text":"now"}"#);
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    let status =
        until(&client, "told", |status| status["restart"] == json!(["agents.defaults.timeoutSeconds"])).await;
    assert_eq!(status["valid"], true);
    let book = said(&home, &["ledger", "search", "--action", "config.change", "--json"]);
    assert!(
        book.contains("hooks.enabled: added true") && book.contains("reload") && !book.contains(KEY),
        "{book}"
    );
    // Taken back, nothing waits any more.
    home.write_config_text(&good);
    until(&client, "taken back", |status| status["restart"] == json!([])).await;
    let answer =
        moltbot_testkit::raw::http(gateway.port(), "POST", "/hooks/wake", &headers, br#"{"text":"now"}"#);
    assert!(!(200..300).contains(&answer.status), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_bad_edits_under_load_never_change_what_runs() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| config["hooks"] = json!({"enabled": true, "token": KEY}));
    let good = home.config_text().unwrap();
    let gateway = Gateway::start(PROGRAM, &home);
    let client = owner(&gateway).await;
    let running = client.call("config.get", json!({})).await.unwrap()["config"].clone();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = {
        let (stop, mut talker) = (std::sync::Arc::clone(&stop), owner(&gateway).await);
        tokio::spawn(async move {
            let mut answered = 0_usize;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(talker.chat("main", "still here?").await.state, "final");
                answered += 1;
            }
            answered
        })
    };
    let bad: [Spoil<'_>; 9] = [
        &|config, _| config["channels"]["telegram"] = json!({"dmPolicy": "open", "allowFrom": ["*"]}),
        &|config, _| config["channels"]["irc"] = json!({"host": "irc.example", "allowFrom": ["*"]}),
        &|config, n| config["gateway"]["auth"] = json!({"token": format!("short{n}")}),
        &|config, _| config["gateway"]["controlUi"] = json!({"dangerouslyDisableDeviceAuth": true}),
        &|config, _| config["agents"]["defaults"]["sandbox"] = json!({"docker": {"privileged": true}}),
        &|config, n| config["gateway"]["prot"] = json!(n),
        &|config, n| config["hooks"]["token"] = json!(format!("weak{n}")),
        &|config, _| config["gateway"]["mode"] = json!("remote"),
        &|config, _| config["env"] = json!({"LD_PRELOAD": "/tmp/x.so"}),
    ];
    for number in 0..100_usize {
        let text = match number % 11 {
            9 => format!("{{ half of a config {number}"),
            10 => String::new(),
            kind => changed(&good, |config| bad[kind](config, number)),
        };
        home.write_config_text(&text);
        // Most are over before the file was still; some are looked at.
        tokio::time::sleep(Duration::from_millis(if number % 10 == 0 { 900 } else { 20 })).await;
    }
    let status = until(&client, "the last bad edit is told", |status| status["valid"] == false).await;
    assert!(status["error"].as_str().unwrap().contains("not valid"), "{status}");
    let told = client.call("config.get", json!({})).await.unwrap();
    assert_eq!((&told["config"], &told["valid"]), (&running, &json!(false)));
    // What runs has the hooks and the credential of before.
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer =
        moltbot_testkit::raw::http(gateway.port(), "POST", "/hooks/wake", &headers, br#"{"text":"now"}"#);
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    drop(owner(&gateway).await);
    let book = said(&home, &["ledger", "search", "--action", "config.change", "--json"]);
    assert!(!book.contains("reload"), "nothing was taken up: {book}");
    home.write_config_text(&good);
    until(&client, "the good one is back", |status| status["valid"] == true).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(load.await.unwrap() > 10, "there was load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_changes_the_config_by_what_it_has_seen() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let good = home.config_text().unwrap();
    home.write_config_text(&good.replacen('{', "{ // mine\n", 1));
    let gateway = Gateway::start(PROGRAM, &home);
    let client = owner(&gateway).await;
    let seen = client.call("config.get", json!({})).await.unwrap();
    let token = home.token().unwrap();
    assert!(!seen.to_string().contains(&token), "{seen}");
    let hash = seen["hash"].as_str().unwrap().to_owned();
    let refused = |params: Value, method: &'static str| {
        let client = &client;
        async move { client.call(method, params).await.unwrap_err().message }
    };
    let raw = seen["raw"].as_str().unwrap();
    let said = refused(json!({"raw": raw}), "config.set").await;
    assert!(said.contains("base hash required"), "{said}");
    let said = refused(json!({"raw": raw, "baseHash": "0"}), "config.set").await;
    assert!(said.contains("config changed since last load"), "{said}");
    for (patch, expected) in [
        (json!({"channels": {"telegram": {"dmPolicy": "open", "allowFrom": ["*"]}}}), "dmPolicy"),
        (json!({"gateway": {"auth": {"token": "short"}}}), "token"),
        (json!({"gateway": {"auth": {"password": "***"}}}), "gateway.auth.password"),
        (json!({"nonsense": 1}), "nonsense"),
        (json!({"env": {"LD_PRELOAD": "x"}}), "LD_PRELOAD"),
    ] {
        let said = refused(json!({"raw": patch.to_string(), "baseHash": hash}), "config.patch").await;
        assert!(said.contains(expected), "{patch}: {said}");
    }
    assert!(home.config_text().unwrap().starts_with("{ // mine\n"), "nothing was written");
    // What was shown as *** goes on being what it is, and comments stay.
    let mut wanted: Value = serde_json::from_str(raw).unwrap();
    wanted["logging"] = json!({"level": "debug"});
    let answer =
        client.call("config.set", json!({"raw": wanted.to_string(), "baseHash": hash})).await.unwrap();
    assert_eq!(answer["ok"], true, "{answer}");
    let text = home.config_text().unwrap();
    assert!(text.starts_with("{ // mine\n") && text.contains("\"debug\"") && !text.contains("***"), "{text}");
    let seen = client.call("config.get", json!({})).await.unwrap();
    assert_eq!(seen["config"]["logging"]["level"], "debug");
    let hash = seen["hash"].as_str().unwrap();
    let patch = json!({"logging": null, "agents": {"defaults": {"timeoutSeconds": 99}}}).to_string();
    let answer = client.call("config.patch", json!({"raw": patch, "baseHash": hash})).await.unwrap();
    // Secrets that the first change has sealed are told as changed: their text is another one.
    let paths =
        json!(["agents.defaults.timeoutSeconds", "gateway.auth.token", "models.providers.scripted.apiKey"]);
    assert_eq!(answer["restart"]["paths"], paths, "{answer}");
    assert_eq!(answer["restart"]["applied"], json!(["logging.level"]), "{answer}");
    // A secret of a client is sealed before it is on the disk.
    let seen = client.call("config.get", json!({})).await.unwrap();
    let patch = json!({"hooks": {"enabled": true, "token": KEY}}).to_string();
    let answer = client.call("config.patch", json!({"raw": patch, "baseHash": seen["hash"]})).await.unwrap();
    assert!(!answer.to_string().contains(KEY));
    let text = home.config_text().unwrap();
    assert!(!text.contains(KEY) && text.contains("sealed:v1:"), "{text}");
    drop(client);
    // The credential goes on as it was.
    drop(owner(&gateway).await);
    let schema = owner(&gateway).await.call("config.schema", json!({})).await.unwrap();
    assert!(schema["schema"]["properties"]["gateway"].is_object());
    let history = self::said(&home, &["config", "history"]);
    assert!(history.contains("config.patch") && history.contains("config.set"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_administer_changes_nothing() {
    let home = Home::with_model(&ScriptedModel::echo());
    let gateway = Gateway::start(PROGRAM, &home);
    let connect = gateway.connect().scopes(&["operator.read", "operator.write"]);
    let client = connect.device(&Device::from_seed(2), SignatureVersion::V3).open().await.unwrap();
    for method in ["config.set", "config.patch", "config.apply", "config.schema"] {
        let said = client.call(method, json!({"raw": "{}", "baseHash": "0"})).await.unwrap_err().message;
        assert!(said.contains("missing scope: operator.admin"), "{method}: {said}");
    }
}
