//! Updates that Telegram posts: taken once each and in order, and nothing of anybody else's.

use std::time::Duration;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::{HttpAnswer, http};
use moltbot_testkit::telegram::{Fault, TelegramApi};
use serde_json::{Value, json};

use super::{PROGRAM, Stage, ann, texts};

const SECRET: &str = "w8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
const URL: &str = "https://bot.example.org/telegram-webhook";

/// A gateway to which Telegram posts.
fn stage() -> Stage {
    let mut stage =
        Stage::with(|_| json!({"allowFrom": [ann().id], "webhookUrl": URL, "webhookSecret": SECRET}));
    stage.api.post_through(stage.gateway.port());
    stage.api.wait_for_calls("setWebhook", 1);
    stage
}

fn update(number: i64, text: &str) -> Value {
    let ann = ann().json();
    json!({"update_id": number, "message": {
        "message_id": 9000 + number, "date": 1_900_000_000, "text": text, "from": ann,
        "chat": {"id": 1001, "type": "private", "first_name": "Ann"},
    }})
}

/// Posts as somebody who has found the address.
fn post(stage: &Stage, secret: Option<&str>, body: &str) -> HttpAnswer {
    let mut headers = vec![("Host", "bot.example.org"), ("X-Forwarded-For", "203.0.113.9")];
    headers.extend(secret.map(|secret| ("X-Telegram-Bot-Api-Secret-Token", secret)));
    http(stage.gateway.port(), "POST", "/telegram-webhook", &headers, body.as_bytes())
}

#[test]
fn updates_that_are_posted_are_answered_once_each_and_in_order() {
    let mut stage = stage();
    let ann = ann();
    stage.api.fail("post", [Fault::DropAfter]);
    for number in 0..4 {
        stage.api.write(&ann, &number.to_string());
    }
    let expected: Vec<String> = (0..4).map(|number| echo_of(&number.to_string())).collect();
    assert_eq!(texts(&stage.api.wait_for_sent(ann.id, 4)), expected);
    stage.api.wait_until_confirmed();
    assert_eq!(stage.asked().len(), 4, "the one whose answer was lost came twice and was taken once");
    assert!(stage.api.posts().len() > 4, "{:?}", stage.api.posts());
    assert_eq!(stage.api.count("getUpdates"), 0);
    let set = stage.api.calls().into_iter().find(|call| call.method == "setWebhook").unwrap().parameters;
    assert_eq!(set.text("secret_token").as_deref(), Some(SECRET));
    assert_eq!(set.json("drop_pending_updates"), Some(json!(false)));
    assert_eq!(set.json("allowed_updates").unwrap()[0], "message");
    assert_eq!(stage.api.count("deleteWebhook"), 0);
    stage.gateway.terminate();
    assert_eq!(stage.api.count("deleteWebhook"), 1, "nobody listens there any more");
}

