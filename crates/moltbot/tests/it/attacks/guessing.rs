//! Guessing the credential online, in every way that was ever tried: how many guesses are compared, and who waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::raw;
use serde::Deserialize;

use super::{House, block_on, require_release};

/// How much larger an attacked process may be, in bytes.
const GROWTH: usize = 8 * 1024 * 1024;
/// Guessers at the same time.
const GUESSERS: usize = 4;

/// One row of the data file.
#[derive(Deserialize)]
struct Variant {
    name: String,
    /// How each guess is made, in turn.
    ways: Vec<String>,
    /// What the trusted proxy says about the client, in turn; `N` counts up to 256.
    clients: Vec<String>,
    /// Guesses that may be compared within a minute.
    budget: usize,
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
fn variants() -> Vec<Variant> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/guessing.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// What a guess came to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Answer {
    /// It was compared, and wrong.
    Compared,
    /// There was no place for its connection.
    Crowded,
    /// It was refused unheard.
    Limited,
    /// Its frame was not understood.
    NotRead,
}

impl Variant {
    fn guess(&self, house: &House, n: usize) -> Answer {
        let count = (n / self.clients.len() % 256).to_string();
        let client = self.clients[n % self.clients.len()].replace('N', &count);
        let wrong = format!("wrong-token-number-{n:06}-of-somebody-else");
        let hop = ("x-forwarded-for", client.as_str());
        let bearer = format!("Bearer {wrong}");
        let http = |path, header: (&str, &str)| match raw::http(
            house.port(),
            "POST",
            path,
            &[hop, header],
            b"never read",
        )
        .status
        {
            401 => Answer::Compared,
            429 => Answer::Limited,
            503 => Answer::Crowded,
            other => panic!("{other} in {}", self.name),
        };
        let connect = Connect::to(house.port()).token(&wrong).header(hop.0, hop.1);
        let way = &self.ways[n % self.ways.len()];
        match way.as_str() {
            "http" => http("/v1/chat/completions", ("authorization", &bearer)),
            "other route" => http("/none", ("authorization", &bearer)),
            "own header" => http("/", ("x-openclaw-token", &wrong)),
            "websocket" => sign_in(connect),
            "decoy" => {
                sign_in(connect.change(|params| params["auth"]["deviceToken"] = "x".repeat(43).into()))
            }
            "device" => sign_in(connect.device(&Device::from_seed(9), SignatureVersion::V3)),
            "forged" => {
                let known = connect.device(&Device::from_seed(7), SignatureVersion::V3);
                sign_in(known.change(|params| params["device"]["signature"] = "AAAA".into()))
            }
            other => panic!("no such way: {other}"),
        }
    }
}

fn sign_in(connect: Connect) -> Answer {
    let rejection = block_on(connect.open()).err().expect("a guess is never right");
    match (rejection.status, rejection.error) {
        (Some(503), _) | (None, None) => Answer::Crowded,
        (_, Some(error)) if error.code == ErrorCode::RateLimited => Answer::Limited,
        (_, Some(error)) if error.message.starts_with("unauthorized") => Answer::Compared,
        (_, Some(error)) if error.message.contains("unknown field") => Answer::NotRead,
        other => panic!("{other:?}"),
    }
}

/// That many guesses, while the owner's client signs in again and again.
fn require_weathered(variant: &Variant, guesses: usize) {
    let mut house = House::open();
    let before = house.resident();
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (answers, mut honest) = std::thread::scope(|scope| {
        let (house, over) = (&house, &over);
        let honest = scope.spawn(move || {
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                took.push(house.sign_in_time());
            }
            took
        });
        let guesser = |first: usize| {
            let own = (first..guesses).step_by(GUESSERS);
            own.map(|n| variant.guess(house, n)).collect::<Vec<_>>()
        };
        let guessers: Vec<_> = (0..GUESSERS).map(|first| scope.spawn(move || guesser(first))).collect();
        let mut answers = BTreeMap::new();
        for answer in guessers.into_iter().flat_map(|guesser| guesser.join().unwrap()) {
            *answers.entry(answer).or_insert(0_usize) += 1;
        }
        over.store(true, Ordering::Relaxed);
        (answers, honest.join().unwrap())
    });
    let took = began.elapsed();
    let grown = house.resident().saturating_sub(before);
    honest.sort();
    let p99 = honest[honest.len() * 99 / 100];
    let Variant { name, budget, .. } = variant;
    println!(
        "{name}: {guesses} in {took:.1?}: {answers:?}; {} sign-ins, p99 {p99:.1?}; {grown} bytes",
        honest.len()
    );
    house.gateway.terminate();
    let failures = ["token_mismatch", "token_missing", "device_signature_invalid", "device_signature"];
    let recorded: usize = failures.iter().map(|code| house.refusals(code).len()).sum();
    let compared = answers.get(&Answer::Compared).copied().unwrap_or_default();
    assert!(recorded <= compared, "{name}: each compared guess is one record: {recorded} of {compared}");
    let minutes = usize::try_from(took.as_secs()).unwrap() / 60 + 1;
    assert!(compared <= budget * minutes, "{name}: {compared} guesses were compared in {took:?}");
    assert!(p99 < Duration::from_secs(1), "{name}: the owner waited {p99:?}");
    assert!(grown < GROWTH, "{name}: {grown} bytes more");
    let unheard: usize = ["rate_limited", "penalised"]
        .iter()
        .flat_map(|code| house.refusals(code))
        .map(|(_, count)| count)
        .sum();
    let limited = answers.get(&Answer::Limited).copied().unwrap_or_default();
    assert_eq!(unheard, limited, "{name}: each refusal is counted in the book");
}

