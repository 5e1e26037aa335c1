//! Whether the time of a comparison tells anything of what it compares: Welch's t-test, as in dudect (Reparaz, Balasch and
//! Verbauwhede, 2017). Two kinds of inputs in random order; times of the slowest tenth are other programs' and left out.

use std::hint::black_box;
use std::time::Instant;

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::throttle::{Asking, Throttle};

const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
/// Beyond this the kinds are told apart, says dudect.
const TELLING: f64 = 4.5;

/// The t statistic of the times of `judge`, over so many calls of each of both kinds.
fn t_statistic(samples: usize, mut judge: impl FnMut(usize)) -> f64 {
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    while times.iter().any(|times| times.len() < samples) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kind = usize::from(seed >> 63 == 1);
        let began = Instant::now();
        judge(kind);
        let took = began.elapsed().as_nanos();
        if times[kind].len() < samples {
            times[kind].push(f64::from(u32::try_from(took).unwrap_or(u32::MAX)));
        }
    }
    let mut all = times.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let [first, second] = times.map(|times| {
        let kept: Vec<f64> = times.into_iter().filter(|time| *time < limit).collect();
        let count = f64::from(u32::try_from(kept.len()).unwrap());
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    println!("means {:.1} ns and {:.1} ns", first.0, second.0);
    (first.0 - second.0) / (first.1 + second.1).sqrt()
}

fn house() -> (Credential, Attempt) {
    let auth = AuthConfig { token: Some(TOKEN.into()), ..AuthConfig::default() };
    let client = "127.0.0.1".parse().unwrap();
    let asking = Asking { client, locality: Locality::Local, credential: "token" };
    let attempt = Throttle::default().admit(asking, std::time::Duration::ZERO).unwrap();
    (Credential::from_config(&auth).unwrap(), attempt)
}

/// A token that is wrong at its first character, and one that is wrong at its last.
fn of_a_wrong_token(samples: usize) -> f64 {
    let (credential, attempt) = house();
    let wrong = |at: usize| {
        let mut token: Vec<u8> = TOKEN.into();
        token[at] ^= 1;
        Presented { token: Some(String::from_utf8(token).unwrap().into()), password: None }
    };
    let presented = [wrong(0), wrong(TOKEN.len() - 1)];
    t_statistic(samples, |kind| {
        let verdict = verify(&attempt, &credential, black_box(&presented[kind]), None, Locality::Local);
        assert!(black_box(verdict).is_err());
    })
}

/// A wrong token with a device that has a token of its own, and with one that nobody knows.
fn of_a_known_device(samples: usize) -> f64 {
    let (credential, attempt) = house();
    let key = SigningKey::from_bytes(&[42; 32]);
    let public_key = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    let id = device_id(&public_key).unwrap();
    let text = DeviceText {
        device_id: &id,
        client_id: "cli",
        client_mode: "cli",
        role: "operator",
        scopes: &[],
        signed_at: 1_800_000_000_000,
        token: "wrong",
        nonce: Some("n"),
        platform: "linux",
        device_family: "",
    };
    let proof = DeviceProof {
        id: id.clone(),
        public_key,
        signature: URL_SAFE_NO_PAD.encode(key.sign(text.version3().as_bytes()).to_bytes()),
        signed_at: text.signed_at,
        nonce: Some("n".into()),
    };
    let presented = Presented { token: Some("wrong".into()), password: None };
    let held = [None, Some(TokenDigest::of(&TOKEN.into()))];
    t_statistic(samples, |kind| {
        let token = held[kind];
        let claim = DeviceClaim { proof: &proof, text, challenge: "n", now_ms: text.signed_at, token };
        let verdict = verify(&attempt, &credential, &presented, Some(black_box(claim)), Locality::Local);
        assert!(black_box(verdict).is_err());
    })
}

/// Measures until once nothing is told, three times at most. What the code tells it tells each time and in the same direction; what
/// else runs on the machine may change between two halves of one measurement, and looks like that once.
fn require_silent(mut measure: impl FnMut() -> f64) {
    let told: Vec<f64> = (0..3).map(|_| measure()).take_while(|t| t.abs() >= TELLING).collect();
    let same = told.iter().all(|t| *t > 0.0) || told.iter().all(|t| *t < 0.0);
    assert!(told.len() < 3 || !same, "t = {told:?}");
}

#[test]
fn the_time_of_a_comparison_does_not_tell_how_far_a_token_matches() {
    require_silent(|| of_a_wrong_token(100_000));
}

#[test]
fn the_time_of_a_sign_in_does_not_tell_whether_a_device_is_known() {
    require_silent(|| of_a_known_device(5_000));
}

/// A comparison that ends at the first difference, as `==` of texts may: the measurement finds it each time.
#[test]
fn a_comparison_that_ends_early_is_found() {
    let wrong = |at: usize| {
        let mut token: Vec<u8> = TOKEN.repeat(8).into();
        token[at] ^= 1;
        token
    };
    let (right, presented) = (TOKEN.repeat(8), [wrong(0), wrong(TOKEN.len() * 8 - 1)]);
    let differs = |token: &[u8]| token.iter().zip(right.bytes()).any(|(a, b)| black_box(*a) != black_box(b));
    for _ in 0..3 {
        let t = t_statistic(20_000, |kind| assert!(black_box(differs(black_box(&presented[kind])))));
        assert!(t < -TELLING, "t = {t}");
    }
}

#[test]
#[ignore = "takes minutes; `make siege` runs it"]
fn siege_the_time_of_a_comparison_tells_nothing_in_a_million_samples() {
    let (token, device) = (of_a_wrong_token(1_000_000), of_a_known_device(1_000_000));
    println!("t = {token} for a token, {device} for a device");
    assert!(token.abs() < TELLING && device.abs() < TELLING, "t = {token} and {device}");
}

/// The test can fail: a comparison that stops early is told apart.
#[test]
fn a_comparison_that_stops_early_is_found() {
    let token = vec![7_u8; 4096];
    let wrong = [0, token.len() - 1].map(|at| {
        let mut wrong = token.clone();
        wrong[at] ^= 1;
        wrong
    });
    let t = t_statistic(5_000, |kind| {
        let same = black_box(&token).iter().zip(black_box(&wrong[kind])).all(|(a, b)| a == b);
        assert!(!black_box(same));
    });
    assert!(t.abs() > TELLING, "t = {t}");
}
