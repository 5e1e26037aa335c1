//! Who wastes the gateway's time is refused for a while, and nobody else is.

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::Connect;
use moltbot_testkit::raw::{self, RawFrame, RawSocket};

use super::{House, block_on, refusal};

/// A frame that no client sends first.
fn garbage(house: &House, client: &str) -> RawFrame {
    let mut socket = house.upgrade(client).unwrap();
    socket.text("garbage").unwrap();
    socket.end()
}

fn http(house: &House, client: &str) -> raw::HttpAnswer {
    let bearer = format!("Bearer {}", house.gateway.token());
    let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", client)];
    raw::http(house.port(), "GET", "/none", &headers, b"")
}

/// A device that is paired and has the right token, and has not signed in since the attack began.
fn bare(house: &House, client: &str) -> Connect {
    house.gateway.connect().header("x-forwarded-for", client)
}

#[test]
fn two_malformed_frames_have_their_source_refused_and_nobody_else() {
    let mut house = House::open();
    let attacker = "203.0.113.9";
    assert!(matches!(garbage(&house, attacker), RawFrame::Close(Some(1008), _)));
    assert_eq!(http(&house, attacker).status, 404, "one mistake is forgiven");
    // The gateway hears of the end of a connection a moment later, and who signs in before it does starts anew.
    let mut answer = http(&house, attacker);
    for _ in 0..20 {
        for _ in 0..2 {
            garbage(&house, attacker);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        answer = http(&house, attacker);
        if answer.status == 429 {
            break;
        }
    }
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "{seconds} s");
    for written in [attacker, "::ffff:203.0.113.9", "198.51.100.7, 203.0.113.9"] {
        assert_eq!(refusal(bare(&house, written)), Some(ErrorCode::RateLimited), "{written}");
        assert_eq!(http(&house, written).status, 429, "{written}");
    }
    assert_eq!(raw::http(house.port(), "GET", "/healthz", &[("x-forwarded-for", attacker)], b"").status, 200);
    for other in ["203.0.113.10", "2001:db8::9"] {
        assert_eq!((http(&house, other).status, refusal(bare(&house, other))), (404, None), "{other}");
    }
    assert_eq!(refusal(house.gateway.connect()), None, "the owner's console");
    let known = || house.known().header("x-forwarded-for", attacker);
    assert_eq!(refusal(known()), None, "a known device, from the very address of the attacker");
    assert_eq!(http(&house, attacker).status, 429, "which it does not free");
    house.gateway.terminate();
    let told = house.refusals("penalised");
    assert!(told.len() <= 2 && told.iter().all(|(client, _)| client == attacker), "{told:?}");
    assert!(told.iter().map(|(_, count)| count).sum::<usize>() >= 8, "{told:?}");
}

#[test]
fn connections_that_say_nothing_add_up() {
    let house = House::open();
    let silent = |count: usize| {
        for _ in 0..count {
            drop(house.upgrade("203.0.113.9"));
        }
    };
    for round in 0..3 {
        silent(8);
        assert_eq!(http(&house, "203.0.113.9").status, 404, "round {round}: who signs in starts anew");
    }
    silent(40);
    assert_eq!(refusal(bare(&house, "203.0.113.9")), Some(ErrorCode::RateLimited));
    assert_eq!(http(&house, "203.0.113.10").status, 404, "another source is not affected");
}

#[test]
fn a_whole_v6_network_is_refused_when_its_hosts_add_up() {
    let house = House::open();
    let host = |n: u32| format!("2001:db8:77:{n:x}::1");
    for n in 0..13 {
        garbage(&house, &host(n));
    }
    let fresh = || refusal(bare(&house, &host(0xfff0)));
    assert_eq!(fresh(), Some(ErrorCode::RateLimited), "a host that did nothing, of the same customer");
    assert_eq!(refusal(bare(&house, "2001:db8:78::1")), None, "another customer");
}

/// Its own connections are not punished: they may be the owner's. Those of a page or a proxy on it are, by themselves.
#[test]
fn d_34_nothing_that_happens_on_this_machine_locks_its_console_out() {
    let house = House::open();
    for n in 0..20 {
        let mut socket = RawSocket::open(house.port());
        socket.text("garbage").unwrap();
        socket.end();
        drop(RawSocket::open(house.port()));
        for page in [("origin", "http://evil.test"), ("host", "evil.test")] {
            assert_eq!(raw::http(house.port(), "GET", "/", &[page], b"").status, 403, "{n}");
        }
    }
    assert_eq!(refusal(house.gateway.connect()), None);
    let through_a_proxy = house.gateway.connect().header("via", "1.1 somebody");
    assert_eq!(refusal(through_a_proxy), Some(ErrorCode::RateLimited), "as all pages and proxies together");
    block_on(house.known().header("via", "1.1 somebody").open()).expect("a known device, through it");
}

/// Five failures are promised, and penalties for failures do not take one of them away.
#[test]
fn failed_sign_ins_alone_are_refused_at_the_sixth_and_not_before() {
    let mut house = House::open();
    let wrong = || Connect::to(house.port()).token("wrong").header("x-forwarded-for", "203.0.113.9");
    for n in 0..5 {
        assert_eq!(refusal(wrong()), Some(ErrorCode::InvalidRequest), "try {n}");
    }
    assert_eq!(refusal(wrong()), Some(ErrorCode::RateLimited));
    assert_eq!(refusal(wrong()), Some(ErrorCode::RateLimited));
    house.gateway.terminate();
    assert_eq!(house.refusals("penalised"), []);
    assert_eq!(house.refusals("rate_limited").iter().map(|(_, count)| count).sum::<usize>(), 2);
}
