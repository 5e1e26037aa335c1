//! On a chat channel: who writes is told once, the owner is told in his own chat over a crash, and he alone releases.

use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::Gateway;
use moltbot_testkit::telegram::{Person, TelegramApi};
use serde_json::{Value, json};

use super::{PROGRAM, REFUSED, book, moltbot};

fn owner() -> Person {
    Person::new(500, "Olga", None)
}

fn ann() -> Person {
    Person::new(1001, "Ann", Some("ann"))
}

struct Stage {
    api: TelegramApi,
    model: ScriptedModel,
    home: Home,
    gateway: Gateway,
    group: Value,
}

impl Stage {
    fn new() -> Self {
        let (api, model) = (TelegramApi::start(), ScriptedModel::queue([]));
        let home = Home::with_model(&model);
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
        // A bot may write to nobody who has not written to it.
        api.write(&owner(), "/whoami");
        api.wait_for_sent(500, 1);
        Self { api, model, home, gateway, group }
    }

    fn chat(&self) -> i64 {
        self.group["id"].as_i64().unwrap()
    }

    fn says(&self, person: &Person, text: &str) {
        self.api.post(&self.group, person, &json!({"text": text}));
        self.api.wait_until_confirmed();
    }

    fn key(&self) -> String {
        format!("agent:main:telegram:group:{}", self.chat())
    }
}

#[test]
fn e17_in_a_group_everybody_is_told_once_and_the_owner_alone_releases_in_his_own_chat() {
    let stage = Stage::new();
    stage.model.push(Reply::tool("exec", &json!({"command": REFUSED})));
    stage.says(&ann(), "have a look at the machine");
    let told = stage.api.wait_for_sent(stage.chat(), 1);
    assert!(told[0].text.contains("stopped for safety"), "{told:?}");
    for text in ["hello?", "anybody?", "well then"] {
        stage.says(&ann(), text);
    }
    let notice = stage.api.wait_for_sent(500, 2).remove(1);
    assert!(notice.text.contains("SECURITY WARNING") && notice.text.contains(&stage.key()), "{notice:?}");
    let release = format!("/release {}", stage.key());
    assert!(notice.text.contains(&release), "{notice:?}");
    // Neither who writes there, in the group or alone, nor the owner where others are.
    stage.says(&ann(), &release);
    let refused = stage.api.wait_for_sent(stage.chat(), 2).pop().unwrap();
    assert!(refused.text.contains("is the owner's"), "{refused:?}");
    stage.says(&owner(), &release);
    let refused = stage.api.wait_for_sent(stage.chat(), 3).pop().unwrap();
    assert!(refused.text.contains("is the owner's"), "{refused:?}");
    stage.api.write(&ann(), &release);
    let refused = stage.api.wait_for_sent(1001, 1).pop().unwrap();
    assert!(refused.text.contains("is the owner's"), "{refused:?}");
    assert!(book(&stage.home, "session.release").is_empty());
    assert_eq!(stage.model.requests().len(), 1, "nothing was asked meanwhile");
    stage.api.write(&owner(), &release);
    let done = stage.api.wait_for_sent(500, 3).pop().unwrap();
    assert!(done.text.contains("goes on"), "{done:?}");
    stage.model.push(Reply::text("back again"));
    stage.says(&ann(), "and now?");
    let answer = stage.api.wait_for_sent(stage.chat(), 4).pop().unwrap();
    assert_eq!(answer.text, "back again");
    let released = book(&stage.home, "session.release");
    assert_eq!(released.len(), 1, "{released:?}");
    assert_eq!(released[0]["actor"], "owner:telegram:default:user:500");
    let asked = stage.model.requests().last().unwrap().last_user_text();
    assert!(asked.contains("and now?"), "what was refused meanwhile is not said later: {asked}");
}

/// What Telegram took is forgotten a moment later; killed in between, it is said again.
fn wait_until_no_notice_is_kept(home: &Home) {
    let database = rusqlite::Connection::open(home.state_path().join("state.db")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while database.query_row("SELECT count(*) FROM notices", [], |row| row.get::<_, i64>(0)).unwrap() > 0 {
        assert!(Instant::now() < deadline, "the notice is kept still");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_owner_is_told_once_over_an_outage_and_a_crash() {
    let mut stage = Stage::new();
    stage.api.write(&ann(), "/whoami");
    stage.api.wait_for_sent(1001, 1);
    stage.api.go_down();
    stage.model.push(Reply::tool("exec", &json!({"command": REFUSED})));
    let ran = moltbot(&stage.home, &["agent", "--message", "go"]);
    assert!(ran.0 != 0 && ran.1.contains("in quarantine"), "{ran:?}");
    stage.gateway.kill9();
    stage.api.come_back();
    stage.gateway.restart(&stage.home);
    let notice = stage.api.wait_for_sent(500, 2).remove(1);
    assert!(notice.text.contains("agent:main:main"), "{notice:?}");
    // It stands in a code span: nothing of it is markup.
    assert!(notice.html && notice.raw.contains("<code>agent:main:main</code>"), "{notice:?}");
    wait_until_no_notice_is_kept(&stage.home);
    stage.gateway.kill9();
    stage.gateway.restart(&stage.home);
    stage.api.write(&owner(), "/status");
    let sent = stage.api.wait_for_sent(500, 3);
    assert!(sent.len() == 3 && sent[2].text.contains("in quarantine"), "told twice: {sent:?}");
}
