//! Allowances through the real binary: whoever floods is told once and costs nothing more, others are answered, and a
//! restart forgets nothing.

use moltbot_testkit::client::unique;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::telegram::{Person, TelegramApi};
use serde_json::{Value, json};

use crate::hooks::{PROGRAM, TOKEN, block_on};
use crate::secrets::book_in;

/// The first words of what whoever has used up his allowance is told.
const REFUSED: &str = "That is all I can do for you today.";

fn ann() -> Person {
    Person::new(1001, "Ann", None)
}

fn bob() -> Person {
    Person::new(1002, "Bob", None)
}

/// A gateway with a bot and a hook, on which Ann and Bob may write.
struct House {
    api: TelegramApi,
    model: ScriptedModel,
    home: Home,
    gateway: Gateway,
}

impl House {
    fn with(model: ScriptedModel, allowances: &Value) -> Self {
        Self::priced(model, allowances, &Value::Null)
    }

    /// With a price of its model.
    fn priced(model: ScriptedModel, allowances: &Value, cost: &Value) -> Self {
        let api = TelegramApi::start();
        let home = Home::with_model(&model);
        home.change_config(|config| {
            config["allowances"] = allowances.clone();
            config["session"] = json!({"dmScope": "per-channel-peer"});
            config["channels"] = json!({"telegram": {
                "botToken": api.token(), "apiRoot": api.root(), "dmPolicy": "allowlist",
                "allowFrom": [ann().id, bob().id],
            }});
            config["hooks"] = json!({"enabled": true, "token": TOKEN});
            config["messages"] = json!({"queue": {"mode": "followup"}});
            if !cost.is_null() {
                for provider in config["models"]["providers"].as_object_mut().unwrap().values_mut() {
                    provider["models"][0]["cost"] = cost.clone();
                }
            }
        });
        let gateway = Gateway::start(PROGRAM, &home);
        Self { api, model, home, gateway }
    }

