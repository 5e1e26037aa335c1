use moltbot_config::limits;
use moltbot_testkit::raw::{self, RawFrame, RawSocket};
use serde_json::{Value, json};

use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_learns_nothing_but_that_somebody_is_there() {
    let house = House::echo().await;
    let answer = house.http("GET", "/healthz", &[], b"").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for (method, path) in
        [("GET", "/"), ("POST", "/v1/chat/completions"), ("GET", "/no/such/path"), ("POST", "/healthz")]
    {
        let answer = house.http(method, path, &[], b"").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        let body = json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
        assert_eq!(answer.json(), body, "{method} {path}");
    }
}

fn with_views() -> impl FnOnce(&mut Value) {
    |config| {
        let on = json!({"enabled": true});
        config["gateway"]["http"]["endpoints"] = json!({"models": on, "metrics": on, "readyz": on});
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_looked_at_is_there_once_it_is_switched_on() {
    let house = House::changed(with_views()).await;
    let models = house.request("GET", "/v1/models", &Value::Null).await;
    assert_eq!(models.status, 200);
    let listed = models.json();
    let listed = listed["data"].as_array().unwrap();
    assert!(listed.iter().any(|model| model["id"] == "scripted/scripted"), "{listed:?}");
    let figures = house.request("GET", "/metrics", &Value::Null).await;
    assert_eq!(figures.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let figures = figures.text();
    for figure in
        ["moltbot_ledger_whole 1", "moltbot_store_well 1", "moltbot_stopped 0", "moltbot_sessions 0"]
    {
        assert!(figures.lines().any(|line| line == figure), "{figure}: {figures}");
    }
    // Each figure is told with its help and kind, and by one name.
    let (told, named) = figures.lines().partition::<Vec<_>, _>(|line| !line.starts_with('#'));
    assert_eq!(named.len(), told.len() * 2);
    let ready = house.http("GET", "/readyz", &[], b"").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, "ok"));
    let stopped = house.client().await.call("turns.stop", json!({})).await;
    assert!(stopped.is_ok(), "{stopped:?}");
    let ready = house.http("GET", "/readyz", &[], b"").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "not ready"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_looked_at_is_not_there_for_strangers_or_by_itself() {
    let house = House::changed(with_views()).await;
    for path in ["/v1/models", "/metrics"] {
        assert_eq!(house.http("GET", path, &[], b"").await.status, 401, "{path}");
        assert_eq!(house.request("POST", path, &json!({})).await.status, 405, "{path}");
    }
    let plain = House::echo().await;
    assert_eq!(plain.request("POST", "/v1/responses", &json!({"input": "hi"})).await.status, 404);
    for path in ["/v1/models", "/metrics", "/readyz"] {
        assert_eq!(plain.http("GET", path, &[], b"").await.status, 401, "{path}");
        assert_eq!(plain.request("GET", path, &Value::Null).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signed_in_is_told_what_is_not_there() {
    let house = House::echo().await;
    assert_eq!(house.request("GET", "/no/such/path", &Value::Null).await.status, 404);
    let answer = house.request("GET", "/v1/chat/completions", &Value::Null).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    for name in ["x-moltbot-token", "x-clawdbot-token", "x-openclaw-token"] {
        let answer = house.http("GET", "/nothing", &[(name, &house.token())], b"").await;
        assert_eq!(answer.status, 404, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_a_foreign_name_or_from_a_foreign_page_are_refused_first() {
    let house = House::echo().await;
    for (name, value, code) in [
        ("host", "evil.test", "host_refused"),
        ("origin", "http://evil.test", "origin_refused"),
        ("origin", "null", "origin_refused"),
        ("sec-fetch-site", "cross-site", "origin_refused"),
    ] {
        let bearer = format!("Bearer {}", house.token());
        let headers = [(name, value), ("authorization", bearer.as_str())];
        for path in ["/healthz", "/v1/chat/completions"] {
            let answer = house.http("GET", path, &headers, b"").await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (403, &json!(code)),
                "{name} {path}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_or_no_websocket_is_refused() {
    let house = House::echo().await;
    let answer = house.http("GET", "/healthz", &[("x-filler", &"x".repeat(20_000))], b"").await;
    assert_eq!(answer.status, 431);
    let headers = [("upgrade", "h2c"), ("connection", "upgrade")];
    assert_eq!(house.http("GET", "/", &headers, b"").await.status, 426);
}

/// Those who speak for others have four places of each source; the fifth is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_beyond_the_limit_are_turned_away() {
    let house = House::echo().await;
    tokio::task::block_in_place(|| {
        let open = || RawSocket::upgrade(house.port(), &[("via", "1.1 somebody")]);
        let strangers: Vec<_> = (0..4).map(|_| open().map_err(|answer| answer.status)).collect();
        assert!(strangers.iter().all(Result::is_ok));
        let answer = open().err().unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        drop(strangers);
        while open().is_err() {} // the gateway hears of their leaving a moment later
    });
}

/// Of this machine nobody is turned away: it may be the owner. The one that has waited longest makes room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k02_strangers_of_this_machine_make_room_for_the_next() {
    let house = House::echo().await;
    let mut strangers: Vec<_> = tokio::task::block_in_place(|| {
        (0..limits::UNAUTHENTICATED_HERE).map(|_| RawSocket::open(house.port())).collect()
    });
    for _ in 0..3 {
        house.owner().open().await.expect("the owner is let in at once");
    }
    tokio::task::block_in_place(|| {
        assert_eq!(raw::http(house.port(), "GET", "/healthz", &[], b"").status, 200);
        assert_eq!(strangers.remove(0).end(), RawFrame::Gone, "the one that has waited longest");
        let mut youngest = strangers.pop().unwrap();
        youngest.text("{}").unwrap();
        assert!(matches!(youngest.end(), RawFrame::Close(..)), "the others are still heard");
    });
}
