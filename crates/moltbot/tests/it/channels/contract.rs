//! What every channel has to pass, whatever its vendor.

use std::process::Output;
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use crate::secrets::{PROGRAM, book_in};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long something is waited for that must not happen.
const QUIET: Duration = Duration::from_millis(1500);

/// A vendor's network, its people, and a config that serves it.
pub(super) trait Stage {
    /// Somebody on the network.
    type Person;

    /// The channel's name.
    fn channel(&self) -> &'static str;
    /// Adds the channel to a config: pairing in direct messages, and one group in which `listed` may speak. Nothing else of
    /// the config is touched.
    fn configure(&self, config: &mut Value, listed: &[String]);
    /// Somebody of that name.
    fn person(&mut self, name: &str) -> Self::Person;
    /// The id that such a person has here.
    fn id(&self, name: &str) -> String;
    /// Takes the name of somebody who is gone.
    fn rename(&mut self, person: &mut Self::Person, name: &str);
    /// Says something to us alone.
    fn say(&mut self, person: &mut Self::Person, text: &str);
    /// Says something in the group, with a mention of us.
    fn say_in_group(&mut self, person: &mut Self::Person, text: &str);
    /// The next line that the person sees from us, within that time.
    fn hear(&mut self, person: &mut Self::Person, patience: Duration) -> Option<String>;
    /// Has the network hand in again what was said last, where it may do that.
    fn hand_in_again(&mut self) {}
    /// Has the network refuse the next thing that we say with a wish to wait, where it has such.
    fn ask_to_wait(&mut self) {}
    /// The most bytes of one message of ours.
    fn most_bytes(&self) -> usize;
    /// Takes the network away, and brings it back; people are on it again.
    fn outage(&mut self);
}

/// An installation that serves a stage.
pub(super) struct House<S: Stage> {
    pub(super) stage: S,
    pub(super) home: Home,
    pub(super) model: ScriptedModel,
    pub(super) gateway: Gateway,
}

impl<S: Stage> House<S> {
    pub(super) fn new(stage: S, listed: &[&str]) -> Self {
        Self::with(stage, listed, |_| {})
    }

    /// With more in the config.
    fn with(stage: S, listed: &[&str], more: impl FnOnce(&mut Value)) -> Self {
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        let listed: Vec<String> = listed.iter().map(|name| stage.id(name)).collect();
        home.change_config(|config| {
            stage.configure(config, &listed);
            // Each message has an answer that can be counted.
            config["messages"] = json!({"queue": {"mode": "followup"}});
            more(config);
        });
        let gateway = Gateway::start(PROGRAM, &home);
        let house = Self { stage, home, model, gateway };
        house.connected();
        house
    }

