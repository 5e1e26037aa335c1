//! The owner decides in his own chat, by buttons that are good once; nobody else does, and nothing that is made up counts.

use moltbot_testkit::model::echo_of;
use moltbot_testkit::telegram::{Person, Sent};
use serde_json::json;

use super::{CODE, Stage, ann, code_in, eve};

fn owner() -> Person {
    Person::new(500, "Olga", None)
}

/// A gateway whose owner has said who she is, and has written to the bot.
fn stage() -> Stage {
    let stage = Stage::with_owner("telegram:default:user:500", |_| json!({"allowFrom": [500]}));
    stage.api.write(&owner(), "hello");
    stage.api.wait_for_sent(500, 1);
    stage
}

/// The question about a stranger who writes.
fn asked_about(stage: &Stage, stranger: &Person) -> Sent {
    let before = stage.api.sent_to(500).len();
    stage.api.write(stranger, "let me in");
    stage.api.wait_for_sent(500, before + 1).pop().unwrap()
}

fn data(question: &Sent, begin: &str) -> String {
    question.buttons.iter().find(|(label, _)| label.starts_with(begin)).unwrap().1.clone()
}

/// Presses, and waits for the answer.
fn press(stage: &Stage, who: &Person, chat: i64, message: i64, data: &str) -> String {
    stage.api.press_and_hear(who, chat, message, data)
}

#[test]
fn the_owner_lets_a_stranger_in_by_a_button_that_is_good_once() {
    let mut stage = stage();
    let question = asked_about(&stage, &ann());
    assert!(
        question.text.contains("telegram:default:user:1001")
            && question.text.contains("have commands executed"),
        "{question:?}"
    );
    assert!(!question.html && question.buttons[0].0 == "No", "{question:?}");
    let yes = data(&question, "Yes");
    assert!(yes.len() <= 64, "{yes}");
    stage.gateway.kill9(); // what was asked before a crash can be answered after it
    stage.gateway.restart(&stage.home);
    assert_eq!(press(&stage, &owner(), 500, question.message, &yes), "1001 is let in");
    let shown = stage.api.wait_until_decided(500, question.message);
    assert!(shown.text.contains("1001 is let in"), "{shown:?}");
    stage.api.write(&ann(), "thank you");
    assert_eq!(stage.api.wait_for_sent(1001, 2)[1].text, echo_of("thank you"));
    assert_eq!(stage.moltbot(&["pairing", "revoke", "telegram:default:user:1001"]).0, 0);
    for again in [yes, data(&question, "No")] {
        assert_eq!(
            press(&stage, &owner(), 500, question.message, &again),
            "This is decided already, or too old."
        );
    }
    let (_, list) = stage.moltbot(&["senders", "list", "--json"]);
    assert!(!list.contains("approved"), "an old button lets nobody in again: {list}");
    stage.gateway.terminate();
    let (_, book) =
        stage.moltbot(&["ledger", "search", "--actor", "owner:telegram:default:user:500", "--json"]);
    assert_eq!(book.matches("\"target\":\"sender:telegram:default:user:1001\"").count(), 1, "{book}");
}

#[test]
fn no_is_no_and_the_stranger_is_silenced() {
    let stage = stage();
    let question = asked_about(&stage, &eve());
    assert_eq!(press(&stage, &owner(), 500, question.message, &data(&question, "No")), "6666 is not let in");
    assert_eq!(
        press(&stage, &owner(), 500, question.message, &data(&question, "Yes")),
        "This is decided already, or too old."
    );
    stage.api.write(&eve(), "please");
    stage.api.wait_until_confirmed();
    let told = stage.api.sent_to(6666);
    assert!(told.len() == 1 && told[0].text.starts_with(CODE), "{told:?}");
}

