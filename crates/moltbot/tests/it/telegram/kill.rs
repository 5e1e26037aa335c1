//! `kill -9` at random points: every message is answered by one turn, in order, and no answer is lost. Telegram has no key
//! by which it would know a message that it has, so that one that it took right before a kill may come again; nothing
//! else may.

use std::time::Duration;

use moltbot_testkit::model::echo_of;
use serde_json::json;

use super::{Stage, ann};

const ROUNDS: u64 = 25;

/// A reproducible draw; the seed is printed, so that a failing run can be run again.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn killed_at_random_points_it_loses_nothing_and_takes_no_message_twice() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut draw = Draw(seed);
    let mut stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    let ann = ann();
    let mut written = 0;
    for _ in 0..ROUNDS {
        for _ in 0..3 {
            stage.api.write(&ann, &format!("number {written}"));
            written += 1;
        }
        std::thread::sleep(Duration::from_micros(draw.below(150_000)));
        stage.gateway.kill9();
        stage.gateway.restart(&stage.home);
    }
    let expected: Vec<String> = (0..written).map(|number| echo_of(&format!("number {number}"))).collect();
    // The last answer is the last thing that is sent.
    let last = expected.last().cloned().unwrap_or_default();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !stage.api.sent_to(ann.id).iter().any(|sent| sent.text == last) {
        assert!(
            std::time::Instant::now() < deadline,
            "the last message is not answered: {:?}",
            stage.api.sent()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = stage.api.sent_to(ann.id);
    let mut answers: Vec<&str> = sent.iter().map(|sent| sent.text.as_str()).collect();
    let all = answers.len();
    answers.dedup(); // one that Telegram took right before a kill
    assert_eq!(answers, expected, "in order, each once");
    let again = all - answers.len();
    assert!(again <= usize::try_from(ROUNDS).unwrap(), "{again} came again, more than one for each kill");
    println!("{written} messages, {again} answers sent again");
    let (_, history) = stage.moltbot(&["sessions", "list", "--json"]);
    assert!(history.contains("telegram"), "{history}");
}
