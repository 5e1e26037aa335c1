//! What the time of an answer tells over the network: in the middle, nothing. The comparison itself is measured in the
//! process, by `policy::authentication`.

use std::time::{Duration, Instant};

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::raw;

use super::{House, block_on, refusal, require_release};

/// How far two medians may be apart.
const APART: f64 = 0.05;
/// Beyond this two kinds are told apart, whatever their medians are: dudect's threshold.
const TELLING: f64 = 4.5;
/// Wrong guesses at one gateway: more of strangers at one credential are not compared within a minute.
const GUESSES: usize = 16;
/// Of one address.
const EACH: usize = 4;

/// Gateways that are asked at full size: most of an answer is a flush of the book, whose time varies, so there have to be
/// thousands of them.
const HOUSES: usize = 240;

/// The times of two kinds of requests, each in turn the first of a pair.
#[derive(Default)]
struct Times([Vec<Duration>; 2]);

impl Times {
    /// Asks for both kinds, that of `first` at first. What a gateway or a source is asked at first takes longer, so each kind
    /// has to be that as often as the other.
    fn pair(&mut self, first: usize, mut ask: impl FnMut(usize)) {
        for kind in [first % 2, (first + 1) % 2] {
            let began = Instant::now();
            ask(kind);
            self.0[kind].push(began.elapsed());
        }
    }

    /// Demands that nobody can tell the kinds apart: their medians are close, and the times are mixed.
    fn require_alike(mut self, name: &str) {
        let z = self.rank_sum();
        let medians = self.0.each_mut().map(|times| {
            times.sort();
            times[times.len() / 2].as_secs_f64() * 1e3
        });
        let apart = medians[0].max(medians[1]) / medians[0].min(medians[1]) - 1.0;
        let count = self.0[0].len();
        println!(
            "{name}: medians of {count} each {medians:.4?} ms, {:.1} % apart, z of their ranks {z:.1}",
            apart * 100.0
        );
        assert!(apart < APART && z.abs() < TELLING, "{name}: {:.1} % apart, z = {z:.1}", apart * 100.0);
    }

    /// The statistic of Mann and Whitney for both kinds, as normally distributed.
    fn rank_sum(&self) -> f64 {
        let mut all: Vec<(Duration, usize)> =
            (0..2).flat_map(|kind| self.0[kind].iter().map(move |time| (*time, kind))).collect();
        all.sort();
        let number = |count: usize| f64::from(u32::try_from(count).unwrap());
        let ranks: f64 =
            (1..).zip(&all).filter(|(_, (_, kind))| *kind == 0).map(|(rank, _)| number(rank)).sum();
        let (first, second) = (number(self.0[0].len()), number(self.0[1].len()));
        let expected = first * (first + second + 1.0) / 2.0;
        (ranks - expected) / (first * second * (first + second + 1.0) / 12.0).sqrt()
    }
}

fn http(house: &House, token: &str, client: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", client)];
    raw::http(house.port(), "GET", "/none", &headers, b"").status
}

/// Once a source is refused, the right token is refused as fast as a wrong one.
fn locked(pairs: usize) {
    let house = House::open();
    let client = "203.0.113.9";
    while http(&house, "wrong", client) != 429 {}
    let tokens = [house.gateway.token().to_owned(), "w".repeat(house.gateway.token().len())];
    let mut times = Times::default();
    for n in 0..pairs {
        times.pair(n, |kind| assert_eq!(http(&house, &tokens[kind], client), 429));
    }
    times.require_alike("locked, the right token and a wrong one");
}

/// A token that is wrong at its first character and one that is wrong at its last, over HTTP.
fn wrong_token(houses: usize) {
    let mut times = Times::default();
    for round in 0..houses {
        let house = House::open();
        let wrong = |at: usize| {
            let mut token = house.gateway.token().as_bytes().to_vec();
            token[at] = if token[at] == b'a' { b'b' } else { b'a' };
            String::from_utf8(token).unwrap()
        };
        let tokens = [wrong(0), wrong(house.gateway.token().len() - 1)];
        for n in 0..GUESSES / 2 {
            let client = format!("203.0.113.{}", 2 * n / EACH);
            times.pair(n + round, |kind| assert_eq!(http(&house, &tokens[kind], &client), 401));
        }
    }
    times.require_alike("a token wrong at its first and at its last character");
}

/// A wrong token with the key of a device that is paired, and with one of nobody, over WebSocket.
fn known_device(houses: usize) {
    let mut times = Times::default();
    for round in 0..houses {
        let house = House::open();
        let signing = |seed: usize| {
            let device = Device::from_seed(u8::try_from(seed).unwrap());
            house.gateway.connect().device(&device, SignatureVersion::V3)
        };
        // A known device has tries of its own, as few as a source: there have to be several.
        let (known, unknown) = (|n: usize| 10 + n / EACH, |n: usize| 100 + n);
        for n in (0..GUESSES / 2).step_by(EACH) {
            block_on(signing(known(n)).open()).expect("paired from this machine");
        }
        for n in 0..GUESSES / 2 {
            let client = format!("203.0.113.{}", 2 * n / EACH);
            times.pair(n + round, |kind| {
                let connect = signing(if kind == 0 { known(n) } else { unknown(n) });
                let wrong = connect.token("wrong-token-of-somebody-else-0123456");
                let refusal = refusal(wrong.header("x-forwarded-for", &client));
                assert_eq!(refusal, Some(ErrorCode::InvalidRequest), "it is compared");
            });
        }
    }
    times.require_alike("a wrong token with a known and with an unknown device");
}

#[test]
fn a_lock_answers_the_right_token_as_fast_as_a_wrong_one() {
    locked(1500);
}

/// The test can fail: what takes a tenth longer is told apart.
#[test]
fn kinds_whose_times_differ_are_told_apart() {
    let mut times = Times::default();
    let noise = |n: usize| u32::try_from(n * 7919 % 400).unwrap();
    times.0[0] = (0..2000).map(|n| Duration::from_micros(1) * (1000 + noise(n))).collect();
    times.0[1] = (0..2000).map(|n| Duration::from_micros(1) * (1100 + noise(n))).collect();
    assert!(times.rank_sum().abs() > TELLING, "z = {}", times.rank_sum());
    assert!(std::panic::catch_unwind(|| times.require_alike("unlike")).is_err());
}

#[test]
#[ignore = "takes minutes; `make siege` runs it"]
fn siege_nobody_tells_refusals_apart_by_their_time_over_the_network() {
    require_release();
    locked(10_000);
    wrong_token(HOUSES);
    known_device(HOUSES);
}