    /// Waits until the channel says that it is connected.
    pub(super) fn connected(&self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let (_, out, _) = self.run(&["gateway", "call", "channels.status"]);
            let status: Value = serde_json::from_str(&out).unwrap_or_default();
            let path = format!("/channelAccounts/{}/0/connected", self.stage.channel());
            if status.pointer(&path) == Some(&Value::Bool(true)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the channel is not connected");
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = run(PROGRAM, &self.home, arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    pub(super) fn heard(&mut self, person: &mut S::Person) -> String {
        self.stage.hear(person, PATIENCE).expect("an answer")
    }

    pub(super) fn hears_nothing(&mut self, person: &mut S::Person) {
        assert_eq!(self.stage.hear(person, QUIET), None);
    }

    /// The code that a stranger is told. If he is the owner, he may be asked about himself before or behind it.
    fn code_of(&mut self, person: &mut S::Person) -> String {
        loop {
            let told = self.heard(person);
            if let Some(code) = told.split("Pairing code: ").nth(1).and_then(|rest| rest.get(..8)) {
                return code.to_owned();
            }
            assert!(told.contains("SECURITY WARNING"), "{told}");
        }
    }

    pub(super) fn let_in(&mut self, name: &str, person: &mut S::Person) {
        self.stage.say(person, "hello");
        let code = self.code_of(person);
        let (channel, id) = (self.stage.channel(), self.stage.id(name));
        let (status, out, err) = self.run(&["pairing", "approve", channel, &code, "--acknowledge", &id]);
        assert_eq!(status, 0, "{out} {err}");
    }
}

/// A stranger gets a code and nothing else, is answered once he is let in, and not once he is let go.
pub(super) fn pairing_in_both_directions<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let channel = house.stage.channel();
    let mut ann = house.stage.person("ann");
    house.stage.say(&mut ann, "first");
    let code = house.code_of(&mut ann);
    house.stage.say(&mut ann, "second");
    house.hears_nothing(&mut ann);
    assert_eq!(house.model.requests().len(), 0, "no model heard of a stranger");

    let id = house.stage.id("ann");
    let (status, list, _) = house.run(&["pairing", "list"]);
    assert!(status == 0 && list.contains(&id) && !list.contains(&code), "{list}");
    let (status, _, told) = house.run(&["pairing", "approve", channel, &code]);
    assert_eq!(status, 1, "d_130, d_132: without a terminal nothing is approved: {told}");
    assert!(
        told.contains(&id) && told.contains("SECURITY WARNING") && told.matches("  - ").count() == 4,
        "{told}"
    );
    let (status, _, _) = house.run(&["pairing", "approve", channel, &code, "--acknowledge", "yes"]);
    assert_eq!(status, 1);
    house.stage.say(&mut ann, "third");
    house.hears_nothing(&mut ann);
    for _ in 0..2 {
        let (status, out, err) = house.run(&["pairing", "approve", channel, &code, "--acknowledge", &id]);
        assert_eq!(status, 0, "twice is once: {out} {err}");
    }
    assert!(book_in(house.home.path()).contains("sender.approve"), "d_137");

    house.stage.say(&mut ann, "fourth");
    assert!(house.heard(&mut ann).contains("fourth"));
    let (status, _, err) = house.run(&["pairing", "revoke", &id]);
    assert_eq!(status, 0, "{err}");
    let (status, _, _) = house.run(&["pairing", "approve", channel, &code, "--acknowledge", &id]);
    assert_eq!(status, 1, "a code is good once");
    let asked = house.model.requests().len();
    house.stage.say(&mut ann, "fifth");
    house.code_of(&mut ann);
    house.hears_nothing(&mut ann);
    assert_eq!(house.model.requests().len(), asked);
    assert!(!book_in(house.home.path()).contains(&code), "no code is in the book");
}

/// Who takes the name of somebody who is let in is a stranger, in direct messages and in the group.
pub(super) fn names_let_nobody_in<S: Stage>(stage: S) {
    let mut house = House::new(stage, &["ann"]);
    let mut ann = house.stage.person("ann");
    let mut eve = house.stage.person("eve");
    house.stage.say_in_group(&mut eve, "one");
    house.hears_nothing(&mut eve);
    house.stage.say_in_group(&mut ann, "two");
    assert!(house.heard(&mut ann).contains("two"));
    house.let_in("ann", &mut ann);
    drop(ann);
    house.stage.rename(&mut eve, "ann");
    let asked = house.model.requests().len();
    house.stage.say_in_group(&mut eve, "three");
    house.hears_nothing(&mut eve);
    house.stage.say(&mut eve, "four");
    house.code_of(&mut eve);
    assert_eq!(house.model.requests().len(), asked);
}

/// A message that was kept is answered once, whatever is killed in between. What the network took right before a kill may
/// be said again, and nothing else.
pub(super) fn a_kill_loses_and_doubles_nothing<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let mut ann = house.stage.person("ann");
    house.let_in("ann", &mut ann);
    for (round, is_answering) in [(0, true), (1, false), (2, true)] {
        let kept = house.model.requests().len();
        if is_answering {
            house.model.push(Reply::Hang);
        }
        house.stage.say(&mut ann, &format!("round-{round}"));
        house.model.wait_for_requests(kept + 1);
        house.gateway.kill9();
        house.gateway.restart(&house.home);
        house.connected();
        let heard = house.heard(&mut ann);
        assert!(heard.contains(&format!("round-{round}")), "{heard}");
        if is_answering {
            house.hears_nothing(&mut ann);
        } else if let Some(again) = house.stage.hear(&mut ann, QUIET) {
            assert_eq!(again, heard, "what the network had and we did not know of");
        }
    }
}

/// What is said is answered in its order, and what comes twice once.
pub(super) fn in_order_and_each_once<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let mut ann = house.stage.person("ann");
    house.let_in("ann", &mut ann);
    for number in 0..4 {
        house.stage.say(&mut ann, &format!("number-{number}"));
        house.stage.hand_in_again();
    }
    for number in 0..4 {
        let heard = house.heard(&mut ann);
        assert!(heard.contains(&format!("number-{number}")), "{heard}");
    }
    house.hears_nothing(&mut ann);
    assert_eq!(house.model.requests().len(), 4);
}

