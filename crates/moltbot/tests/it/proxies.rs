//! Requests through a proxy, to the real binary: who is believed, whose tries are counted, under which names.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::{self, HttpAnswer, RawSocket};
use serde_json::json;

use crate::secrets::{PROGRAM, book_in};

const WRONG: &str = "Bearer wrong-token-of-somebody-else-0123";

fn house(proxies: &[&str]) -> (ScriptedModel, Home, Gateway) {
    let model = ScriptedModel::queue([Reply::text("one"), Reply::text("two")]);
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["gateway"]["trustedProxies"] = json!(proxies);
        config["gateway"]["controlUi"] = json!({"allowedOrigins": ["https://moltbot.example.com"]});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    (model, home, gateway)
}

fn ask(gateway: &Gateway, credential: &str, more: &[(&str, &str)]) -> HttpAnswer {
    let headers = [&[("authorization", credential), ("content-type", "application/json")], more].concat();
    let body = json!({"model": "moltbot", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    raw::http(gateway.port(), "POST", "/v1/chat/completions", &headers, body.as_bytes())
}

#[test]
fn d_11_d_34_tries_are_counted_for_the_client_behind_a_trusted_proxy() {
    let (_model, home, gateway) = house(&["127.0.0.0/8"]);
    let from = |hops: &str| ask(&gateway, WRONG, &[("x-forwarded-for", hops)]).status;
    for n in 0..5 {
        // What stands in front of the proxy's own word is the attacker's, and changes nothing.
        assert_eq!(from(&format!("10.0.0.{n}, 203.0.113.9")), 401, "try {n}");
    }
    assert_eq!(from("127.0.0.1, 203.0.113.9"), 429);
    assert_eq!(from("203.0.113.10"), 401, "others are not affected");
    let good = format!("Bearer {}", gateway.token());
    assert_eq!(ask(&gateway, &good, &[("x-forwarded-for", "203.0.113.9")]).status, 429);
    assert_eq!(ask(&gateway, &good, &[("forwarded", "for=203.0.113.77")]).status, 200);
    assert_eq!(ask(&gateway, &good, &[]).status, 200, "this machine is not locked out");
    let book = book_in(home.path());
    for client in ["203.0.113.9", "203.0.113.10", "203.0.113.77"] {
        assert!(book.contains(&format!("\"client\":\"{client}\"")), "{client} is in the book");
    }
    assert!(!book.contains("\"client\":\"10.0.0.1\""), "nobody's word is in the book as a fact");
}

#[test]
fn d_12_d_33_a_forwarding_header_of_anybody_else_gives_no_new_tries_and_nothing_local() {
    let (_model, _home, gateway) = house(&["10.0.0.0/8"]);
    for (n, name) in
        ["x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-for", "via"].into_iter().enumerate()
    {
        let hop = if name == "forwarded" { format!("for=203.0.113.{n}") } else { format!("203.0.113.{n}") };
        assert_eq!(ask(&gateway, WRONG, &[(name, &hop)]).status, 401, "{name}");
    }
    assert_eq!(ask(&gateway, WRONG, &[("x-forwarded-for", "203.0.113.99")]).status, 429);
}

#[test]
fn d_11_hops_that_cannot_be_read_are_refused_before_anything_is_compared() {
    let (_model, _home, gateway) = house(&["127.0.0.1"]);
    let good = format!("Bearer {}", gateway.token());
    for more in [
        &[("x-forwarded-for", "unknown")][..],
        &[("x-forwarded-for", "203.0.113.9, ")],
        &[("forwarded", "for=_hidden")],
        &[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")],
    ] {
        let answer = ask(&gateway, &good, more);
        assert_eq!(
            (answer.status, answer.json()["error"]["type"].as_str()),
            (403, Some("forwarded_refused")),
            "{more:?}"
        );
    }
}

#[test]
fn d_15_d_18_the_gateway_answers_under_its_own_names_and_to_pages_that_the_owner_named() {
    let (_model, _home, gateway) = house(&["127.0.0.1"]);
    let upgrade = |more: &[(&str, &str)]| {
        RawSocket::upgrade(gateway.port(), more).map(drop).map_err(|answer| answer.status)
    };
    for (more, expected) in [
        (
            &[
                ("host", "moltbot.example.com"),
                ("origin", "https://moltbot.example.com"),
                ("x-forwarded-for", "203.0.113.5"),
            ][..],
            Ok(()),
        ),
        (&[("origin", "https://moltbot.example.com"), ("sec-fetch-site", "cross-site")], Ok(())),
        (&[("host", "evil.example.com")], Err(403)),
        (&[("host", "machine.tailnet.ts.net")], Err(403)),
        (&[("origin", "https://moltbot.example.com.evil.test")], Err(403)),
        (&[("origin", "http://moltbot.example.com")], Err(403)),
        (&[("origin", "null")], Err(403)),
    ] {
        assert_eq!(upgrade(more), expected, "{more:?}");
    }
}

#[test]
fn d_13_a_network_that_is_none_is_refused_with_its_place() {
    for (proxies, origin) in [
        ("10.0.0.0/33", "https://h"),
        ("0.0.0.0/0", "https://h"),
        ("host", "https://h"),
        ("::1", "*"),
        ("::1", "https://h/path"),
    ] {
        let home = Home::empty().unwrap();
        home.write_config(
            &json!({"gateway": {"trustedProxies": [proxies], "controlUi": {"allowedOrigins": [origin]}}}),
        );
        let ran = run(PROGRAM, &home, &["gateway", "run", "--port", &home.port().to_string()]);
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(78), "{told}");
        assert!(told.contains("does not have the right form"), "{told}");
    }
}
