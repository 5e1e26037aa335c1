//! Questions in the owner's own chat: asked there with buttons, answered by him alone, once, in time, below that message.

use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::Gateway;
use moltbot_testkit::telegram::{Fault, Person, Sent, TelegramApi};
use serde_json::{Value, json};

use super::PROGRAM;
use crate::program::book;

const OVER: &str = "This is decided already, or too old.";

fn owner() -> Person {
    Person::new(500, "Olga", None)
}

fn second() -> Person {
    Person::new(501, "Olga at work", None)
}

fn ann() -> Person {
    Person::new(1001, "Ann", Some("ann"))
}

struct Stage {
    api: TelegramApi,
    model: ScriptedModel,
    home: Home,
    group: Value,
    _gateway: Gateway,
}

impl Stage {
    fn new(seconds: u64) -> Self {
        let (api, model) = (TelegramApi::start(), ScriptedModel::queue([]));
        let home = Home::with_model(&model);
        let group = api.group("Home");
        let listed = group["id"].to_string();
        home.change_config(|config| {
            config["channels"] = json!({"telegram": {
                "botToken": api.token(), "apiRoot": api.root(), "allowFrom": [500, 501, 1001],
                "groupAllowFrom": [500, 1001], "groups": {listed: {"requireMention": false}},
            }});
            config["session"] = json!({"dmScope": "per-channel-peer"});
            config["tools"] = json!({"exec": {"ask": "always", "approvalSec": seconds}});
            config["commands"] = json!({"ownerAllowFrom": ["telegram:500", "telegram:501"]});
        });
        let gateway = Gateway::start(PROGRAM, &home);
        for person in [owner(), second(), ann()] {
            api.write(&person, "/whoami"); // a bot may write to nobody who has not written to it
            api.wait_for_sent(person.id, 1);
        }
        Self { api, model, home, group, _gateway: gateway }
    }

    /// Somebody has the agent run a command: the questions in both of the owner's chats.
    fn asked(&self, person: &Person, command: &str) -> (Sent, Sent) {
        let before = [500, 501].map(|chat| self.api.sent_to(chat).len());
        self.model.push(Reply::tool("exec", &json!({"command": command})));
        self.model.push(Reply::text("done"));
        self.api.post(&self.group, person, &json!({"text": "run it"}));
        let question = |chat: i64, before: usize| self.api.wait_for_sent(chat, before + 1).remove(before);
        (question(500, before[0]), question(501, before[1]))
    }

    /// What the model was told of its command, once the group is answered.
    fn told(&self, answers: usize) -> String {
        self.api.wait_for_sent(self.group["id"].as_i64().unwrap(), answers);
        self.model.requests().last().unwrap().tool_results().pop().unwrap()
    }

    fn press(&self, who: &Person, chat: i64, message: i64, data: &str) -> String {
        self.api.press_and_hear(who, chat, message, data)
    }

    /// The message as it is shown when it has no buttons any more.
    fn settled(&self, question: &Sent) -> String {
        self.api.wait_until_decided(question.chat, question.message).text
    }

    fn refusals(&self) -> Vec<String> {
        let refused = book(&self.home, "approval.decide")
            .into_iter()
            .filter(|line| line["details"]["code"].is_string());
        refused.map(|line| line["details"]["code"].as_str().unwrap().to_owned()).collect()
    }
}

fn data(question: &Sent, label: &str) -> String {
    let found = question.buttons.iter().find(|(shown, _)| shown == label);
    found.unwrap_or_else(|| panic!("no button {label}: {question:?}")).1.clone()
}

#[test]
fn the_owner_says_yes_by_a_button_and_both_questions_show_it() {
    let stage = Stage::new(120);
    let (one, two) = stage.asked(&ann(), "echo '[harmless](http://evil) `id` *b*'");
    assert!(!one.html && one.text.contains("  | echo '[harmless](http://evil) `id` *b*'\n"), "{one:?}");
    assert!(one.text.contains("sender:telegram:default:user:1001"), "{one:?}");
    let labels: Vec<&str> = one.buttons.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["Allow once", "Allow this for an hour", "Deny"]);
    let yes = data(&one, "Allow once");
    assert!(yes.len() <= 64 && data(&two, "Allow once") != yes, "each chat has a number of its own");
    assert!(stage.press(&owner(), 500, one.message, &yes).ends_with(": allow-once"));
    assert!(stage.told(1).starts_with("exit code 0"));
    for question in [&one, &two] {
        let shown = stage.settled(question);
        assert!(shown.contains("allow-once, by sender:telegram:default:user:500"), "{shown}");
    }
    for (person, question) in [(owner(), &one), (second(), &two)] {
        let again = data(question, "Deny");
        assert_eq!(stage.press(&person, question.chat, question.message, &again), OVER);
    }
    // The same command is asked about anew, and a no is a no.
    let (one, _) = stage.asked(&ann(), "echo '[harmless](http://evil) `id` *b*'");
    assert!(stage.press(&owner(), 500, one.message, &yes) == OVER, "an old button answers no new question");
    assert!(stage.press(&owner(), 500, one.message, &data(&one, "Deny")).ends_with(": deny"));
    assert!(stage.told(2).contains("the owner said no"));
    let decided = book(&stage.home, "approval.decide");
    let by: Vec<&str> = decided
        .iter()
        .filter(|line| line["details"]["choice"].is_string())
        .map(|line| line["actor"].as_str().unwrap())
        .collect();
    assert_eq!(by, ["sender:telegram:default:user:500"; 2], "{decided:?}");
}

