//! Each delivery is taken once: whatever comes again, under whatever name, after whatever happened to the gateway.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use serde_json::json;

use super::{GENERIC, GITHUB, House, STRIPE, TOKEN, block_on, ended, now, run_of, sum};

fn github(house: &House, path: &str, delivery: Option<&str>, body: &str) -> moltbot_testkit::raw::HttpAnswer {
    let signature = format!("sha256={}", sum(GITHUB, body));
    let mut headers = vec![("x-hub-signature-256", signature.as_str())];
    headers.extend(delivery.map(|delivery| ("x-github-delivery", delivery)));
    house.post(path, &headers, body)
}

#[test]
fn c06_the_same_delivery_has_the_same_run_and_runs_once_also_after_a_kill() {
    let mut house = House::echo();
    let body = r#"{"text":"pushed"}"#;
    let first = run_of(&github(&house, "/hooks/push", Some("d-1"), body));
    house.gateway.kill9();
    house.gateway.restart(&house.home);
    assert_eq!(run_of(&github(&house, "/hooks/push", Some("d-1"), body)), first, "after a kill");
    // The name is not signed: who has seen the call cannot have it run again by another name, or by none.
    assert_eq!(run_of(&github(&house, "/hooks/push", Some("d-2"), body)), first);
    assert_eq!(run_of(&github(&house, "/hooks/push", None, body)), first);
    let conflict = github(&house, "/hooks/push", Some("d-1"), r#"{"text":"else"}"#);
    assert_eq!(conflict.status, 409, "{}", conflict.text());
    let next = run_of(&github(&house, "/hooks/push", Some("d-3"), r#"{"text":"else"}"#));
    assert_ne!(next, first);
    // The same name at another hook is another delivery.
    let bearer = format!("Bearer {TOKEN}");
    let named = |path: &str, body: &str| {
        house.post(path, &[("authorization", &bearer), ("idempotency-key", "d-1")], body)
    };
    let agent = run_of(&named("/hooks/agent", r#"{"message":"one"}"#));
    let issue = run_of(&named("/hooks/issue", r#"{"id":"1","text":"one"}"#));
    assert_eq!(BTreeSet::from([&first, &agent, &issue]).len(), 3, "two hooks, two deliveries");
    assert_eq!(run_of(&named("/hooks/agent", r#"{"message":"one"}"#)), agent);
    assert_eq!(named("/hooks/agent", r#"{"message":"two"}"#).status, 409);
    // Without a name, what a caller with the token says twice it says twice.
    let unnamed = || run_of(&house.call("/hooks/agent", &json!({"message": "again"})));
    assert_ne!(unnamed(), unnamed());
    block_on(async {
        let mut client = house.gateway.connect().open().await.unwrap();
        let messages = ended(&mut client, &first, &format!("agent:main:hook:{first}")).await;
        assert_eq!(messages.len(), 2, "asked once, answered once: {messages:?}");
        ended(&mut client, &next, &format!("agent:main:hook:{next}")).await;
    });
    let pushed =
        house.model.requests().iter().filter(|request| request.last_user_text().contains("pushed")).count();
    assert!((1..=2).contains(&pushed), "{pushed}: the kill may have met it while it was asked");
}

#[test]
fn deliveries_survive_kills_at_any_point_and_none_runs_twice() {
    let mut house = House::echo();
    let mut acknowledged = BTreeSet::new();
    // A quarter of what one takes here, however slow this machine is now.
    let began = std::time::Instant::now();
    deliver(moltbot_testkit::raw::dial(house.gateway.port()), "{\"text\":\"before\"}").unwrap();
    let step = (began.elapsed() / 4).max(std::time::Duration::from_millis(3));
    // Later and later kills, and more of them where this machine has become slower since: some deliveries are to have an answer.
    for round in 0..60_u32 {
        if round >= 12 && acknowledged.len() > 4 {
            break;
        }
        let bodies: Vec<String> =
            (0..4).map(|n| format!("{{\"text\":\"delivery {}\"}}", round * 2 + n)).collect();
        let answers = std::thread::scope(|scope| {
            // Connected before the kill, so that it meets what is sent and not who knocks.
            let port = house.gateway.port();
            let streams: Vec<_> =
                bodies.iter().map(|body| (body, moltbot_testkit::raw::dial(port))).collect();
            let threads: Vec<_> = streams
                .into_iter()
                .map(|(body, stream)| scope.spawn(move || deliver(stream, body)))
                .collect();
            std::thread::sleep(step * round);
            kill(house.gateway.pid());
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for (body, run) in bodies.iter().zip(answers) {
            // A connection that the kill cut has no answer.
            acknowledged.extend(run.map(|run| (body.clone(), run)));
        }
        house.gateway.restart(&house.home);
    }
    assert!(acknowledged.len() > 4, "the load was no load: {acknowledged:?}");
    let texts: BTreeSet<&String> = acknowledged.iter().map(|(body, _)| body).collect();
    assert_eq!(texts.len(), acknowledged.len(), "one run for each delivery: {acknowledged:?}");
    block_on(async {
        let mut client = house.gateway.connect().open().await.unwrap();
        for (body, run) in &acknowledged {
            let messages = ended(&mut client, run, &format!("agent:main:hook:{run}")).await;
            assert_eq!(messages.len(), 2, "{body}: {messages:?}");
        }
    });
}

/// Posts a delivery, and gives the run that it was answered with; nothing when there was no answer.
fn deliver(mut stream: std::net::TcpStream, body: &str) -> Option<String> {
    let (signature, name) = (sum(GITHUB, body), sum("name", body));
    let request = format!(
        "POST /hooks/push HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-github-delivery: {name}\r\n\
         x-hub-signature-256: sha256={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 202 "), "{answer}");
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(answer["runId"].as_str().unwrap().to_owned())
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn c02_a_signed_call_is_repeated_within_its_time_and_has_one_run() {
    let house = House::echo();
    let stripe = |time: u64, body: &str| {
        let signature = format!("t={time},v1={}", sum(STRIPE, &format!("{time}.{body}")));
        house.post("/hooks/pay", &[("stripe-signature", &signature)], body)
    };
    let event = r#"{"id":"evt_1","text":"paid","pending_webhooks":2}"#;
    let first = run_of(&stripe(now(), event));
    assert_eq!(run_of(&stripe(now() - 100, &event.replace(":2", ":1"))), first, "the event, sent again");
    assert_eq!(stripe(now() - 302, event).status, 401, "too old");
    assert_ne!(run_of(&stripe(now(), &event.replace("evt_1", "evt_2"))), first);

    let call = |time: u64, body: &str| {
        let signature = format!("hmac {}", sum(GENERIC, &format!("{time}.{body}")));
        house.post("/hooks/call", &[("x-sum", &signature), ("x-time", &time.to_string())], body)
    };
    let (time, body) = (now(), r#"{"text":"disk full"}"#);
    let first = run_of(&call(time, body));
    assert_eq!(run_of(&call(time, body)), first, "the same call");
    assert_ne!(run_of(&call(time - 1, body)), first, "the time is signed: another call that says the same");
    assert_eq!(call(time - 302, body).status, 401);
}
