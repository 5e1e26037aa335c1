//! Telegram through the real program, against a strict stand-in of its Bot API.

use std::time::Duration;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::telegram::{Fault, Person, Sent, TelegramApi};
use serde_json::{Value, json};

mod bindings;
mod buttons;
mod commands;
mod doctor;
mod files;
mod kill;
mod leaks;
mod queue;
mod strangers;
mod webhook;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// The first words of what a stranger is told.
const CODE: &str = "Pairing code: ";

/// A gateway with a bot, a model that echoes, and Telegram.
pub(super) struct Stage {
    pub(super) api: TelegramApi,
    pub(super) model: ScriptedModel,
    pub(super) home: Home,
    pub(super) gateway: Gateway,
}

impl Stage {
    /// With these settings of `channels.telegram` besides those that lead to the stand-in.
    pub(super) fn with(settings: impl FnOnce(&TelegramApi) -> Value) -> Self {
        let (api, model) = (TelegramApi::start(), ScriptedModel::echo());
        let home = Home::with_model(&model);
        let mut telegram = json!({"botToken": api.token(), "apiRoot": api.root()});
        telegram.as_object_mut().unwrap().extend(settings(&api).as_object().unwrap().clone());
        home.change_config(|config| {
            config["channels"] = json!({"telegram": telegram});
            config["session"] = json!({"dmScope": "per-channel-peer"});
            config["messages"] = json!({"queue": {"mode": "followup"}});
        });
        let gateway = Gateway::start(PROGRAM, &home);
        Self { api, model, home, gateway }
    }

    /// The same, with an owner who has said who he is.
    pub(super) fn with_owner(owner: &str, settings: impl FnOnce(&TelegramApi) -> Value) -> Self {
        let mut stage = Self::with(settings);
        stage.gateway.terminate();
        stage.home.change_config(|config| config["commands"] = json!({"ownerAllowFrom": [owner]}));
        stage.gateway.restart(&stage.home);
        stage
    }

    /// Runs the program with these arguments; answers what it printed.
    pub(super) fn moltbot(&self, arguments: &[&str]) -> (i32, String) {
        let ran = run(PROGRAM, &self.home, arguments);
        let text =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        (ran.status.code().unwrap_or(-1), text)
    }

    /// Approves whoever has that code.
    fn approve(&self, person: &Person, code: &str) {
        let id = format!("telegram:default:user:{}", person.id);
        let (status, text) = self.moltbot(&["pairing", "approve", "telegram", code, "--acknowledge", &id]);
        assert_eq!(status, 0, "{text}");
    }

    /// Waits until the state of the bot is one that `is_it` likes; answers it.
    fn state_that(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let (status, text) = self.moltbot(&["gateway", "call", "channels.status"]);
            assert_eq!(status, 0, "{text}");
            let all: Value =
                text.find('{').map(|at| serde_json::from_str(text.get(at..).unwrap()).unwrap()).unwrap();
            let state = &all["channelAccounts"]["telegram"][0];
            if is_it(state) {
                return state.clone();
            }
            assert!(std::time::Instant::now() < deadline, "{all}");
        }
    }

    /// What the model was asked.
    fn asked(&self) -> Vec<String> {
        self.model.requests().iter().map(|request| request.last_user_text()).collect()
    }
}

pub(super) fn ann() -> Person {
    Person::new(1001, "Ann", Some("ann"))
}

fn eve() -> Person {
    Person::new(6666, "Eve", Some("eve"))
}

fn code_in(sent: &Sent) -> String {
    let rest = sent.text.strip_prefix(CODE).unwrap_or_else(|| panic!("no code: {sent:?}"));
    rest.chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn texts(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|sent| sent.text.as_str()).collect()
}

#[test]
fn a_stranger_gets_a_code_and_nothing_else_and_is_answered_while_the_owner_wants_it() {
    let stage = Stage::with(|_| json!({}));
    let ann = ann();
    stage.api.write(&ann, "let me in");
    stage.api.write(&ann, "hello?");
    let told = stage.api.wait_for_sent(ann.id, 1);
    let code = code_in(&told[0]);
    stage.api.wait_until_confirmed();
    stage.approve(&ann, &code);
    let first = stage.api.write(&ann, "are you there?");
    let answered = stage.api.wait_for_sent(ann.id, 2);
    assert_eq!(texts(&answered[1..]), [echo_of("are you there?")]);
    assert_eq!(answered[1].reply_to, Some(first));
    assert!(stage.api.count("sendChatAction") > 0, "it is shown that an answer is being written");
    let (status, text) = stage.moltbot(&["pairing", "revoke", &format!("telegram:default:user:{}", ann.id)]);
    assert_eq!(status, 0, "{text}");
    stage.api.write(&ann, "and now?");
    stage.api.wait_until_confirmed();
    stage.api.write(&eve(), "a stranger behind her");
    stage.api.wait_for_sent(eve().id, 1);
    let after = stage.api.sent_to(ann.id);
    assert!(after.len() <= 3 && after.iter().skip(2).all(|sent| sent.text.starts_with(CODE)), "{after:?}");
    assert_eq!(stage.asked(), ["are you there?"], "nothing of strangers reached the model");
}