#[test]
fn e17_who_asks_in_a_group_cannot_approve_and_no_press_counts_but_the_owners_own() {
    let stage = Stage::new(120);
    let (one, two) = stage.asked(&ann(), "touch ran");
    let (yes, other) = (data(&one, "Allow once"), data(&two, "Allow once"));
    let group = stage.group["id"].as_i64().unwrap();
    let id = one.text.split([' ', ':']).nth(1).unwrap().to_owned();
    // Who asked: with the very number of the button, in her chat, below the owner's message, in the group; and in words.
    for (chat, message) in [(1001, 1), (500, one.message), (group, 1)] {
        assert_eq!(stage.press(&ann(), chat, message, &yes), "This is not for you.");
    }
    stage.api.post(&stage.group, &ann(), &json!({"text": format!("/approve {id} once")}));
    let refused = stage.api.wait_for_sent(group, 1).pop().unwrap();
    assert!(refused.text.contains("is the owner's"), "{refused:?}");
    // The owner where others are; by his other identity; below another message; and what is made up.
    assert_eq!(stage.press(&owner(), group, 1, &yes), "This is not for you.");
    assert_eq!(stage.press(&second(), 501, two.message, &yes), "This is not for you.");
    let elsewhere = stage.press(&owner(), 500, one.message + 1, &yes);
    assert!(elsewhere.contains("newest message"), "{elsewhere}");
    for made_up in
        [format!("a:{}:o", "0".repeat(32)), format!("a:{id}:o"), yes.replace(":o", ":x"), "a".into()]
    {
        assert_eq!(stage.press(&owner(), 500, one.message, &made_up), OVER, "{made_up}");
    }
    assert!(!stage.home.state_path().join("workspace/ran").exists());
    assert!(
        stage.press(&second(), 501, two.message, &other).ends_with(": allow-once"),
        "the real one still works"
    );
    assert!(stage.told(2).starts_with("exit code 0"));
    // On disk with the yes at the latest.
    let codes = stage.refusals();
    for code in ["approval_other_approver", "approval_other_message", "approval_unknown"] {
        assert!(codes.iter().any(|found| found == code), "{code} is not in the book: {codes:?}");
    }
}

#[test]
fn no_answer_is_no_and_a_late_button_is_over() {
    let stage = Stage::new(1);
    let (one, _) = stage.asked(&ann(), "touch ran");
    assert!(stage.told(1).contains("did not answer within 1 s"));
    assert!(stage.settled(&one).contains("nobody said yes"));
    assert_eq!(stage.press(&owner(), 500, one.message, &data(&one, "Allow once")), OVER);
    assert!(book(&stage.home, "approval.decide").iter().all(|line| line["decision"] == "refused"));
}

/// A vendor that took the question and lost its answer has it twice: the older one counts for nothing.
#[test]
fn a_question_that_came_twice_is_answered_below_the_newest_and_words_do_as_well() {
    let stage = Stage::new(120);
    stage.api.fail("sendMessage", [Fault::DropAfter]);
    stage.asked(&ann(), "echo one");
    let deadline = Instant::now() + Duration::from_secs(30);
    let twice = |chat: i64| stage.api.sent_to(chat).len() >= 3;
    while !twice(500) && !twice(501) {
        assert!(Instant::now() < deadline, "it is not sent again");
        std::thread::sleep(Duration::from_millis(20));
    }
    let chat = if twice(500) { 500 } else { 501 };
    let person = if chat == 500 { owner() } else { second() };
    let sent = stage.api.sent_to(chat);
    let (older, newer) = (&sent[1], &sent[2]);
    let refused = stage.press(&person, chat, older.message, &data(older, "Allow once"));
    assert!(refused.contains("newest message"), "{refused}");
    let id = newer.text.split([' ', ':']).nth(1).unwrap();
    stage.api.write(&person, &format!("/approve {id} once"));
    assert!(stage.told(1).starts_with("exit code 0"));
    assert!(stage.settled(newer).contains("allow-once"));
}