/// A long answer comes whole, in pieces that the network takes, in order, also when it asks to wait; one without an end is
/// cut off.
pub(super) fn a_long_answer_comes_in_pieces<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let mut ann = house.stage.person("ann");
    house.let_in("ann", &mut ann);
    let most = house.stage.most_bytes();
    let words: Vec<String> = (0..most / 3).map(|number| format!("w{number}")).collect();
    house.model.push(Reply::text(&words.join(" ")));
    house.stage.ask_to_wait();
    house.stage.say(&mut ann, "a long one");
    let (mut heard, mut pieces) = (Vec::new(), 0);
    while heard.len() < words.len() {
        let piece = house.heard(&mut ann);
        assert!(piece.len() <= most + 100, "{} bytes", piece.len());
        let is_ours = |word: &&str| {
            word.strip_prefix('w').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let said = piece
            .split_once(" PRIVMSG ")
            .and_then(|(_, rest)| rest.split_once(" :"))
            .map_or(piece.as_str(), |said| said.1);
        heard.extend(said.split_whitespace().filter(is_ours).map(str::to_owned));
        pieces += 1;
    }
    assert_eq!(heard, words);
    assert!(pieces > 1);
    house.hears_nothing(&mut ann);
}

/// A flood of strangers gets three codes, pushes nobody out, and keeps nobody out whom the owner knows.
pub(super) fn strangers_keep_nobody_out<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let codes: Vec<String> = ["eve", "mal", "sam"]
        .into_iter()
        .map(|name| {
            let mut stranger = house.stage.person(name);
            house.stage.say(&mut stranger, "hello");
            house.code_of(&mut stranger)
        })
        .collect();
    let mut ann = house.stage.person("ann");
    house.stage.say(&mut ann, "hello");
    house.hears_nothing(&mut ann);
    let (channel, id) = (house.stage.channel(), house.stage.id("ann"));
    let (status, out, err) = house.run(&["pairing", "approve", channel, &id, "--acknowledge", &id]);
    assert_eq!(status, 0, "d_136: the owner knows her by her id: {out} {err}");
    house.stage.say(&mut ann, "again");
    assert!(house.heard(&mut ann).contains("again"));
    let eve = house.stage.id("eve");
    let (status, out, err) = house.run(&["pairing", "approve", channel, &codes[0], "--acknowledge", &eve]);
    assert_eq!(status, 0, "the first code is good as ever: {out} {err}");
}

