//! What every channel has to pass, whatever its vendor.

use std::process::Output;
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::Value;

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
    /// Adds the channel to a config: pairing in direct messages, and one group in which `listed` may speak.
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
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        let listed: Vec<String> = listed.iter().map(|name| stage.id(name)).collect();
        home.change_config(|config| stage.configure(config, &listed));
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

    fn heard(&mut self, person: &mut S::Person) -> String {
        self.stage.hear(person, PATIENCE).expect("an answer")
    }

    fn hears_nothing(&mut self, person: &mut S::Person) {
        assert_eq!(self.stage.hear(person, QUIET), None);
    }

    /// The code that a stranger is told.
    fn code_of(&mut self, person: &mut S::Person) -> String {
        let told = self.heard(person);
        let code = told.split("Pairing code: ").nth(1).and_then(|rest| rest.get(..8));
        code.unwrap_or_else(|| panic!("{told}")).to_owned()
    }

    fn let_in(&mut self, name: &str, person: &mut S::Person) {
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

/// A message that was kept is answered once, in order and in pieces, whatever is killed in between.
pub(super) fn a_kill_loses_and_doubles_nothing<S: Stage>(stage: S) {
    let mut house = House::new(stage, &[]);
    let mut ann = house.stage.person("ann");
    house.let_in("ann", &mut ann);
    for round in 0..3 {
        let kept = house.model.requests().len();
        house.stage.say(&mut ann, &format!("round-{round}"));
        let end = Instant::now() + PATIENCE;
        while house.model.requests().len() == kept && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        house.gateway.kill9();
        house.gateway.restart(&house.home);
        house.connected();
        let heard = house.heard(&mut ann);
        assert!(heard.contains(&format!("round-{round}")), "{heard}");
        house.hears_nothing(&mut ann);
    }
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
