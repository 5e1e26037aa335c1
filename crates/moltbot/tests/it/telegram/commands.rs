//! Commands in chats by those who may not give them: nothing is done, nothing is written, and no model hears of it.

use std::collections::BTreeMap;

use moltbot_testkit::client::unique;
use moltbot_testkit::model::echo_of;
use moltbot_testkit::process::run;
use moltbot_testkit::telegram::Person;
use serde_json::{Value, json};

use super::{PROGRAM, Stage, ann, texts};
use crate::hooks::block_on;

/// What changes something for others, or tells of them, by the names of all generations.
const OF_THE_OWNER: [&str; 14] = [
    "/config set gateway.auth.mode none",
    "/config show",
    "/debug set gateway.bind lan",
    "/allowlist add dm 6666",
    "/send on",
    "/verbose full",
    "/elevated full",
    "/bash cat ~/.ssh/id_ed25519",
    "/restart",
    "/status",
    "/pair list",
    "/pair new",
    "/pair approve telegram ABCD2345 telegram:default:user:1002",
    "/approve x allow-always",
];

fn bob() -> Person {
    Person::new(1002, "Bob", None)
}

/// What is kept of who may do what.
fn kept(stage: &Stage) -> [String; 3] {
    let told = |arguments: &[&str]| stage.moltbot(arguments).1;
    [
        stage.home.config_text().unwrap(),
        told(&["senders", "list", "--json"]),
        told(&["devices", "list", "--json"]),
    ]
}

#[test]
fn b11_b14_what_is_the_owners_is_refused_to_whoever_was_let_in_and_changes_nothing() {
    let mut group = Value::Null;
    let stage = Stage::with(|api| {
        group = api.group("Home");
        let listed = group["id"].to_string();
        json!({"allowFrom": [ann().id], "groupAllowFrom": [ann().id], "groups": {listed: {}}})
    });
    let (api, ann) = (&stage.api, ann());
    let before = kept(&stage);
    for (number, text) in OF_THE_OWNER.iter().enumerate() {
        api.write(&ann, text);
        let told = api.wait_for_sent(ann.id, number + 1).pop().unwrap().text;
        let refused = told.contains("is the owner's") || told.starts_with("there is no /");
        assert!(refused, "{text}: {told}");
    }
    let us = json!([{"type": "mention", "offset": 0, "length": 13}]);
    let id = group["id"].as_i64().unwrap();
    for (number, text) in OF_THE_OWNER.iter().enumerate() {
        api.post(&group, &ann, &json!({"text": format!("@stand_in_bot {text}"), "entities": us}));
        let told = api.wait_for_sent(id, number + 1).pop().unwrap().text;
        assert!(told.contains("is the owner's") || told.starts_with("there is no /"), "{text}: {told}");
    }
    assert_eq!(kept(&stage), before);
    assert_eq!(stage.asked(), Vec::<String>::new(), "no model was asked to do it instead");
}

/// A client with a token that reads and writes has no commands of the owner either: there they are words.
#[test]
fn b14_what_a_client_writes_is_no_command_of_the_owner() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    let before = kept(&stage);
    block_on(async {
        let client = stage.gateway.connect().open().await.unwrap();
        for text in OF_THE_OWNER {
            let asked = stage.asked().len();
            let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": unique("b14")});
            let answer = client.call("chat.send", params).await;
            // How the conversation stands is told to whoever reads it, by the gateway.
            if answer.is_ok() && !text.starts_with("/approve") && text != "/status" {
                stage.model.wait_for_requests(asked + 1);
                assert_eq!(stage.asked().last().map(String::as_str), Some(text), "a message as any other");
            }
        }
    });
    assert_eq!(kept(&stage), before);
}

/// A star names nobody: not a sender, and least of all the owner.
#[test]
fn b14_a_star_among_the_owners_identities_makes_nobody_the_owner() {
    let stage = Stage::with_owner("telegram:default:user:500", |_| json!({"allowFrom": [ann().id]}));
    for list in [json!(["*"]), json!(["telegram:*"]), json!(["telegram:default:user:*"])] {
        stage.home.change_config(|config| config["commands"]["ownerAllowFrom"] = list.clone());
        let ran = run(PROGRAM, &stage.home, &["config", "validate"]);
        let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(78), "{list}: {told}");
        assert!(told.contains("commands.ownerAllowFrom"), "{list}: {told}");
    }
}