#[test]
fn killed_at_any_point_nothing_that_is_posted_is_lost_or_taken_twice() {
    let mut stage = stage();
    let ann = ann();
    for number in 0..12_u32 {
        stage.api.write(&ann, &number.to_string());
        if number % 3 == 2 {
            std::thread::sleep(Duration::from_millis(u64::from(number) * 7));
            stage.gateway.kill9();
            stage.gateway.restart(&stage.home);
        }
    }
    let expected: Vec<String> = (0..12).map(|number| echo_of(&number.to_string())).collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let sent = stage.api.sent_to(ann.id);
        let mut answers = texts(&sent);
        answers.dedup(); // one that Telegram took right before a kill
        if answers.len() == expected.len() {
            assert_eq!(answers, expected);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{answers:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.api.wait_until_confirmed();
}

#[test]
fn c01_a_post_without_the_secret_is_refused_unread_and_guessing_is_throttled() {
    let stage = stage();
    let body = update(1, "let me in").to_string();
    let mut statuses = vec![
        post(&stage, None, &body).status,
        post(&stage, Some(""), &body).status,
        post(&stage, Some(&SECRET.to_lowercase()), &body).status,
        post(&stage, SECRET.get(..42), &"x".repeat(300_000)).status,
        post(&stage, Some(stage.gateway.token()), &body).status,
    ];
    assert_eq!(statuses, [401; 5]);
    statuses = vec![post(&stage, Some("x"), &body).status, post(&stage, Some(SECRET), &body).status];
    assert_eq!(statuses, [429; 2], "after five failures not even the right one is compared");
    assert!(stage.asked().is_empty() && stage.api.sent().is_empty());
}

#[test]
fn what_is_posted_twice_too_large_or_no_update_causes_nothing() {
    let stage = stage();
    stage.api.write(&ann(), "hello");
    stage.api.wait_for_sent(1001, 1);
    let body = update(1, "once").to_string();
    for _ in 0..3 {
        assert_eq!(post(&stage, Some(SECRET), &body).status, 200);
    }
    stage.api.wait_for_sent(1001, 2);
    let mut again: Value = serde_json::from_str(&body).unwrap();
    again["update_id"] = json!(2); // an old message under a new number
    assert_eq!(post(&stage, Some(SECRET), &again.to_string()).status, 200);
    for (body, expected) in [
        (update(3, &"x".repeat(300_000)).to_string(), 413),
        ("{}".to_owned(), 400),
        ("[".repeat(10_000), 400),
        ("not json".to_owned(), 400),
        (json!({"update_id": 4, "message": 7}).to_string(), 200), // unreadable for us, and told once
    ] {
        let answer = post(&stage, Some(SECRET), &body);
        assert_eq!(answer.status, expected, "{}", body.get(..80).unwrap_or(&body));
    }
    let headers = [("Host", "bot.example.org"), ("X-Telegram-Bot-Api-Secret-Token", SECRET)];
    let get = http(stage.gateway.port(), "GET", "/telegram-webhook", &headers, b"");
    assert_eq!(get.status, 405);
    let foreign = [("Host", "evil.example.org"), ("X-Telegram-Bot-Api-Secret-Token", SECRET)];
    let foreign = http(stage.gateway.port(), "POST", "/telegram-webhook", &foreign, body.as_bytes());
    assert_eq!(foreign.status, 403, "only under its own name");
    let elsewhere = http(stage.gateway.port(), "POST", "/v1/chat/completions", &headers, b"{}");
    assert_eq!(elsewhere.status, 401, "the secret opens nothing else");
    assert_eq!(stage.asked(), ["hello", "once"]);
}

#[test]
fn c01_a_webhook_that_cannot_be_safe_stops_the_start() {
    let api = TelegramApi::start();
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let token = home.token().unwrap();
    let base = json!({"botToken": api.token(), "apiRoot": api.root(), "webhookUrl": URL});
    for (change, expected) in [
        (json!({}), "webhookUrl needs webhookSecret"),
        (json!({"webhookSecret": ""}), "webhookSecret"),
        (json!({"webhookSecret": "short"}), "at least 32 characters"),
        (json!({"webhookSecret": "0123456789abcdef0123456789abcdef"}), "hex has only 16"),
        (json!({"webhookSecret": token}), "webhookSecret of telegram:default"),
        (json!({"webhookSecret": SECRET, "webhookUrl": "http://bot.example.org/x"}), "https://"),
        (json!({"webhookSecret": SECRET, "webhookUrl": "https://bot.example.org"}), "cannot be at \"/\""),
        (json!({"webhookSecret": SECRET, "webhookPath": "/v1/x"}), "a path of the gateway's own"),
        (json!({"webhookSecret": SECRET, "webhookPath": "no-slash"}), "webhookPath"),
    ] {
        let mut telegram = base.clone();
        telegram.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        home.change_config(|config| config["channels"] = json!({"telegram": telegram}));
        let ran = run(PROGRAM, &home, &["gateway", "run"]);
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(78), "{change}: {told}");
        assert!(told.contains(expected), "{change}: {told}");
        assert!(!told.contains(SECRET) && !told.contains(&token), "{told}");
    }
    assert_eq!(api.count("setWebhook"), 0);
}

#[test]
fn two_bots_have_two_paths_and_two_secrets() {
    let (api, model) = (TelegramApi::start(), ScriptedModel::echo());
    let home = Home::with_model(&model);
    let account = |path: &str, secret: &str| json!({"botToken": api.token(), "webhookUrl": format!("https://bot.example.org/{path}"), "webhookSecret": secret});
    let other: String = SECRET.chars().rev().collect();
    for (a, b, expected) in [
        (account("a", SECRET), account("a", &other), Some("another account has it")),
        (account("a", SECRET), account("b", SECRET), Some("also a credential elsewhere")),
        (account("a", SECRET), account("b", &other), None),
    ] {
        let telegram = json!({"apiRoot": api.root(), "accounts": {"a": a, "b": b}});
        home.change_config(|config| config["channels"] = json!({"telegram": telegram}));
        match expected {
            Some(expected) => {
                let ran = run(PROGRAM, &home, &["gateway", "run"]);
                let told = String::from_utf8_lossy(&ran.stderr).into_owned();
                assert!(ran.status.code() == Some(78) && told.contains(expected), "{told}");
            }
            None => {
                let gateway = Gateway::start(PROGRAM, &home);
                let headers = [("Host", "bot.example.org"), ("X-Telegram-Bot-Api-Secret-Token", SECRET)];
                let crossed = http(gateway.port(), "POST", "/b", &headers, b"{}");
                assert_eq!(crossed.status, 401, "the secret of one bot is not the other's");
            }
        }
    }
}