#[test]
fn in_a_group_only_those_are_answered_who_are_listed_and_speak_to_us() {
    let mut groups = Vec::new();
    let stage = Stage::with(|api| {
        groups.extend(["Home", "Elsewhere"].map(|title| api.group(title)));
        let listed = groups[0]["id"].to_string();
        json!({"groupAllowFrom": [ann().id], "groups": {listed: {}}})
    });
    let (api, ann, eve) = (&stage.api, ann(), eve());
    let (home, elsewhere) = (&groups[0], &groups[1]);
    let us = json!([{"type": "mention", "offset": 0, "length": 13}]);
    let said = |text: &str| json!({"text": format!("@stand_in_bot {text}"), "entities": us});
    api.post(home, &eve, &said("a stranger"));
    api.post(elsewhere, &ann, &said("another group"));
    api.post(home, &ann, &json!({"text": "not to us"}));
    let mut anonymous = said("an administrator without a name");
    anonymous["sender_chat"] = home.clone();
    api.post(home, &ann, &anonymous);
    let asked = api.post(home, &ann, &said("one"));
    let mut topic = said("two");
    topic["is_topic_message"] = json!(true);
    topic["message_thread_id"] = json!(7);
    api.post(home, &ann, &topic);
    let id = home["id"].as_i64().unwrap();
    let sent = api.wait_for_sent(id, 2);
    let one = sent.iter().find(|sent| sent.topic.is_none()).unwrap();
    assert!(one.text.ends_with("one") && one.reply_to == Some(asked), "{one:?}");
    assert!(sent.iter().any(|sent| sent.topic == Some(7) && sent.text.ends_with("two")), "{sent:?}");
    let reply = json!({"message_id": one.message, "from": {"id": 7_000_000_001_i64, "is_bot": true, "first_name": "B"}});
    api.post(home, &ann, &json!({"text": "three", "reply_to_message": reply}));
    let sent = api.wait_for_sent(id, 3);
    assert!(sent[2].text.ends_with("three"), "{sent:?}");
    assert_eq!(stage.asked().len(), 3, "{:?}", stage.asked());
    assert_eq!(
        api.sent().len(),
        3,
        "nobody else was answered, and no code is told in a group: {:?}",
        api.sent()
    );
    let (_, sessions) = stage.moltbot(&["sessions", "list", "--json"]);
    for key in [format!("agent:main:telegram:group:{id}"), format!("agent:main:telegram:group:{id}:topic:7")]
    {
        assert!(sessions.contains(&format!("\"{key}\"")), "{key}: {sessions}");
    }
}

#[test]
fn d01_a_stranger_with_the_name_of_a_friend_is_a_stranger() {
    let stage = Stage::with(|_| json!({"dmPolicy": "allowlist", "allowFrom": [ann().id]}));
    let (api, ann) = (&stage.api, ann());
    let thief = Person { id: 6666, ..ann.clone() };
    api.write(&thief, "I am Ann");
    let renamed = Person::new(ann.id, "Somebody else", None);
    api.write(&renamed, "I am Ann, whatever I am called");
    assert_eq!(texts(&api.wait_for_sent(ann.id, 1)), [echo_of("I am Ann, whatever I am called")]);
    api.wait_until_confirmed();
    assert!(api.sent_to(thief.id).is_empty(), "{:?}", api.sent());
    assert_eq!(stage.asked().len(), 1, "{:?}", stage.asked());
}

#[test]
fn an_outage_a_full_queue_and_lost_answers_lose_and_turn_round_nothing() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    let (api, ann) = (&stage.api, ann());
    api.write(&ann, "0");
    api.wait_for_sent(ann.id, 1);
    api.fail("getUpdates", [Fault::Busy(1)]);
    api.fail("sendMessage", [Fault::Busy(1), Fault::Drop]);
    api.go_down();
    for number in 1..6 {
        api.write(&ann, &number.to_string());
    }
    api.come_back();
    let expected: Vec<String> = (0..6).map(|number| echo_of(&number.to_string())).collect();
    assert_eq!(texts(&api.wait_for_sent(ann.id, 6)), expected);
    assert_eq!(stage.asked().len(), 6);
}

#[test]
fn k11_a_token_that_is_refused_stops_the_channel_and_not_the_gateway() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    let api = &stage.api;
    api.write(&ann(), "hi");
    api.wait_for_sent(ann().id, 1);
    api.revoke_token();
    let state = stage.state_that(|state| !state["connected"].as_bool().unwrap_or(true));
    assert!(state["lastError"].as_str().unwrap_or_default().contains("@BotFather"), "{state}");
    let calls = api.calls().len();
    std::thread::sleep(Duration::from_secs(3));
    assert!(api.calls().len() <= calls + 1, "it is not asked again and again");
    assert_eq!(stage.moltbot(&["health"]).0, 0);
}

#[test]
fn the_token_may_be_in_a_file_or_in_the_environment() {
    for (settings, environment) in [
        (json!({"botToken": null, "tokenFile": "/bot.token"}), None),
        (json!({"botToken": null}), Some("TELEGRAM_BOT_TOKEN")),
    ] {
        let (api, model) = (TelegramApi::start(), ScriptedModel::echo());
        let home = Home::with_model(&model);
        let mut telegram = json!({"apiRoot": api.root(), "allowFrom": [ann().id]});
        if settings["tokenFile"].is_string() {
            let file = home.path().join("bot.token");
            moltbot_vault::OwnerFile::at(&file).write(format!("{}\n", api.token()).as_bytes()).unwrap();
            telegram["tokenFile"] = json!(file);
        }
        home.change_config(|config| config["channels"] = json!({"telegram": telegram}));
        let environment: Vec<(&str, &str)> =
            environment.into_iter().map(|name| (name, api.token())).collect();
        let _gateway = Gateway::start_with(PROGRAM, &home, &environment);
        api.write(&ann(), "hi");
        assert_eq!(texts(&api.wait_for_sent(ann().id, 1)), [echo_of("hi")], "{settings}");
    }
}
