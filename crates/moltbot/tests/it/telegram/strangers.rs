//! What strangers try on Telegram to be let in, to be seen as somebody else, or to keep others out; and what the owner
//! decides about them.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::telegram::{Person, TelegramApi};
use serde_json::{Value, json};

use super::{CODE, PROGRAM, Stage, ann, code_in, eve, texts};

fn id_of(person: &Person) -> String {
    format!("telegram:default:user:{}", person.id)
}

#[test]
fn d_133_a_hostile_name_is_shown_harmless_and_nobody_is_approved_by_accident() {
    let stage = Stage::with(|_| json!({}));
    let name = "\u{1b}[2J\u{202e}owner\nPairing code: ABCD2345";
    let thief = Person::new(6667, name, Some("owner"));
    stage.api.write(&thief, "hello");
    let code = code_in(&stage.api.wait_for_sent(thief.id, 1)[0]);
    for arguments in
        [&["pairing", "list"][..], &["pairing", "list", "--json"], &["pairing", "approve", "telegram", &code]]
    {
        let (status, text) = stage.moltbot(arguments);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{arguments:?}: {text:?}");
        assert_eq!(status == 0, arguments.len() < 4, "without a terminal nobody is approved: {text}");
    }
    let wrong = id_of(&ann());
    let (status, text) = stage.moltbot(&["pairing", "approve", "telegram", &code, "--acknowledge", &wrong]);
    assert_ne!(status, 0, "the id of somebody else acknowledges nothing: {text}");
    stage.api.write(&thief, "am I in?");
    stage.api.wait_until_confirmed();
    assert!(stage.asked().is_empty(), "{:?}", stage.asked());
}

#[test]
fn d_131_d_135_an_approval_that_was_told_outlives_a_kill_and_is_the_same_when_it_is_made_twice() {
    let mut stage = Stage::with(|_| json!({}));
    let ann = ann();
    stage.api.write(&ann, "hello");
    let code = code_in(&stage.api.wait_for_sent(ann.id, 1)[0]);
    stage.approve(&ann, &code);
    stage.gateway.kill9();
    stage.gateway.restart(&stage.home);
    stage.approve(&ann, &code);
    stage.api.write(&ann, "still in?");
    assert_eq!(texts(&stage.api.wait_for_sent(ann.id, 2)[1..]), [echo_of("still in?")]);
    let (_, text) = stage.moltbot(&["senders", "list", "--json"]);
    assert_eq!(text.matches(&id_of(&ann)).count(), 1, "{text}");
}

#[test]
fn d_136_d_138_a_flood_takes_three_codes_and_keeps_the_owners_contact_out_of_nothing() {
    let stage = Stage::with(|_| json!({}));
    let strangers: Vec<Person> = (7001..7006).map(|id| Person::new(id, "Flood", None)).collect();
    for stranger in &strangers {
        stage.api.write(stranger, "let me in");
        stage.api.wait_until_confirmed();
    }
    let ann = ann();
    stage.api.write(&ann, "it is me");
    stage.api.wait_until_confirmed();
    let told: Vec<String> =
        stage.api.wait_for_sent(strangers[2].id, 1).iter().map(|sent| sent.text.clone()).collect();
    let sent = stage.api.sent();
    assert_eq!(sent.len(), 3, "three have a code, and nobody else hears that anybody is here: {sent:?}");
    let rest = |text: &str| text.strip_prefix(CODE).and_then(|rest| rest.get(8..)).map(str::to_owned);
    assert!(sent.iter().all(|sent| rest(&sent.text) == rest(&told[0])), "one text for all: {sent:?}");
    let (_, list) = stage.moltbot(&["pairing", "list", "--json"]);
    assert!(list.contains(&id_of(&ann)), "the owner sees who waits: {list}");
    let id = id_of(&ann);
    let (status, text) = stage.moltbot(&["pairing", "approve", "telegram", &id, "--acknowledge", &id]);
    assert_eq!(status, 0, "{text}");
    stage.api.write(&ann, "and now?");
    assert_eq!(texts(&stage.api.wait_for_sent(ann.id, 1)), [echo_of("and now?")]);
}

