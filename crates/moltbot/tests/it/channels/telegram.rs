//! Telegram's stand-in against the contract. What only Telegram does is tried in [`crate::telegram`].

use std::time::{Duration, Instant};

use moltbot_testkit::telegram::{Person as User, Sent, TelegramApi};
use serde_json::{Value, json};

use super::contract::Stage;

/// The stand-in, and one group.
struct Telegram {
    api: TelegramApi,
    group: Value,
    /// The last update with a message, for handing it in again.
    last: Option<Value>,
}

/// A user, and how much of what we said he has seen.
struct Person {
    user: User,
    seen: usize,
}

/// The number of a user who was called so at first.
fn number(name: &str) -> i64 {
    1000 + i64::from(name.bytes().map(u32::from).sum::<u32>())
}

impl Telegram {
    fn new() -> Self {
        let api = TelegramApi::start();
        let group = api.group("Home");
        Self { api, group, last: None }
    }

    fn sent_to(&self, person: &Person) -> Vec<Sent> {
        let chats = [person.user.id, self.group["id"].as_i64().unwrap()];
        self.api.sent().into_iter().filter(|sent| chats.contains(&sent.chat)).collect()
    }
}

impl Stage for Telegram {
    type Person = Person;

    fn channel(&self) -> &'static str {
        "telegram"
    }

    fn configure(&self, config: &mut Value, listed: &[String]) {
        let group = self.group["id"].to_string();
        config["channels"] = json!({"telegram": {
            "botToken": self.api.token(), "apiRoot": self.api.root(),
            "groups": {group: {}}, "groupAllowFrom": listed,
        }});
    }

    fn person(&mut self, name: &str) -> Person {
        let user = User::new(number(name), name, Some(name));
        let seen = self.sent_to(&Person { user: user.clone(), seen: 0 }).len();
        Person { user, seen }
    }

    fn id(&self, name: &str) -> String {
        format!("telegram:default:user:{}", number(name))
    }

    fn rename(&mut self, person: &mut Person, name: &str) {
        person.user.first_name = name.into();
        person.user.username = Some(name.into());
        // What was said in the group meanwhile was for others.
        person.seen = self.sent_to(person).len();
    }

    fn say(&mut self, person: &mut Person, text: &str) {
        let message = self.api.write(&person.user, text);
        self.last = Some(json!({"message": {
            "message_id": message, "date": 1, "from": person.user.json(), "text": text,
            "chat": {"id": person.user.id, "type": "private", "first_name": person.user.first_name},
        }}));
    }

    fn say_in_group(&mut self, person: &mut Person, text: &str) {
        let us = json!([{"type": "mention", "offset": 0, "length": 13}]);
        let content = json!({"text": format!("@stand_in_bot {text}"), "entities": us});
        self.api.post(&self.group, &person.user, &content);
    }

    fn hear(&mut self, person: &mut Person, patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            if let Some(sent) = self.sent_to(person).get(person.seen) {
                person.seen += 1;
                return Some(sent.text.clone());
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn hand_in_again(&mut self) {
        self.api.update(self.last.clone().unwrap());
    }

    fn ask_to_wait(&mut self) {
        self.api.fail("sendMessage", [moltbot_testkit::telegram::Fault::Busy(1)]);
    }

    fn most_bytes(&self) -> usize {
        4096
    }

    fn outage(&mut self) {
        let polls = self.api.count("getUpdates");
        self.api.go_down();
        std::thread::sleep(Duration::from_millis(300));
        self.api.come_back();
        self.api.wait_for_calls("getUpdates", polls + 1);
    }
}

fn with_stand_in(_: &str, test: impl FnOnce(Telegram)) {
    test(Telegram::new());
}

super::contract::every_channel_passes! {
    d_130_d_132_d_137_telegram_pairs_in_both_directions_and_tells_strangers_nothing: pairing_in_both_directions,
    d01_d05_telegram_names_let_nobody_in_and_a_pairing_does_not_count_in_groups: names_let_nobody_in,
    telegram_a_kill_loses_and_doubles_nothing: a_kill_loses_and_doubles_nothing,
    telegram_an_outage_ends: an_outage_ends,
    telegram_in_order_and_each_once: in_order_and_each_once,
    telegram_a_long_answer_comes_in_pieces: a_long_answer_comes_in_pieces,
    d_136_telegram_strangers_keep_nobody_out: strangers_keep_nobody_out,
    telegram_the_owner_decides_in_a_chat: the_owner_decides_in_a_chat,
    telegram_a_sender_stops_what_he_caused: a_sender_stops_what_he_caused,
    telegram_linked_identities_share_a_conversation: linked_identities_share_a_conversation
    => with_stand_in
}
