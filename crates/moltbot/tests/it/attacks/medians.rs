//! What the time of an answer tells over the network: in the middle, nothing. The comparison itself is measured in the
//! process, by `policy::authentication`.

use std::time::{Duration, Instant};

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::raw;

use super::{House, block_on, refusal, require_release};

/// How far two medians may be apart.
const APART: f64 = 0.05;
/// Wrong guesses at one gateway: more of strangers at one credential are not compared within a minute.
const GUESSES: usize = 16;
/// Of one address.
const EACH: usize = 4;

/// The times of two kinds of requests, each in turn the first of a pair.
#[derive(Default)]
struct Times([Vec<Duration>; 2]);

impl Times {
    fn pair(&mut self, n: usize, mut ask: impl FnMut(usize)) {
        for kind in [n % 2, (n + 1) % 2] {
            let began = Instant::now();
            ask(kind);
            self.0[kind].push(began.elapsed());
        }
    }

    /// How far the medians are apart, as a share of the smaller one.
    fn apart(&mut self, name: &str) -> f64 {
        let medians = self.0.each_mut().map(|times| {
            times.sort();
            times[times.len() / 2].as_secs_f64() * 1e3
        });
        let apart = medians[0].max(medians[1]) / medians[0].min(medians[1]) - 1.0;
        let count = self.0[0].len();
        println!("{name}: medians of {count} each {medians:.4?} ms, {:.1} % apart", apart * 100.0);
        apart
    }
}

fn http(house: &House, token: &str, client: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", client)];
    raw::http(house.port(), "GET", "/none", &headers, b"").status
}

/// Once a source is refused, the right token is refused as fast as a wrong one.
fn locked(pairs: usize) -> f64 {
    let house = House::open();
    let client = "203.0.113.9";
    while http(&house, "wrong", client) != 429 {}
    let tokens = [house.gateway.token().to_owned(), "w".repeat(house.gateway.token().len())];
    let mut times = Times::default();
    for n in 0..pairs {
        times.pair(n, |kind| assert_eq!(http(&house, &tokens[kind], client), 429));
    }
    times.apart("locked, the right token and a wrong one")
}

/// A token that is wrong at its first character and one that is wrong at its last, over HTTP.
fn wrong_token(houses: usize) -> f64 {
    let mut times = Times::default();
    for _ in 0..houses {
        let house = House::open();
        let wrong = |at: usize| {
            let mut token = house.gateway.token().as_bytes().to_vec();
            token[at] = if token[at] == b'a' { b'b' } else { b'a' };
            String::from_utf8(token).unwrap()
        };
        let tokens = [wrong(0), wrong(house.gateway.token().len() - 1)];
        for n in 0..GUESSES / 2 {
            let client = format!("203.0.113.{}", 2 * n / EACH);
            times.pair(n, |kind| assert_eq!(http(&house, &tokens[kind], &client), 401));
        }
    }
    times.apart("a token wrong at its first and at its last character")
}

/// A wrong token with the key of a device that is paired, and with one of nobody, over WebSocket.
fn known_device(houses: usize) -> f64 {
    let mut times = Times::default();
    for _ in 0..houses {
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
            times.pair(n, |kind| {
                let connect = signing(if kind == 0 { known(n) } else { unknown(n) });
                let wrong = connect.token("wrong-token-of-somebody-else-0123456");
                let refusal = refusal(wrong.header("x-forwarded-for", &client));
                assert_eq!(refusal, Some(ErrorCode::InvalidRequest), "it is compared");
            });
        }
    }
    times.apart("a wrong token with a known and with an unknown device")
}

#[test]
fn a_lock_answers_the_right_token_as_fast_as_a_wrong_one() {
    let apart = locked(1500);
    assert!(apart < APART, "{:.1} % apart", apart * 100.0);
}

#[test]
#[ignore = "takes a minute; `make siege` runs it"]
fn siege_the_medians_of_refusals_over_the_network_are_within_five_hundredths() {
    require_release();
    let apart = [locked(10_000), wrong_token(60), known_device(60)];
    assert!(apart.iter().all(|apart| *apart < APART), "{apart:?}");
}
