//! Guessing at the real binary: how many guesses are compared, what that costs, and who is let in meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use moltbot_testkit::raw;
use serde_json::{Value, json};

use crate::attacks::{attacked, require_release};
use crate::secrets::book_in;

const WRONG: &str = "Bearer wrong-token-of-somebody-else-0123";
/// What is kept of failures, in the state folder.
const TRIES: &str = "sign-in-tries.json";
/// How much larger an attacked process may be, in bytes.
const GROWTH: usize = 8 * 1024 * 1024;
/// Guessers at the same time.
const GUESSERS: usize = 4;

/// A gateway behind a proxy that it believes, so that guessers can have any address.
fn house() -> (ScriptedModel, Home, Gateway) {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| config["gateway"]["trustedProxies"] = json!(["127.0.0.0/8"]));
    let gateway = Gateway::start(attacked(), &home);
    (model, home, gateway)
}

fn guess(port: u16, client: &str) -> u16 {
    let headers = [("authorization", WRONG), ("x-forwarded-for", client)];
    let answer = raw::http(port, "POST", "/v1/chat/completions", &headers, b"not even read");
    if answer.status == 429 {
        let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("a time");
        assert!((1..=300).contains(&seconds), "{seconds} s");
    }
    answer.status
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The owner's client, whose device has signed in before.
fn known(gateway: &Gateway) -> Connect {
    gateway.connect().device(&Device::from_seed(7), SignatureVersion::V3)
}

#[expect(clippy::disallowed_methods, reason = "the kernel tells of processes in files")]
fn resident(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// What came of many guesses.
struct Storm {
    /// How many had each status.
    statuses: BTreeMap<u16, usize>,
    /// How long each sign-in of the known device took meanwhile.
    honest: Vec<Duration>,
    took: Duration,
}

/// That many guesses from that many addresses, while a known device signs in again and again on this machine.
fn storm(gateway: &Gateway, guesses: u32, sources: u32) -> Storm {
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let port = gateway.port();
    let address = |n: u32| std::net::Ipv4Addr::from(0xcb00_7100 + n % sources).to_string();
    let guesser = |first: u32| {
        let own = (first..guesses).step_by(GUESSERS);
        own.fold(BTreeMap::new(), |mut statuses, n| {
            *statuses.entry(guess(port, &address(n))).or_insert(0) += 1;
            statuses
        })
    };
    let honest = || {
        let mut took = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let at = Instant::now();
            let opened = block_on(known(gateway).open());
            assert!(opened.is_ok(), "a known device is refused: {:?}", opened.err());
            took.push(at.elapsed());
        }
        took
    };
    std::thread::scope(|scope| {
        let honest = scope.spawn(honest);
        let guessers: Vec<_> =
            (0_u32..).take(GUESSERS).map(|first| scope.spawn(move || guesser(first))).collect();
        let mut statuses = BTreeMap::new();
        for found in guessers {
            found
                .join()
                .unwrap()
                .into_iter()
                .for_each(|(status, n)| *statuses.entry(status).or_insert(0) += n);
        }
        over.store(true, Ordering::Relaxed);
        Storm { statuses, honest: honest.join().unwrap(), took: began.elapsed() }
    })
}

/// The records of refused sign-ins with that code: who, and how many refusals they stand for.
fn refusals(home: &Home, code: &str) -> Vec<(String, usize)> {
    let book = book_in(home.path());
    let records = book.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let refused = records.filter(|record| record["details"]["code"] == code);
    refused
        .map(|record| {
            let count = record["details"]["count"].as_str().map_or(1, |count| count.parse().unwrap());
            (record["details"]["client"].as_str().unwrap().to_owned(), count)
        })
        .collect()
}

fn require_a_storm_weathered(guesses: u32, addresses: u32) {
    let (_model, home, mut gateway) = house();
    for _ in 0..50 {
        block_on(known(&gateway).open()).unwrap(); // what is paid once is paid before it is measured
    }
    guess(gateway.port(), "198.51.100.1");
    let before = resident(&gateway);
    let Storm { mut statuses, mut honest, took } = storm(&gateway, guesses, addresses);
    let (guesses, sources) = (usize::try_from(guesses).unwrap(), usize::try_from(addresses).unwrap());
    let grown = resident(&gateway).saturating_sub(before);
    honest.sort();
    let p99 = honest[honest.len() * 99 / 100];
    println!(
        "{guesses} guesses from {sources} in {took:?}: {statuses:?}, {} honest, p99 {p99:?}, {grown} bytes",
        honest.len()
    );
    let evaluated = statuses.remove(&401).unwrap_or_default();
    let refused = statuses.remove(&429).unwrap_or_default();
    assert_eq!((evaluated + refused, &statuses), (guesses, &BTreeMap::new()));
    let minutes = usize::try_from(took.as_secs()).unwrap() / 60 + 1;
    let budget = (limits::GUESSES_IN_ALL * minutes).min(sources * 5 * (minutes / 5 + 1));
    assert!(evaluated <= budget, "{evaluated} guesses were compared in {took:?}");
    assert!(p99 < Duration::from_secs(1), "a known device waited {p99:?}");
    assert!(grown < GROWTH, "{grown} bytes more");
    gateway.terminate();
    let compared = refusals(&home, "token_mismatch");
    assert_eq!(compared.len(), evaluated + 1, "each compared guess is one record");
    let limited = refusals(&home, "rate_limited");
    // One each minute, and the rest when the gateway stops.
    let told = (minutes + 1) * (sources.min(limits::LIMITED_SOURCES) + 1);
    assert!(limited.len() <= told, "{} records of refusals in {minutes} minutes", limited.len());
    assert_eq!(limited.iter().map(|(_, count)| count).sum::<usize>(), refused, "each refusal is counted");
}

#[test]
fn d_30_d_32_d_39_guesses_of_one_source_are_few_and_hold_nobody_up() {
    require_a_storm_weathered(500, 1);
}

#[test]
fn d_32_d_33_d_34_guesses_of_a_thousand_sources_are_few_and_hold_nobody_up() {
    require_a_storm_weathered(1500, 1000);
}

#[test]
#[ignore = "takes a minute; `make siege` runs it"]
fn siege_ten_thousand_guesses_of_one_source_are_few_and_hold_nobody_up() {
    require_release();
    require_a_storm_weathered(10_000, 1);
}

#[test]
#[ignore = "takes a minute; `make siege` runs it"]
fn siege_ten_thousand_guesses_of_a_thousand_sources_are_few_and_hold_nobody_up() {
    require_release();
    require_a_storm_weathered(10_000, 1000);
}

#[test]
fn d_30_d_36_every_way_in_and_a_bad_signature_take_from_the_same_tries() {
    let (_model, _home, gateway) = house();
    let hop = ("x-forwarded-for", "203.0.113.9");
    let http =
        |path: &str| raw::http(gateway.port(), "GET", path, &[hop, ("authorization", WRONG)], b"").status;
    assert_eq!([http("/"), http("/v1/models")], [401; 2]);
    let code = |connect: Connect| {
        let rejection = block_on(connect.header(hop.0, hop.1).open()).err().unwrap();
        rejection.error.unwrap().code
    };
    assert_eq!(code(Connect::to(gateway.port()).token("wrong")), ErrorCode::InvalidRequest);
    for n in 0..2 {
        let forged = known(&gateway).change(|params| params["device"]["signature"] = "AAAA".into());
        assert_eq!(code(forged), ErrorCode::InvalidRequest, "forgery {n}");
    }
    assert_eq!(code(gateway.connect()), ErrorCode::RateLimited, "the right token comes too late");
    assert_eq!(http("/"), 429);
}

#[test]
fn d_31_the_right_token_of_a_device_that_is_not_paired_takes_no_tries() {
    let (_model, _home, gateway) = house();
    for n in 0..7 {
        let connect = known(&gateway).header("x-forwarded-for", "203.0.113.9");
        let rejection = block_on(connect.open()).err().unwrap();
        assert_eq!(rejection.error.unwrap().code, ErrorCode::NotPaired, "try {n}");
    }
}

/// Locked out on this machine, a page or another user of it is; the owner's device is not, and gives them nothing.
#[test]
fn d_34_d_37_a_known_device_is_not_locked_out_and_gives_no_tries_back() {
    let (_model, _home, gateway) = house();
    block_on(known(&gateway).open()).unwrap();
    let code =
        |connect: Connect| block_on(connect.open()).err().map(|rejection| rejection.error.unwrap().code);
    for n in 0..5 {
        block_on(known(&gateway).open()).unwrap();
        assert_eq!(
            code(Connect::to(gateway.port()).token("wrong")),
            Some(ErrorCode::InvalidRequest),
            "try {n}"
        );
    }
    assert_eq!(code(gateway.connect()), Some(ErrorCode::RateLimited));
    assert_eq!(code(known(&gateway)), None);
    assert_eq!(code(gateway.connect()), Some(ErrorCode::RateLimited), "it gave them nothing");
    let unknown = gateway.connect().device(&Device::from_seed(8), SignatureVersion::V3);
    assert_eq!(code(unknown), Some(ErrorCode::RateLimited), "a key alone is nothing");
}

#[test]
fn d_34_the_owners_command_line_is_never_locked_out() {
    let (_model, home, gateway) = house();
    for _ in 0..6 {
        drop(block_on(Connect::to(gateway.port()).token("wrong").open()));
    }
    let output = moltbot_testkit::process::run(attacked(), &home, &["gateway", "call", "health"]);
    assert!(output.status.success(), "its first sign-in: {output:?}");
}

#[test]
fn d_37_a_lock_and_a_known_device_survive_kill_9() {
    let (_model, home, mut gateway) = house();
    block_on(known(&gateway).open()).unwrap();
    for n in 0..5 {
        assert_eq!(guess(gateway.port(), "203.0.113.9"), 401, "try {n}");
        drop(block_on(Connect::to(gateway.port()).token("wrong").open()));
    }
    gateway.restart(&home);
    assert_eq!(guess(gateway.port(), "203.0.113.9"), 429);
    assert_eq!(guess(gateway.port(), "203.0.113.10"), 401, "others are not affected");
    let rejection = block_on(gateway.connect().open()).err().unwrap();
    assert_eq!(rejection.error.unwrap().code, ErrorCode::RateLimited);
    block_on(known(&gateway).open()).unwrap();
}

#[test]
fn d_37_failures_that_cannot_be_read_refuse_strangers_and_not_this_machine() {
    let (_model, home, mut gateway) = house();
    gateway.terminate();
    home.state().write(TRIES, b"{\"version\":1,\"tries\":[]").unwrap();
    for start in ["the first", "the next"] {
        gateway.restart(&home);
        assert_eq!(guess(gateway.port(), "203.0.113.9"), 429, "after {start} start");
        block_on(gateway.connect().open()).unwrap();
    }
    assert!(gateway.printed().contains("failed sign-ins of before cannot be read"), "{}", gateway.printed());
    assert!(home.state_path().join(format!("{TRIES}.unreadable")).exists());
}