/// The session of each conversation, by its key.
fn sessions(stage: &Stage) -> BTreeMap<String, String> {
    let (_, told) = stage.moltbot(&["sessions", "list", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let rows = told["sessions"].as_array().unwrap().iter();
    rows.map(|row| (row["key"].as_str().unwrap().to_owned(), row["sessionId"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn o06_a_reset_begins_the_own_conversation_anew_and_nobody_elses() {
    let mut group = Value::Null;
    let stage = Stage::with(|api| {
        group = api.group("Home");
        let listed = group["id"].to_string();
        json!({"allowFrom": [ann().id, bob().id], "groupAllowFrom": [ann().id, bob().id], "groups": {listed: {}}})
    });
    let (api, ann, bob) = (&stage.api, ann(), bob());
    let us = json!([{"type": "mention", "offset": 0, "length": 13}]);
    let said = |text: &str| json!({"text": format!("@stand_in_bot {text}"), "entities": us});
    let room = group["id"].as_i64().unwrap();
    api.write(&ann, "of Ann");
    api.write(&bob, "of Bob");
    api.post(&group, &ann, &said("of all"));
    for chat in [ann.id, bob.id, room] {
        api.wait_for_sent(chat, 1);
    }
    let before = sessions(&stage);
    let of_ann = before.keys().find(|key| key.contains(&ann.id.to_string())).unwrap().clone();
    let of_bob = before.keys().find(|key| key.contains(&bob.id.to_string())).unwrap().clone();
    let of_room = before.keys().find(|key| key.contains(&room.to_string())).unwrap().clone();
    api.post(&group, &bob, &said("/reset"));
    assert!(api.wait_for_sent(room, 2)[1].text.contains("is the owner's"), "{:?}", api.sent_to(room));
    assert_eq!(sessions(&stage), before);
    // He names another's conversation, and means his own by that.
    for (number, text) in [format!("/reset {of_ann}"), format!("/new {of_room}")].iter().enumerate() {
        api.write(&bob, text);
        let told = api.wait_for_sent(bob.id, number + 2);
        assert_eq!(told[number + 1].text, "A new conversation has begun.");
    }
    let after = sessions(&stage);
    assert_eq!((&after[&of_ann], &after[&of_room]), (&before[&of_ann], &before[&of_room]));
    assert_ne!(after[&of_bob], before[&of_bob], "his own has begun anew");
    api.write(&ann, "still here?");
    assert_eq!(texts(&api.wait_for_sent(ann.id, 2)[1..]), [echo_of("still here?")]);
    let heard = stage.model.requests().pop().unwrap().messages();
    assert!(json!(heard).to_string().contains("of Ann"), "what she said is remembered: {heard:?}");
}

#[test]
fn o06_a_conversation_that_is_shared_is_begun_anew_by_the_owner_alone() {
    let mut stage = Stage::with_owner("telegram:default:user:500", |_| json!({"allowFrom": [500, 1001]}));
    stage.gateway.terminate();
    stage.home.change_config(|config| config["session"] = json!({"dmScope": "main"}));
    stage.gateway.restart(&stage.home);
    let (api, ann, owner) = (&stage.api, ann(), Person::new(500, "Olga", None));
    api.write(&owner, "of the owner");
    api.wait_for_sent(owner.id, 1);
    let before = sessions(&stage);
    for (number, text) in ["/reset", "/new", "/NEW: all of it"].iter().enumerate() {
        api.write(&ann, text);
        let told = api.wait_for_sent(ann.id, number + 1);
        assert!(told[number].text.contains("is the owner's"), "{text}: {told:?}");
    }
    assert_eq!(sessions(&stage), before);
    api.write(&owner, "/reset");
    assert_eq!(api.wait_for_sent(owner.id, 2)[1].text, "A new conversation has begun.");
    assert_ne!(sessions(&stage), before);
}