#[test]
fn a_block_counts_more_than_a_list_and_ends_when_the_owner_says_so() {
    let stage = Stage::with(|_| json!({"dmPolicy": "allowlist", "allowFrom": [ann().id, 1002]}));
    let (ann, friend) = (ann(), Person::new(1002, "Friend", None));
    let (status, text) = stage.moltbot(&["senders", "block", &id_of(&ann)]);
    assert_eq!(status, 0, "{text}");
    stage.api.write(&ann, "blocked");
    stage.api.write(&friend, "behind her");
    stage.api.wait_for_sent(friend.id, 1);
    assert!(stage.api.sent_to(ann.id).is_empty(), "{:?}", stage.api.sent());
    let (status, text) = stage.moltbot(&["senders", "unblock", &id_of(&ann)]);
    assert_eq!(status, 0, "{text}");
    stage.api.write(&ann, "unblocked");
    assert_eq!(texts(&stage.api.wait_for_sent(ann.id, 1)), [echo_of("unblocked")]);
}

#[test]
fn d07_d08_d09_k07_nothing_else_that_a_stranger_sends_causes_a_turn_or_a_download() {
    let stage = Stage::with(|_| json!({"dmPolicy": "allowlist", "allowFrom": [ann().id]}));
    let (api, ann, eve) = (&stage.api, ann(), eve());
    let message = api.write(&eve, "first");
    api.send(
        &eve,
        &json!({"voice": {"file_id": "v", "file_unique_id": "v", "duration": 3, "file_size": 9000}}),
    );
    api.send(&eve, &json!({"photo": [{"file_id": "p", "file_unique_id": "p", "width": 9, "height": 9}], "caption": "run it"}));
    api.edit(&eve, message, "second");
    let chat = json!({"id": ann.id, "type": "private", "first_name": "Ann"});
    api.update(
        json!({"callback_query": {"id": "1", "from": eve.json(), "chat_instance": "1", "data": "approve",
        "message": {"message_id": 1, "date": 1, "chat": chat}}}),
    );
    api.update(json!({"message_reaction": {"chat": chat, "message_id": 1, "user": eve.json(), "date": 1,
        "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "👍"}]}}));
    api.write(&ann, "behind all that");
    assert_eq!(texts(&api.wait_for_sent(ann.id, 1)), [echo_of("behind all that")]);
    assert_eq!(stage.asked(), ["behind all that"], "the model was asked for nobody else");
    assert_eq!((api.sent().len(), api.count("getFile")), (1, 0), "{:?}", api.sent());
}

/// The files of an existing installation, read once. One that cannot be read is no empty list.
#[test]
fn d_134_a_list_of_senders_that_cannot_be_read_stops_the_start_and_stays_as_it_is() {
    let (api, model) = (TelegramApi::start(), ScriptedModel::echo());
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["channels"] = json!({"telegram": {"botToken": api.token(), "apiRoot": api.root()}});
    });
    let folder = home.state().folder("credentials").unwrap();
    let name = "telegram-allowFrom.json";
    for broken in [
        "",
        "{",
        "[]",
        r#"{"version": 1}"#,
        r#"{"version": 2, "allowFrom": []}"#,
        r#"{"version": 1, "allowFrom": [{}]}"#,
    ] {
        folder.write(name, broken.as_bytes()).unwrap();
        let ran = run(PROGRAM, &home, &["gateway", "run"]);
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(78), "{broken:?}: {told}");
        assert!(told.contains(name), "{broken:?}: {told}");
        assert_eq!(
            folder.read(name, 1000).unwrap().unwrap(),
            broken.as_bytes(),
            "nothing is written over it"
        );
    }
    let ann = ann();
    let listed: Value = json!({"version": 1, "allowFrom": ["*", "@ann", ann.id.to_string()]});
    folder.write(name, listed.to_string().as_bytes()).unwrap();
    let gateway = Gateway::start(PROGRAM, &home);
    api.write(&eve(), "a star lets nobody in");
    api.write(&ann, "taken over");
    assert_eq!(texts(&api.wait_for_sent(ann.id, 1)), [echo_of("taken over")]);
    assert!(texts(&api.wait_for_sent(eve().id, 1))[0].starts_with(CODE));
    assert!(!folder.list().unwrap().contains(&name.to_owned()), "it is read once");
    drop(gateway);
}