#[test]
fn presses_of_others_and_made_up_ones_decide_nothing() {
    let stage = stage();
    let question = asked_about(&stage, &ann());
    let yes = data(&question, "Yes");
    let code = code_in(&stage.api.wait_for_sent(1001, 1)[0]);
    let group = stage.api.group("Home");
    let group = group["id"].as_i64().unwrap();
    // The stranger has the very number of the button; the owner presses it where others are.
    assert_eq!(press(&stage, &ann(), 1001, 1, &yes), "This is not for you.");
    assert_eq!(press(&stage, &ann(), 500, question.message, &yes), "This is not for you.");
    assert_eq!(press(&stage, &owner(), group, 1, &yes), "This is not for you.");
    let forged = format!("p:{}:y", "0".repeat(32));
    for data in [
        "",
        "p",
        "p::y",
        "p:x:y",
        forged.as_str(),
        &format!("p:{code}:y"),
        &yes.replace("p:", "q:"),
        &yes.replace(":y", ":z"),
        &"x".repeat(4000),
    ] {
        let answer = press(&stage, &owner(), 500, question.message, data);
        assert_eq!(answer, "This is decided already, or too old.", "{data}");
    }
    let mut bot = json!({"callback_query": {"id": "b", "data": yes, "chat_instance": "1",
        "from": {"id": 500, "is_bot": true, "first_name": "Olga"},
        "message": {"message_id": 1, "date": 1, "chat": {"id": 500, "type": "private"}}}});
    stage.api.update(bot.clone());
    bot["callback_query"]["from"]["is_bot"] = json!(false);
    bot["callback_query"]["message"] = json!(null);
    stage.api.update(bot);
    stage.api.wait_until_confirmed();
    let (_, list) = stage.moltbot(&["pairing", "list", "--json"]);
    assert!(list.contains("telegram:default:user:1001"), "she still waits: {list}");
    let nonce = yes.split(':').nth(1).unwrap();
    for folder in ["state.db", "state.db-wal", "logs/gateway.jsonl"] {
        #[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
        let bytes = std::fs::read(stage.home.state_path().join(folder)).unwrap_or_default();
        assert!(
            !bytes.windows(nonce.len()).any(|window| window == nonce.as_bytes()),
            "{folder} has the number"
        );
    }
    assert_eq!(
        press(&stage, &owner(), 500, question.message, &yes),
        "1001 is let in",
        "and the real one still works"
    );
}

#[test]
fn without_an_owner_nobody_is_asked_and_half_an_id_is_nobody() {
    let stage = Stage::with(|_| json!({"allowFrom": [500]}));
    stage.api.write(&owner(), "hello");
    stage.api.wait_for_sent(500, 1);
    stage.api.write(&eve(), "let me in");
    stage.api.wait_for_sent(6666, 1);
    assert_eq!(stage.api.sent_to(500).len(), 1);
    let stage = Stage::with_owner("telegram:@olga", |_| json!({"allowFrom": [500]}));
    stage.api.write(&owner(), "hello");
    stage.api.wait_for_sent(500, 1);
    stage.api.write(&eve(), "let me in");
    stage.api.wait_for_sent(6666, 1);
    stage.api.wait_until_confirmed();
    assert_eq!(stage.api.sent_to(500).len(), 1);
}

#[test]
fn the_owner_stops_everything_from_her_chat_and_nobody_else_does() {
    let stage = Stage::with_owner("telegram:default:user:500", |_| json!({"allowFrom": [500, 1001]}));
    stage.api.write(&ann(), "/stop all");
    stage.api.wait_until_confirmed();
    assert!(!stage.moltbot(&["status"]).1.contains("everything is"), "a sender is not the owner");
    stage.api.write(&owner(), "/stop all");
    let told = stage.api.wait_for_sent(500, 1);
    assert!(told[0].text.contains("Everything is stopped"), "{told:?}");
    let (_, status) = stage.moltbot(&["status"]);
    assert!(status.contains("everything is, by owner:telegram:default:user:500"), "{status}");
}