#[test]
fn a05_d_30_d_31_d_33_no_way_of_guessing_is_compared_more_often_than_another() {
    let variants = variants();
    assert!(variants.len() >= 12, "{} variants", variants.len());
    for variant in &variants {
        require_weathered(variant, 150);
    }
}

#[test]
#[ignore = "takes minutes; `make siege` runs it"]
fn siege_ten_thousand_guesses_in_every_way() {
    require_release();
    for variant in &variants() {
        require_weathered(variant, 10_000);
    }
}

/// Unknown, wrong, forged, revoked: whoever is not let in is told the same, byte by byte, as long as it may try; and when it
/// may not, whether or not it would be right.
#[test]
fn nobody_learns_from_a_refusal_what_was_wrong() {
    let house = House::open();
    let told = |connect: Connect, client: &str| {
        let rejection = block_on(connect.header("x-forwarded-for", client).open()).err().expect("a refusal");
        format!("{:?} {:?}", rejection.error, rejection.close)
    };
    let wrong = || Connect::to(house.port()).token("wrong-token-of-somebody-else-0123456");
    let known = Device::from_seed(7);
    let stranger = Device::from_seed(9);
    let cases: [(&str, Connect); 7] = [
        ("a wrong token", wrong()),
        ("no token", Connect::to(house.port())),
        ("a password instead", Connect::to(house.port()).password("wrong-token-of-somebody-else")),
        ("a wrong token and an unknown device", wrong().device(&stranger, SignatureVersion::V3)),
        ("a wrong token and a known device", wrong().device(&known, SignatureVersion::V3)),
        ("the right token and a forged signature", {
            let connect = house.gateway.connect().device(&known, SignatureVersion::V3);
            connect.change(|params| params["device"]["signature"] = "AAAA".into())
        }),
        ("the right token and an expired signature", {
            let connect = house.gateway.connect().device(&known, SignatureVersion::V3);
            connect.change(|params| params["device"]["signedAt"] = 1.into())
        }),
    ];
    let expected = told(wrong(), "198.51.100.200");
    for (n, (name, connect)) in cases.into_iter().enumerate() {
        assert_eq!(told(connect, &format!("198.51.100.{n}")), expected, "{name}");
    }
    let http = |credential: &str, client: &str| {
        let headers = [("authorization", credential), ("x-forwarded-for", client)];
        let answer = raw::http(house.port(), "GET", "/none", &headers, b"");
        let date = |line: &&str| !line.starts_with("date:") && !line.starts_with("retry-after:");
        let text = answer.text();
        let (told, _) = text.split_once("try again in").unwrap_or((&text, ""));
        (answer.head.lines().filter(date).collect::<Vec<_>>().join("\n"), told.to_owned())
    };
    let right = format!("Bearer {}", house.gateway.token());
    let expected = http("Bearer wrong", "198.51.100.201");
    for (n, credential) in ["", "Basic bW9sdDpib3Q=", "Bearer ", "Bearer wrong-too"].iter().enumerate() {
        assert_eq!(http(credential, &format!("198.51.100.{}", 100 + n)), expected, "{credential:?}");
    }
    for _ in 0..6 {
        http("Bearer wrong", "198.51.100.202");
    }
    let locked = [http(&right, "198.51.100.202"), http("Bearer wrong", "198.51.100.202")];
    assert!(locked[0].0.starts_with("HTTP/1.1 429"), "{locked:?}");
    assert_eq!(locked[0], locked[1], "a lock does not tell whether the token is right");
}

/// An empty credential in the config is none: the gateway does not start. An empty one of a client is a wrong one.
#[test]
fn a21_an_empty_credential_opens_nothing() {
    for empty in ["", " ", "\t\n"] {
        let home = moltbot_testkit::home::Home::empty().unwrap();
        let auth = serde_json::json!({"mode": "token", "token": empty});
        home.write_config(&serde_json::json!({"gateway": {"auth": auth, "port": home.port()}}));
        let ran = moltbot_testkit::process::run(super::PROGRAM, &home, &["gateway", "run"]);
        assert_eq!(ran.status.code(), Some(78), "{empty:?}: {ran:?}");
    }
    let house = House::open();
    for (name, value) in [("authorization", "Bearer "), ("authorization", "Bearer"), ("x-moltbot-token", " ")]
    {
        let hop = ("x-forwarded-for", "203.0.113.9");
        let answer = raw::http(house.port(), "GET", "/none", &[(name, value), hop], b"");
        assert_eq!(answer.status, 401, "{name}: {value:?}");
    }
}
