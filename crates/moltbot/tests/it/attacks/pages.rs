//! Pages in the owner's own browser: under another name (DNS rebinding), from another site, from another port.

use std::collections::BTreeMap;
use std::path::Path;

use moltbot_testkit::raw::{self, RawSocket};
use serde::Deserialize;

use super::House;

/// One row of the data file: what a page's request has in its head, and how it is refused.
#[derive(Deserialize)]
struct Page {
    name: String,
    headers: BTreeMap<String, String>,
    code: String,
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
fn pages() -> Vec<Page> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/pages.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Also with the right token, on every route and on the upgrade, before anything is compared, and in the book.
#[test]
fn a18_requests_of_foreign_names_and_pages_are_refused_before_the_sign_in_and_recorded() {
    let mut house = House::open();
    let bearer = format!("Bearer {}", house.gateway.token());
    let pages = pages();
    assert!(pages.len() >= 20, "{} pages", pages.len());
    let mut refused = BTreeMap::new();
    for page in &pages {
        let headers: Vec<(&str, &str)> =
            page.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (method, path) in [("GET", "/"), ("POST", "/v1/chat/completions"), ("POST", "/none")] {
            let signed = [headers.as_slice(), &[("authorization", bearer.as_str())]].concat();
            let answer = raw::http(house.port(), method, path, &signed, b"{}");
            let told =
                (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned());
            assert_eq!(told, (403, page.code.clone()), "{}: {method} {path}", page.name);
        }
        let upgrade = RawSocket::upgrade(house.port(), &headers).map(drop).map_err(|answer| answer.status);
        assert_eq!(upgrade, Err(403), "{}: an upgrade", page.name);
        *refused.entry(page.code.clone()).or_insert(0) += 4;
    }
    house.sign_in_time();
    house.gateway.terminate();
    for (code, count) in refused {
        let told = house.refusals(&code);
        assert_eq!(told.iter().map(|(_, count)| count).sum::<usize>(), count, "{code}: {told:?}");
        assert!(told.len() <= 3, "one record a minute, and the rest at the end: {told:?}");
    }
}

/// A form or a script without a preflight may send text: it is no key to anything, there are no cookies, and a foreign
/// `Origin` was refused before.
#[test]
fn a18_there_is_no_sign_in_by_cookie_or_by_the_address() {
    let house = House::open();
    let token = house.gateway.token();
    let cookie = format!("token={token}; moltbot-token={token}; session={token}");
    for (path, name, value) in [
        ("/v1/chat/completions", "cookie", cookie.as_str()),
        ("/v1/chat/completions?token=TOKEN", "content-type", "text/plain"),
        ("/?password=TOKEN", "cookie", cookie.as_str()),
    ] {
        let answer = raw::http(house.port(), "POST", &path.replace("TOKEN", token), &[(name, value)], b"{}");
        assert_eq!(answer.status, 401, "{path} {name}");
    }
}

/// What a proxy says about users, nobody believes: there is no sign-in by a header.
#[test]
fn a14_headers_that_name_a_user_sign_nobody_in() {
    let house = House::open();
    for name in [
        "x-forwarded-user",
        "x-forwarded-email",
        "x-auth-request-user",
        "remote-user",
        "tailscale-user-login",
        "cf-access-authenticated-user-email",
    ] {
        for client in ["127.0.0.1", "203.0.113.9"] {
            let headers = [(name, "owner"), ("x-forwarded-for", client)];
            assert_eq!(raw::http(house.port(), "GET", "/none", &headers, b"").status, 401, "{name} {client}");
            house.sign_in_time();
            let bearer = format!("Bearer {}", house.gateway.token());
            let good = [("authorization", bearer.as_str()), ("x-forwarded-for", client)];
            assert_eq!(raw::http(house.port(), "GET", "/none", &good, b"").status, 404, "forgives it");
        }
    }
}