    fn moltbot(&self, arguments: &[&str]) -> Value {
        let ran = run(PROGRAM, &self.home, arguments);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    /// What one holder used and may.
    fn shown(&self, who: &str) -> Value {
        self.moltbot(&["allowance", "show", who, "--json"])["holders"][0].clone()
    }

    /// Writes these and waits until Telegram was told that they are taken.
    fn write(&self, person: &Person, texts: &[&str]) {
        for text in texts {
            self.api.write(person, text);
        }
        self.api.wait_until_confirmed();
    }

    fn told(&self, person: &Person, count: usize) -> Vec<String> {
        self.api.wait_for_sent(person.id, count).iter().map(|sent| sent.text.clone()).collect()
    }

    fn hook(&self, text: &str) -> u16 {
        let headers = [("authorization", format!("Bearer {TOKEN}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = json!({"message": text}).to_string();
        moltbot_testkit::raw::http(self.gateway.port(), "POST", "/hooks/agent", &headers, body.as_bytes())
            .status
    }
}

fn id_of(person: &Person) -> String {
    format!("telegram:default:user:{}", person.id)
}

#[test]
fn k10_whoever_floods_is_told_once_and_the_other_is_answered_also_after_a_kill() {
    let mut house = House::with(ScriptedModel::echo(), &json!({"sender": {"turns": 3}}));
    let (ann, bob) = (ann(), bob());
    let flood: Vec<String> = (0..40).map(|number| format!("message {number}")).collect();
    house.write(&ann, &flood.iter().map(String::as_str).collect::<Vec<_>>());
    house.write(&bob, &["hello"]);
    assert_eq!(house.told(&bob, 1), [echo_of("hello")]);
    let mut told = house.told(&ann, 4);
    let refused = told.iter().filter(|text| text.starts_with(REFUSED)).count();
    told.retain(|text| !text.starts_with(REFUSED));
    assert_eq!((refused, told), (1, flood[..3].iter().map(|text| echo_of(text)).collect()));
    assert_eq!(house.model.requests().len(), 4, "no model was asked for the rest");
    let shown = house.shown(&id_of(&ann));
    assert_eq!((&shown["spent"], &shown["used"]["turns"]), (&json!("turns"), &json!(3)), "{shown}");

    house.gateway.kill9();
    house.gateway.restart(&house.home);
    house.write(&ann, &["again", "and again"]);
    house.write(&bob, &["still there?"]);
    assert_eq!(house.told(&bob, 2)[1], echo_of("still there?"));
    assert_eq!(house.told(&ann, 4).len(), 4, "a restart forgets neither what was used nor that she was told");

    let raised = house.moltbot(&["allowance", "set", &id_of(&ann), "--turns", "4", "--json"]);
    assert_eq!(raised["holders"][0]["limits"]["turns"], 4, "{raised}");
    house.write(&ann, &["once more"]);
    assert_eq!(house.told(&ann, 5)[4], echo_of("once more"));
    house.moltbot(&["allowance", "set", &id_of(&ann), "--default", "--json"]);
    let reset = house.moltbot(&["allowance", "reset", &id_of(&ann), "--json"]);
    assert_eq!(
        (&reset["holders"][0]["used"]["turns"], &reset["holders"][0]["limits"]["turns"]),
        (&json!(0), &json!(3))
    );
    house.write(&ann, &["from the start"]);
    assert_eq!(house.told(&ann, 6)[5], echo_of("from the start"));
    assert!(house.gateway.terminate().success());
    let book = book_in(house.home.path());
    let refusals = book.matches("\"message.refuse\"").count();
    assert!((1..=6).contains(&refusals), "each minute has one line: {refusals}");
    for what in ["allowance_spent", "\"allowance.set\"", "\"allowance.reset\""] {
        assert!(book.contains(what), "{what}");
    }
}

#[test]
fn k10_tokens_and_money_are_counted_and_nobody_is_asked_for_once_they_are_used() {
    let cost = json!({"input": 1_000_000, "output": 0.5, "cacheRead": 0, "cacheWrite": 0});
    let limits = json!({"sender": {"tokens": "unlimited", "cost": 0.01}});
    let house = House::priced(ScriptedModel::echo(), &limits, &cost);
    house.write(&ann(), &["one"]);
    assert_eq!(house.told(&ann(), 1), [echo_of("one")]);
    house.write(&ann(), &["two"]);
    assert!(house.told(&ann(), 2)[1].starts_with(REFUSED));
    let shown = house.shown(&id_of(&ann()));
    assert_eq!((&shown["spent"], &shown["used"]["unpricedTurns"]), (&json!("cost"), &json!(0)), "{shown}");
    assert!(shown["used"]["costMillionths"].as_u64() > Some(10_000), "{shown}");
    assert_eq!(house.model.requests().len(), 1);
    let used = house.moltbot(&["gateway", "call", "usage.cost"]);
    assert_eq!(used["totals"]["missingCostEntries"], 0, "{used}");
    assert!(used["totals"]["totalCost"].as_f64() > Some(0.01), "{used}");

    let house = House::with(ScriptedModel::echo(), &json!({"sender": {"tokens": 1, "cost": 0.01}}));
    house.write(&ann(), &["one"]);
    assert_eq!(house.told(&ann(), 1), [echo_of("one")]);
    house.write(&ann(), &["two"]);
    assert!(house.told(&ann(), 2)[1].starts_with(REFUSED));
    let shown = house.shown(&id_of(&ann()));
    assert_eq!((&shown["spent"], &shown["used"]["unpricedTurns"]), (&json!("tokens"), &json!(1)), "{shown}");
    let listed = run(PROGRAM, &house.home, &["allowance", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("no price is known for 1 turns"), "{listed}");
}

#[test]
fn k10_a_turn_that_calls_tools_for_ever_ends_with_its_senders_allowance() {
    let model = ScriptedModel::answering(|_| Reply::tool("read", &json!({"path": "AGENTS.md"})));
    let house = House::with(model, &json!({"sender": {"tokens": 200}}));
    house.write(&ann(), &["look at it"]);
    let told = house.told(&ann(), 1);
    assert!(told[0].starts_with(REFUSED), "{told:?}");
    let asked = house.model.requests().len();
    assert!(asked < 20, "the model was asked {asked} times");
    let used = house.shown(&id_of(&ann()))["used"]["tokens"].as_u64().unwrap();
    assert!((200..400).contains(&used), "{used}");
}

#[test]
fn k10_many_who_may_use_little_may_not_use_much_together_and_the_owner_is_none_of_them() {
    let limits = json!({"together": {"turns": 3}, "hook": {"turns": 2}, "owner": {"turns": 2}});
    let house = House::with(ScriptedModel::echo(), &limits);
    assert_eq!([house.hook("a"), house.hook("b"), house.hook("c")], [202, 202, 429]);
    house.write(&ann(), &["one"]);
    assert_eq!(house.told(&ann(), 1), [echo_of("one")]);
    house.write(&ann(), &["two"]);
    assert!(house.told(&ann(), 2)[1].starts_with(REFUSED), "hooks and senders have three together");
    block_on(async {
        let client = house.gateway.connect().open().await.unwrap();
        for text in ["first", "second"] {
            let params = json!({"message": text, "idempotencyKey": unique("k")});
            let answer = client.call("agent", params).await.unwrap();
            assert_eq!(answer["status"], "accepted", "{answer}");
        }
        let params = json!({"message": "third", "idempotencyKey": unique("k")});
        let refused = client.call("agent", params).await.unwrap_err();
        let details = refused.details.unwrap();
        assert_eq!(
            (&details["code"], &details["who"], &details["measure"]),
            (&json!("allowance_spent"), &json!("owner"), &json!("turns"))
        );
        let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
        assert!(!history.to_string().contains("third"), "what is refused is not kept: {history}");
    });
}

#[test]
fn whoever_asks_for_his_allowance_hears_his_own_and_no_model_is_asked() {
    let house = House::with(ScriptedModel::echo(), &json!({"sender": {"messages": 2}}));
    house.write(&ann(), &["hello"]);
    house.told(&ann(), 1);
    house.write(&ann(), &["/allowance"]);
    let told = house.told(&ann(), 2);
    assert!(told[1].contains("messages: 2 of 2") && told[1].contains("turns: 1 of 300"), "{told:?}");
    house.write(&ann(), &["/allowance", "/allowance"]);
    assert!(house.told(&ann(), 3)[2].starts_with(REFUSED), "commands are messages too");
    block_on(async {
        let mut client = house.gateway.connect().open().await.unwrap();
        let params = json!({"sessionKey": "main", "message": "/allowance", "idempotencyKey": unique("k")});
        client.call("chat.send", params).await.unwrap();
        let told = client.event("chat").await;
        assert_eq!(told["state"], "final", "{told}");
        assert!(told.to_string().contains("turns: 0 of 20000"), "{told}");
    });
    assert_eq!(house.model.requests().len(), 1);
    // What a hook says is no command.
    assert_eq!(house.hook("/allowance"), 202);
    house.model.wait_for_requests(2);
}

#[test]
fn what_no_limit_is_in_is_refused_when_the_config_is_read() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    for (section, named) in [
        (json!({"sender": {"turns": -1}}), "turns"),
        (json!({"sender": {"turns": "many"}}), "turns"),
        (json!({"sender": {"cost": -0.5}}), "cost"),
        (json!({"owner": {"tokens": null}}), "tokens"),
        (json!({"everybody": {}}), "everybody"),
    ] {
        home.change_config(|config| config["allowances"] = section.clone());
        let ran = run(PROGRAM, &home, &["config", "validate"]);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(78), "{section}: {said}");
        assert!(said.contains(named), "{section}: {said}");
    }
}

/// Files cost the vendor's patience, time and disk: none is fetched for whoever has used up what he may.
#[test]
fn k10_no_file_is_fetched_for_whoever_has_used_up_his_allowance() {
    let house = House::with(ScriptedModel::echo(), &json!({"sender": {"turns": 2}}));
    let (ann, bob) = (ann(), bob());
    house.api.add_file("note", b"buy milk\n".to_vec());
    let note =
        json!({"document": {"file_id": "note", "file_unique_id": "note", "file_name": "n", "file_size": 9}});
    for _ in 0..6 {
        house.api.send(&ann, &note);
    }
    house.api.wait_until_confirmed();
    let told = house.told(&ann, 3);
    assert_eq!(told.iter().filter(|text| text.starts_with(REFUSED)).count(), 1, "{told:?}");
    assert_eq!(house.api.count("getFile"), 2, "one for each message that is answered");
    house.api.send(&bob, &note);
    assert!(house.told(&bob, 1)[0].contains("received/telegram-"));
    assert_eq!(house.api.count("getFile"), 3);
    assert_eq!(house.model.requests().len(), 3);
    assert_eq!(house.shown(&id_of(&ann))["used"]["turns"], 2, "what was refused is not counted");
}