/// The owner decides about senders from his own chat, with the whole id as his word; nobody else does, from anywhere.
pub(super) fn the_owner_decides_in_a_chat<S: Stage>(stage: S) {
    let own = stage.id("own");
    let mut house = House::with(stage, &["own", "ann"], |config| {
        config["commands"] = json!({"ownerAllowFrom": [own, "own", "@own"]});
    });
    let channel = house.stage.channel();
    let (mut own, mut ann, mut eve) =
        (house.stage.person("own"), house.stage.person("ann"), house.stage.person("eve"));
    house.let_in("own", &mut own);
    house.let_in("ann", &mut ann);
    house.stage.say(&mut eve, "/status");
    let code = house.code_of(&mut eve);
    let id = house.stage.id("eve");
    let approve = format!("/pair approve {channel} {code} {id}");
    house.stage.say(&mut eve, &approve);
    house.hears_nothing(&mut eve);
    house.stage.say(&mut ann, &approve);
    assert!(house.heard(&mut ann).contains("is the owner's"), "a sender who was let in");
    house.stage.say_in_group(&mut eve, &approve);
    house.hears_nothing(&mut eve);
    house.stage.say_in_group(&mut own, &approve);
    // Not where others read along. Before it she may be shown who asks, with buttons.
    while !house.heard(&mut own).contains("is the owner's") {}
    assert!(house.heard(&mut eve).contains("is the owner's"), "as she does");

    house.stage.say(&mut own, &format!("/pair approve {channel} {code}"));
    let mut told = String::new();
    while !told.contains("/pair approve") {
        told.push_str(&house.heard(&mut own));
    }
    assert!(told.contains("SECURITY WARNING") && told.contains(&id) && told.contains("sandbox"), "{told}");
    house.stage.say(&mut own, &format!("/pair approve {channel} {code} yes"));
    while !house.heard(&mut own).contains("/pair approve") {}
    house.stage.say(&mut eve, "not yet");
    house.hears_nothing(&mut eve);
    assert!(house.model.requests().is_empty(), "nothing of it reached a model");
    house.stage.say(&mut own, &approve);
    assert!(house.heard(&mut own).contains("Done: approve"));
    house.stage.say(&mut eve, "now");
    assert!(house.heard(&mut eve).contains("now"));
    assert_eq!(house.model.requests().len(), 1, "no command was a turn");
    let book = book_in(house.home.path());
    assert!(
        book.contains("chat.pairing") && book.contains(&format!("owner:{}", house.stage.id("own"))),
        "d_137"
    );
    house.stage.say(&mut own, &format!("/pair revoke {id}"));
    assert!(house.heard(&mut own).contains("Done: revoke"));
    house.stage.say(&mut eve, "and now?");
    house.code_of(&mut eve);
    assert_eq!(house.model.requests().len(), 1);
    house.stage.say(&mut own, "/bash id");
    // Before it she may be shown again who asks.
    while !house.heard(&mut own).contains("there is no /bash here") {}
}

/// `/stop` ends what its sender caused, and `/new` is refused to who shares the conversation with others.
pub(super) fn a_sender_stops_what_he_caused<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let mut ann = house.stage.person("ann");
    house.let_in("ann", &mut ann);
    house.model.push(Reply::Stall(vec!["words".into()]));
    house.stage.say(&mut ann, "hold on");
    house.model.wait_for_requests(1);
    house.stage.say(&mut ann, "/stop");
    house.model.wait_for_hang_ups(1);
    house.stage.say(&mut ann, "/new");
    let mut heard = house.heard(&mut ann);
    while !heard.contains("is the owner's") {
        heard = house.heard(&mut ann); // what the model had said before it was stopped
    }
    house.stage.say(&mut ann, "/whoami");
    assert!(house.heard(&mut ann).contains(&house.stage.id("ann")));
}

/// Identities that the owner links have one conversation; who only is called so has another.
pub(super) fn linked_identities_share_a_conversation<S: Stage>(stage: S) {
    let [ann, bob] = ["ann", "bob"].map(|name| stage.id(name));
    let mut house = House::with(stage, &[], |config| {
        config["session"] =
            json!({"dmScope": "per-peer", "identityLinks": {"annie": [ann, bob, "eve", "@eve"]}});
    });
    for name in ["ann", "bob", "eve"] {
        let mut person = house.stage.person(name);
        house.let_in(name, &mut person);
        house.stage.say(&mut person, &format!("from {name}"));
        assert!(house.heard(&mut person).contains(&format!("from {name}")));
    }
    let last = house.model.requests();
    let said = |number: usize| serde_json::to_string(&last[number].messages()).unwrap();
    assert!(said(1).contains("from ann") && said(1).contains("from bob"), "{}", said(1));
    assert!(!said(2).contains("from ann") && !said(2).contains("from bob"), "{}", said(2));
}

/// After an outage the channel comes back by itself, and people are answered as before.
pub(super) fn an_outage_ends<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let mut ann = house.stage.person("ann");
    house.let_in("ann", &mut ann);
    drop(ann);
    house.stage.outage();
    house.connected();
    let mut ann = house.stage.person("ann");
    house.stage.say(&mut ann, "back");
    assert!(house.heard(&mut ann).contains("back"));
}

/// Has a stage pass the whole contract: `$with` runs a test with a stage, or says that it cannot.
macro_rules! every_channel_passes {
    ($($name:ident: $test:ident),+ $(,)? => $with:ident) => {
        $(
            #[test]
            fn $name() {
                $with(stringify!($name), $crate::channels::contract::$test);
            }
        )+
    };
}
pub(super) use every_channel_passes;
